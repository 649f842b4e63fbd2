"""WanStore: what was made, what was paid for it, and the bytes, in memory or in a folder."""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

from langchain_wan._concurrency.executor import in_image_thread, in_thread
from langchain_wan._media import decode, formats
from langchain_wan._net.addresses import is_well_formed
from langchain_wan._services.kept_answer import read_kept
from langchain_wan._storage.money import to_usd
from langchain_wan._storage.operations import Operation
from langchain_wan._storage.sources import name_source, read_source
from langchain_wan._storage.states import OPEN_STATES, RESUMABLE_STATES, STATES, UNRESOLVED_STATES
from langchain_wan._storage.storage import Storage
from langchain_wan._text.logs import logger
from langchain_wan.errors import ImageReferenceError, StoreError, WanConfigurationError
from langchain_wan.history import HistoryEntry, Lineage, trace_lineage
from langchain_wan.models import GeneratedImage
from langchain_wan.requests import ImageSource

STORE_VARIABLE = "LANGCHAIN_WAN_STORE"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class WanStore:
    """Images by id, and the ledger of what was paid for them.

    Args:
        location: A folder, made when it is first used; several processes may share it. None means memory: 256 MiB of
            images, then the oldest are dropped, for the life of the process.

    Nothing is read or written, and no system call made, before the first call of a method; a relative folder counts
    from the working folder of that moment. A `StoreError` is raised where the folder can't be used.

    Attributes:
        location: The folder, or None for memory.
        scope: Whose images this view knows; `""` knows all.

    Raises:
        WanConfigurationError: The location is a URL.
    """

    _default: Self | None = None
    _default_lock = threading.Lock()

    def __init__(self, location: str | os.PathLike[str] | None = None) -> None:
        if _URL.match(str(location)):
            raise WanConfigurationError(f"A store is a folder or in memory; {location} is a URL.")
        self._storage = Storage(None if location is None else Path(location))

    @classmethod
    def default(cls) -> Self:
        """Return the store that is used where none is given, one object for each process.

        It is the folder that the environment variable `LANGCHAIN_WAN_STORE` names, else in memory.
        """
        with cls._default_lock:
            if cls._default is None:
                cls._default = cls(os.environ.get(STORE_VARIABLE, "").strip() or None)
            return cls._default

    @property
    def location(self) -> Path | None:
        """The folder, or None for memory."""
        return self._storage.folder

    @property
    def scope(self) -> str:
        """Whose images this view knows; `""` knows all."""
        return self._storage.scope

    def scoped(self, name: str) -> Self:
        """Return a view of the same store that knows only the images of one scope, such as one user's.

        Args:
            name: `"thread:"` and a thread id; `"name:"` and a name that a scope function returned; or a name alone,
                whose view sees both, and what is stored under it belongs to both.

        Raises:
            WanConfigurationError: The name is empty or not text: a view without a scope knows everything.
        """
        if not isinstance(name, str) or not name.strip() or not is_well_formed(name):
            raise WanConfigurationError(f"A scope must be a name: text that is not empty; got {str(name)[:40]!r}.")
        view = object.__new__(type(self))
        view._storage = self._storage.scoped(name)
        return view

    def add(self, source: ImageSource, scope: str | None = None) -> GeneratedImage:
        """Store an image and return it with its id; identical bytes have the same id.

        Args:
            source: Bytes, a Path, a data URI, a Pillow image or a GeneratedImage; never a URL.
            scope: Who knows it by its id; None means this view's scope.

        Raises:
            ImageReferenceError: It is not an image.
        """
        view = self if scope is None else self.scoped(scope)
        try:
            data = read_source(source)
            info = decode.inspect(data)
        except formats.ImageFileError as error:
            text = f"{name_source(source) or 'This'} can't be stored: {error.problem}."
            raise ImageReferenceError(text, reason="unreadable", next_step=error.remedy) from error
        return view._storage.keep(data, info)

    async def aadd(self, source: ImageSource, scope: str | None = None) -> GeneratedImage:
        """Do what `add` does without blocking the event loop."""
        return await in_image_thread(self.add, source, scope)

    def get(self, image_id: str) -> GeneratedImage | None:
        """Return an image by its id, or None if this view does not know it."""
        return self._storage.get(image_id)

    async def aget(self, image_id: str) -> GeneratedImage | None:
        """Do what `get` does without blocking the event loop."""
        return await in_thread(self.get, image_id)

    def read(self, sha256: str) -> bytes | None:
        """Return the bytes with this digest, or None if they are not here or this view does not know their image."""
        is_known = not self.scope or self._storage.catalog.knows(sha256, self.scope)
        return self._storage.read(sha256) if is_known else None

    async def aread(self, sha256: str) -> bytes | None:
        """Do what `read` does without blocking the event loop."""
        return await in_thread(self.read, sha256)

    def history(self, limit: int = 100) -> list[HistoryEntry]:
        """Return the newest operations, the newest first."""
        operations = self._storage.ledger.operations(scope=self.scope or None, limit=limit)
        return [_build_entry(self._judge(operation)) for operation in operations]

    async def ahistory(self, limit: int = 100) -> list[HistoryEntry]:
        """Do what `history` does without blocking the event loop."""
        return await in_thread(self.history, limit)

    def unfinished(self) -> list[HistoryEntry]:
        """Return what is unresolved: uncertain calls, and paid ones whose images are missing; the newest first.

        A call that a living process is carrying out is not among them; one whose process died while its request was
        on the way is uncertain.
        """
        ledger = self._storage.ledger
        operations = ledger.operations(scope=self.scope or None, states=UNRESOLVED_STATES)
        return [_build_entry(self._judge(operation)) for operation in operations if not ledger.is_running(operation)]

    async def aunfinished(self) -> list[HistoryEntry]:
        """Do what `unfinished` does without blocking the event loop."""
        return await in_thread(self.unfinished)

    def _judge(self, operation: Operation) -> Operation:
        """Return an operation in the state that its own means, if the process that carried it out is dead."""
        if self._storage.ledger.is_running(operation):
            return operation
        state = STATES[operation.state].after_death or operation.state
        if state == "uncertain" and self._is_answered(operation):
            state = "partial"  # killed before it wrote that down
        return replace(operation, state=state)

    def _is_answered(self, operation: Operation) -> bool:
        answer = read_kept(operation.request, self._storage.blobs.raw(operation.raw_name))
        return answer is not None and not answer.is_too_much(operation.request["n"])

    def resolve(self, operation_id: str, outcome: Literal["charged", "not_charged"]) -> None:
        """Settle a call whose outcome was unknown, after a look at the account.

        `"charged"` counts its full price in its budget, `"not_charged"` nothing. An identical request may then be sent
        again; under the id of a charged one it is refused, and needs a new id.

        Raises:
            ValueError: There is no such call, or it is not unresolved.
        """
        if outcome not in {"charged", "not_charged"}:
            raise ValueError('outcome must be "charged" or "not_charged"')
        ledger = self._storage.ledger
        operations = ledger.operations(scope=self.scope or None, operation_id=operation_id, states=OPEN_STATES)
        unresolved = [operation for operation in operations if not ledger.is_running(operation)]
        if not unresolved:
            raise ValueError(f"No unresolved operation {operation_id!r} in this store.")
        for operation in map(self._judge, unresolved):
            self._resolve(operation, charged=outcome == "charged" or operation.state in RESUMABLE_STATES)

    def _resolve(self, operation: Operation, *, charged: bool) -> None:
        cost = operation.cost_nano or operation.max_nano
        if charged:
            self._storage.ledger.transition(operation.service, operation.id, "charged", cost_nano=cost)
        else:
            self._storage.ledger.transition(operation.service, operation.id, "refused")
        if (
            read_kept(operation.request, self._storage.blobs.raw(operation.raw_name)) is None
        ):  # images that came are never deleted
            self._storage.blobs.drop_raw(operation.raw_name)
        images = operation.request["n"]
        key = operation.service, operation.id
        self._storage.settle_reservation(key, to_usd(cost) if charged else None, images)

    async def aresolve(self, operation_id: str, outcome: Literal["charged", "not_charged"]) -> None:
        """Do what `resolve` does without blocking the event loop."""
        await in_thread(self.resolve, operation_id, outcome)

    def lineage(self, image_id: str) -> Lineage:
        """Return an image with the images that it was made from, and theirs: at most 500, of 100 generations.

        Raises:
            StoreError: This view does not know the image.
        """
        if self.get(image_id) is None:
            raise StoreError(
                f"No image {str(image_id)!r} in this store.",
                next_step="store.history() lists the images of its operations.",
            )
        ledger = self._storage.ledger
        return trace_lineage(image_id, lambda made: ledger.maker(made, self.scope), self._find_image)

    async def alineage(self, image_id: str) -> Lineage:
        """Do what `lineage` does without blocking the event loop."""
        return await in_thread(self.lineage, image_id)

    def _find_image(self, image_id: str) -> GeneratedImage | None:
        try:
            return self.get(image_id)
        except StoreError as error:  # its row is damaged, which must not hide the others
            logger.warning("%s", error)
            return None

    def delete(self, image_id: str) -> bool:
        """Forget an image and its bytes; say whether it was known. Its operation stays in the history."""
        image = self.get(image_id)
        if image is None:
            return False
        self._storage.delete(image)
        return True

    async def adelete(self, image_id: str) -> bool:
        """Do what `delete` does without blocking the event loop."""
        return await in_thread(self.delete, image_id)

    def prune(self, older_than: timedelta) -> int:
        """Delete the images that were stored longer ago than this, and return how many they were."""
        moment = time.time() - older_than.total_seconds()
        return sum(map(self._prune, self._storage.catalog.images_before(moment, self.scope)))

    def _prune(self, image_id: str) -> bool:
        try:
            return self.delete(image_id)
        except StoreError as error:  # its row is damaged, which must not keep the others
            logger.warning("%s", error)
            return False

    async def aprune(self, older_than: timedelta) -> int:
        """Do what `prune` does without blocking the event loop."""
        return await in_thread(self.prune, older_than)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the whole store to a new folder, which is a store itself, while programs use it.

        The copy is of one moment. It has all scopes, also where this view has one.

        Raises:
            StoreError: There is something at the path, or it can't be written; then nothing is left there.
        """
        self._storage.back_up(Path(path).absolute())

    async def abackup(self, path: str | os.PathLike[str]) -> None:
        """Do what `backup` does without blocking the event loop."""
        await in_thread(self.backup, path)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: two objects with one ledger would be two truths."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a folder by its path, and the default store as the other process's default store."""
        if self.location is not None:
            return _unpickled, (str(self.location), self.scope)
        if self._storage.ledger is WanStore.default()._storage.ledger:
            return _unpickled, (None, self.scope)
        raise TypeError("an in-memory WanStore lives in its process and can't be pickled; use WanStore(folder)")

    def __repr__(self) -> str:
        location = "" if self.location is None else repr(str(self.location))
        return f"WanStore({location})" + (f".scoped({self.scope!r})" if self.scope else "")


def _unpickled(location: str | None, scope: str) -> WanStore:
    store = WanStore.default() if location is None else WanStore(location)
    return store.scoped(scope) if scope else store


def _build_entry(operation: Operation) -> HistoryEntry:
    request = operation.request
    cost = operation.cost_nano or (operation.max_nano if operation.state in OPEN_STATES else 0)
    images = [] if operation.result is None else [image["id"] for image in operation.result["images"]]
    return HistoryEntry(
        operation_id=operation.id,
        service=operation.service,
        state=operation.state,
        model=request["model"],
        prompt=request["prompt"],
        n=request["n"],
        cost_usd=to_usd(cost),
        images=images,
        parents=request["parents"],
        created_at=datetime.fromtimestamp(operation.created_at, UTC),
        is_sandbox=request.get("sandbox", False),
    )
