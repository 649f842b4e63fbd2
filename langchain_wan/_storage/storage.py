"""Everything behind a store: operations, names, bytes, and the reservations of budgets that live in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from langchain_wan._concurrency.executor import in_thread
from langchain_wan._concurrency.forks import current_process
from langchain_wan._storage.backup import back_up
from langchain_wan._storage.blobs import DIGEST, DiskBlobs, MemoryBlobs
from langchain_wan._storage.catalog import Catalog, build_damaged_image
from langchain_wan._storage.ids import IMAGE_ID, belongs_to, image_id
from langchain_wan._storage.ledger import Ledger
from langchain_wan._storage.rows import build_damaged
from langchain_wan._storage.sqlite import Database
from langchain_wan.models import GeneratedImage, ImageResult

if TYPE_CHECKING:
    from langchain_wan._media.formats import ImageInfo
    from langchain_wan._storage.operations import Operation


class _Parts:
    """The parts of a storage, made when they are first used: not even the working folder is asked for before."""

    def __init__(self, location: Path | None) -> None:
        self._location = location
        self._born_in = current_process()

    @cached_property
    def folder(self) -> Path | None:  # absolute, so that it stays the same after a change of the working folder
        return None if self._location is None else self._location.absolute()

    @cached_property
    def blobs(self) -> MemoryBlobs | DiskBlobs:
        return MemoryBlobs() if self.folder is None else DiskBlobs(self.folder)

    @cached_property
    def database(self) -> Database:
        return Database(None if self.folder is None else self.folder / "ledger.sqlite3", self._born_in)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.database, self.ledger.transaction)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.database, None if self.folder is None else self.folder / "store.lock")


class Storage:
    """What is stored in a folder or in memory, as one scope sees it; the scope `""` sees everything."""

    def __init__(self, location: Path | None) -> None:
        self.scope = ""
        self._parts = _Parts(location)
        self._reservations: dict[tuple[str, str], Callable[[Decimal | None, int], None]] = {}

    @property
    def folder(self) -> Path | None:
        """The folder, or None for memory."""
        return self._parts.folder

    @property
    def blobs(self) -> MemoryBlobs | DiskBlobs:
        """The bytes."""
        return self._parts.blobs

    @property
    def catalog(self) -> Catalog:
        """The names of images and uploads."""
        return self._parts.catalog

    @property
    def ledger(self) -> Ledger:
        """The operations and budgets."""
        return self._parts.ledger

    def scoped(self, name: str) -> Self:
        """Return a view of the same storage that knows only the images of one scope."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, scope=name)
        return view

    def keep(
        self,
        data: bytes,
        info: ImageInfo,
        *,
        url: str | None = None,
        expires_at: datetime | None = None,
    ) -> GeneratedImage:
        """Store bytes that were inspected; when this returns, they are where they stay."""
        sha256 = hashlib.sha256(data).hexdigest()
        self._parts.database.check()  # bytes beside a ledger that is not theirs would be lost
        pinned = self.blobs.write(sha256, data)
        image = GeneratedImage(
            id=image_id(sha256),
            url=url,
            expires_at=expires_at,
            mime_type=info.mime_type,
            width=info.width,
            height=info.height,
            size_bytes=len(data),
            sha256=sha256,
        )
        # Who deletes the same bytes at this moment does so before, and they are stored again; or afterwards.
        self.record(image, ensure=lambda: self.blobs.has(sha256) or self.blobs.write(sha256, data))
        return image.attached(self, pinned)

    def record(self, image: GeneratedImage, ensure: Callable[[], object] | None = None) -> None:
        """Write down what is known of an image, and that this scope knows it; see `Catalog.add_image`."""
        image.id = self.catalog.add_image(image.model_dump(mode="json"), self.scope, ensure)

    def delete(self, image: GeneratedImage) -> None:
        """Forget that this scope knows an image; its bytes too, if nobody knows it any more."""
        self.catalog.forget_image(image.id, self.scope, lambda: self.blobs.delete(image.sha256))

    def get(self, image_id: str) -> GeneratedImage | None:
        """Return an image by its id, or None if this scope does not know it."""
        row = self.catalog.image(image_id, self.scope) if IMAGE_ID.fullmatch(image_id) else None
        return None if row is None else self._load(row)

    def find_by_url(self, url: str) -> GeneratedImage | None:
        """Return the image that this URL showed, its query ignored, or None."""
        row = self.catalog.image_at(url, self.scope)
        return None if row is None else self._load(row)

    def read(self, sha256: str) -> bytes | None:
        """Return the bytes with this digest, or None if they are not here."""
        return self.blobs.read(sha256) if DIGEST.fullmatch(sha256) else None

    async def aread(self, sha256: str) -> bytes | None:
        """Do what `read` does without blocking the event loop."""
        return await in_thread(self.read, sha256)

    def load_result(self, operation: Operation) -> ImageResult:
        """Return the result that was stored with a finished operation.

        Raises:
            StoreError: It is damaged.
        """
        try:
            result = ImageResult.model_validate(operation.result)
        except ValidationError as error:
            raise build_damaged(operation.id, operation.service, "its result can't be read") from error
        for image in result.images:
            image.attached(self, self.blobs.pin(image.sha256))
        return result

    def _load(self, row: Mapping[str, Any]) -> GeneratedImage:
        try:
            image = GeneratedImage.model_validate(row)
        except ValidationError as error:
            raise build_damaged_image(row["id"]) from error
        if DIGEST.fullmatch(image.sha256) is None or not belongs_to(image.id, image.sha256):
            raise build_damaged_image(image.id)
        return image.attached(self, self.blobs.pin(image.sha256))

    def keep_reservation(self, operation: tuple[str, str], settle: Callable[[Decimal | None, int], None]) -> None:
        """Keep what must be done to a budget of this process once it is known what an operation cost."""
        self._reservations[operation] = settle

    def settle_reservation(self, operation: tuple[str, str], cost: Decimal | None, images: int) -> None:
        """Tell a budget of this process what an operation cost; None means nothing."""
        settle = self._reservations.pop(operation, None)
        if settle is not None:
            settle(cost, images)

    def back_up(self, target: Path) -> None:
        """Copy everything to a new folder; see `back_up`."""
        back_up(self._parts.database, self.blobs, target)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: two objects with one ledger would be two truths."""
        return self
