"""WanStore: what was made, what was paid for it, and the bytes, in memory or in a folder."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_wan._concurrency.executor import in_thread
from langchain_wan._media import decode, formats
from langchain_wan._storage.blobs import DiskBlobs, MemoryBlobs
from langchain_wan._storage.catalog import Catalog
from langchain_wan._storage.ledger import Ledger
from langchain_wan._storage.money import to_usd
from langchain_wan._storage.operations import Operation, State
from langchain_wan._storage.sqlite import Database
from langchain_wan.errors import ImageReferenceError
from langchain_wan.history import HistoryEntry, Lineage
from langchain_wan.models import IMAGE_ID, GeneratedImage, ImageResult, image_id, read_source
from langchain_wan.requests import ImageSource

if TYPE_CHECKING:
    from langchain_wan._media.formats import Picture

UNFINISHED: tuple[State, ...] = ("started", "paid", "partial", "uncertain")


class WanStore:
    """Images by id, and the ledger of what was paid for them.

    Args:
        path: A folder, made when it is first used; several processes may share it. None means memory: 256 MiB of
            images, then the oldest go, for the life of the process.

    Nothing is read or written before the first call of a method. A `StoreError` is raised where the folder can't be
    used.
    """

    _default: Self | None = None
    _default_lock = threading.Lock()

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path).absolute()  # also after a change of folder
        self.scope = ""
        self._holds: dict[tuple[str, str], Callable[[Decimal | None, int], None]] = {}
        self.blobs = MemoryBlobs() if self.path is None else DiskBlobs(self.path)
        database = Database(None if self.path is None else self.path / "ledger.sqlite3")
        self.catalog = Catalog(database)
        self.ledger = Ledger(database, None if self.path is None else self.path / "owners")

    @classmethod
    def default(cls) -> Self:
        """Return the one in-memory store of this process, shared by all that name none."""
        with cls._default_lock:
            if cls._default is None:
                cls._default = cls()
            return cls._default

    def scoped(self, name: str) -> Self:
        """Return a view of the same store that knows only the images of one scope, such as one user's."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, scope=name)
        return view

    def add(self, source: ImageSource, scope: str | None = None) -> GeneratedImage:
        """Store an image and return it with its id; equal bytes have equal ids.

        Args:
            source: Bytes, a Path, a data URI, a Pillow image or a GeneratedImage; never a URL.
            scope: Who knows it by its id; None means this view's scope.

        Raises:
            ImageReferenceError: It is no image.
        """
        try:
            data = read_source(source)
            picture = decode.inspect(data)
        except formats.NotAnImageError as error:
            raise ImageReferenceError(f"This can't be stored: {error}.", reason="unreadable") from error
        return self.keep(data, picture, scope=self.scope if scope is None else scope)

    async def aadd(self, source: ImageSource, scope: str | None = None) -> GeneratedImage:
        """Do what `add` does without blocking the event loop."""
        return await in_thread(self.add, source, scope)

    def get(self, image_id: str) -> GeneratedImage | None:
        """Return an image by its id, or None if this view does not know it."""
        facts = self.catalog.image(image_id, self.scope) if IMAGE_ID.fullmatch(image_id) else None
        return None if facts is None else self._image(facts)

    async def aget(self, image_id: str) -> GeneratedImage | None:
        """Do what `get` does without blocking the event loop."""
        return await in_thread(self.get, image_id)

    def read(self, sha256: str) -> bytes | None:
        """Return the bytes with this digest, or None if they are not here."""
        return self.blobs.read(sha256)

    async def aread(self, sha256: str) -> bytes | None:
        """Do what `read` does without blocking the event loop."""
        return await in_thread(self.read, sha256)

    def history(self, limit: int = 100) -> list[HistoryEntry]:
        """Return the newest operations, the newest first."""
        return [_entry(found) for found in self.ledger.operations(scope=self.scope or None, limit=limit)]

    async def ahistory(self, limit: int = 100) -> list[HistoryEntry]:
        """Do what `history` does without blocking the event loop."""
        return await in_thread(self.history, limit)

    def unfinished(self) -> list[HistoryEntry]:
        """Return what is not settled: uncertain calls, and paid ones whose images are missing; the newest first.

        A call that a living process is carrying out is not among them; one whose process died is uncertain.
        """
        found = self.ledger.operations(scope=self.scope or None, states=UNFINISHED)
        return [_entry(_left_behind(one)) for one in found if not self.ledger.runs(one)]

    async def aunfinished(self) -> list[HistoryEntry]:
        """Do what `unfinished` does without blocking the event loop."""
        return await in_thread(self.unfinished)

    def resolve(self, operation_id: str, outcome: Literal["charged", "not_charged"]) -> None:
        """Settle a call whose outcome was unknown, after a look at the account.

        An equal request may then be sent again. `"charged"` counts its full price in its budget, `"not_charged"`
        nothing.

        Raises:
            ValueError: There is no such call, or it is not unsettled.
        """
        if outcome not in {"charged", "not_charged"}:
            raise ValueError('outcome has to be "charged" or "not_charged"')
        found = self.ledger.operations(scope=self.scope or None, operation_id=operation_id, states=UNFINISHED)
        settled = [one for one in found if not self.ledger.runs(one)]
        if not settled:
            raise ValueError(f"there is no unsettled operation {operation_id!r} in this store")
        for operation in settled:
            charged = outcome == "charged" or operation.state in {"paid", "partial"}
            cost = operation.cost_nano or operation.max_nano
            if charged:
                self.ledger.move(operation.service, operation.id, "charged", cost_nano=cost)
            else:
                self.ledger.move(operation.service, operation.id, "refused")
            self.blobs.drop_raw(f"{operation.service} {operation.id}")
            images = operation.request["n"]
            self.settle_reservation((operation.service, operation.id), to_usd(cost) if charged else None, images)

    async def aresolve(self, operation_id: str, outcome: Literal["charged", "not_charged"]) -> None:
        """Do what `resolve` does without blocking the event loop."""
        await in_thread(self.resolve, operation_id, outcome)

    def keep_reservation(self, operation: tuple[str, str], settle: Callable[[Decimal | None, int], None]) -> None:
        """Keep what has to be done to a budget of this process once it is known what an operation cost."""
        self._holds[operation] = settle

    def settle_reservation(self, operation: tuple[str, str], cost: Decimal | None, images: int) -> None:
        """Tell a budget of this process what an operation cost; None means nothing."""
        settle = self._holds.pop(operation, None)
        if settle is not None:
            settle(cost, images)

    def lineage(self, image_id: str) -> Lineage:
        """Return an image with the images that it was made from, and theirs.

        Raises:
            KeyError: This view does not know the image.
        """
        if self.get(image_id) is None:
            raise KeyError(image_id)
        return self._lineage(image_id, ())

    async def alineage(self, image_id: str) -> Lineage:
        """Do what `lineage` does without blocking the event loop."""
        return await in_thread(self.lineage, image_id)

    def _lineage(self, image_id: str, below: tuple[str, ...]) -> Lineage:
        maker = None if image_id in below else self.ledger.maker(image_id, self.scope)
        if maker is None:  # it was stored, or equal bytes came back from an edit of themselves
            return Lineage(image_id, self.get(image_id))
        parents = tuple(self._lineage(parent, (*below, image_id)) for parent in maker.request["parents"])
        cost, request = to_usd(maker.cost_nano), maker.request
        return Lineage(image_id, self.get(image_id), request["prompt"], request["model"], cost, parents)

    def delete(self, image_id: str) -> bool:
        """Forget an image and its bytes; say whether it was known. Its operation stays in the history."""
        image = self.get(image_id)
        if image is None:
            return False
        if self.catalog.forget_image(image_id, self.scope):
            self.blobs.delete(image.sha256)
        return True

    async def adelete(self, image_id: str) -> bool:
        """Do what `delete` does without blocking the event loop."""
        return await in_thread(self.delete, image_id)

    def prune(self, older_than: timedelta) -> int:
        """Delete the images that were stored longer ago than this, and return how many they were."""
        return sum(
            self.delete(found)
            for found in self.catalog.images_before(time.time() - older_than.total_seconds(), self.scope)
        )

    async def aprune(self, older_than: timedelta) -> int:
        """Do what `prune` does without blocking the event loop."""
        return await in_thread(self.prune, older_than)

    def keep(
        self,
        data: bytes,
        picture: Picture,
        *,
        scope: str = "",
        url: str | None = None,
        expires_at: datetime | None = None,
    ) -> GeneratedImage:
        """Store bytes that were inspected; when it returns, they are where they stay."""
        sha256 = hashlib.sha256(data).hexdigest()
        held = self.blobs.write(sha256, data)
        image = GeneratedImage(
            id=image_id(sha256),
            url=url,
            expires_at=expires_at,
            mime_type=picture.mime_type,
            width=picture.width,
            height=picture.height,
            size_bytes=len(data),
            sha256=sha256,
        )
        self.record(image, scope)
        return image.attached(self, held)

    def record(self, image: GeneratedImage, scope: str) -> None:
        """Write down what is known of an image, and that a scope knows it."""
        self.catalog.add_image(image.id, image.model_dump(mode="json"), scope)

    def find_by_url(self, url: str) -> GeneratedImage | None:
        """Return the image that this URL showed, its query ignored, or None."""
        facts = self.catalog.image_at(url, self.scope)
        return None if facts is None else self._image(facts)

    def load_result(self, operation: Operation) -> ImageResult:
        """Return the result that was stored with a finished operation."""
        result = ImageResult.model_validate(operation.result)
        for image in result.images:
            image.attached(self, self.blobs.hold(image.sha256))
        return result

    def _image(self, facts: Mapping[str, Any]) -> GeneratedImage:
        image = GeneratedImage.model_validate(facts)
        return image.attached(self, self.blobs.hold(image.sha256))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: two objects with one ledger would be two truths."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a folder by its path, and the default store as the other process's default store."""
        if self.path is not None:
            return _unpickled, (str(self.path), self.scope)
        if self.ledger is WanStore.default().ledger:
            return _unpickled, (None, self.scope)
        raise TypeError("an in-memory WanStore lives in its process and can't be pickled; use WanStore(path)")

    def __repr__(self) -> str:
        shown = "" if self.path is None else repr(str(self.path))
        return f"WanStore({shown})" + (f".scoped({self.scope!r})" if self.scope else "")


def _unpickled(path: str | None, scope: str) -> WanStore:
    store = WanStore.default() if path is None else WanStore(path)
    return store.scoped(scope) if scope else store


def _left_behind(operation: Operation) -> Operation:
    return replace(operation, state="uncertain") if operation.state == "started" else operation


def _entry(operation: Operation) -> HistoryEntry:
    request = operation.request
    is_open = operation.state in {"started", "paid", "uncertain"}
    cost = operation.cost_nano or (operation.max_nano if is_open else 0)
    made = [] if operation.result is None else [image["id"] for image in operation.result["images"]]
    return HistoryEntry(
        operation_id=operation.id,
        service=operation.service,
        state=operation.state,
        model=request["model"],
        prompt=request["prompt"],
        n=request["n"],
        cost_usd=to_usd(cost),
        images=made,
        parents=request["parents"],
        created_at=datetime.fromtimestamp(operation.created_at, UTC),
    )
