"""What comes out: images and results, as plain values.

A `GeneratedImage` finds its bytes through a `ByteSource`; `store.py` provides one. Bytes are never part of
`model_dump()`, `repr` or a trace.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypedDict, TypeVar, overload

from langchain_core.messages import HumanMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

import langchain_wan
from langchain_wan._concurrency.executor import in_image_thread, in_thread
from langchain_wan._media import decode, encode, files, formats, html
from langchain_wan._storage.ids import ID_PATTERN
from langchain_wan._storage.money import per_image
from langchain_wan._storage.values import ByteSource, Dollars, Moment
from langchain_wan._storage.whole_files import choose_target
from langchain_wan._text.amounts import format_usd
from langchain_wan._text.control_characters import escape_line
from langchain_wan.errors import StoreError, WanConfigurationError
from langchain_wan.requests import ImageRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from decimal import Decimal

    from PIL import Image


Made = TypeVar("Made")


Count = Annotated[int, Field(ge=0, le=2**63 - 1)]  # what SQL and MessagePack hold
LONGEST_URL = 2**16  # characters; a durable URL of `on_image` may be a data URI of a small image


class GeneratedImage(BaseModel):
    """One stored image: a short id, where it may still be downloaded, and what its bytes are.

    Attributes:
        id: `img_` and 13 characters, derived from the bytes: identical bytes have the same id. Of two images that were
            made to have the same one, the second in a store has a longer id.
        url: Where the service (or `on_image`) serves it, or None where it came as base64.
        expires_at: When the URL ends, or None if that is not known.
        width: Pixels.
        height: Pixels.
        size_bytes: Bytes of the file.
        sha256: Digest of the bytes, in hex.
    """

    model_config = ConfigDict(extra="ignore", defer_build=True)

    # Patterns, since an artifact may be posted by a client: a store makes file names of these.
    id: Annotated[str, Field(pattern=f"^{ID_PATTERN}$")]
    url: Annotated[str, Field(max_length=LONGEST_URL)] | None = None
    expires_at: Moment | None = None
    mime_type: Annotated[str, Field(max_length=200)]
    width: Count
    height: Count
    size_bytes: Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    _source: ByteSource | None = PrivateAttr(default=None)
    _pinned: Any = PrivateAttr(default=None)  # keeps the bytes of a memory store alive

    def attached(self, source: ByteSource | None, pinned: Any = None) -> Self:
        """Return this image, reading its bytes from `source`; `pinned` is kept alive as long as the image."""
        self._source, self._pinned = source, pinned
        return self

    def edit(self, prompt: str, **parameters: Any) -> ImageRequest:
        """Return the request that edits this image, to be passed to a generator."""
        return ImageRequest(prompt=prompt, images=(self,), **parameters)

    def read(self) -> bytes:
        """Return the bytes from the store, never from the network.

        Raises:
            StoreError: The bytes are not there any more, or damaged.
        """
        return self._found(self._byte_source().read(self.sha256))

    async def aread(self) -> bytes:
        """Do what `read` does without blocking the event loop."""
        return self._found(await self._byte_source().aread(self.sha256))

    @property
    def base64(self) -> str:
        """The bytes in base64."""
        return base64.b64encode(self.read()).decode()

    @property
    def data_uri(self) -> str:
        """The bytes as a `data:` URI."""
        return f"data:{self.mime_type};base64,{self.base64}"

    def save(self, path: str | Path) -> Path:
        """Write the image to a file and return its path; missing folders are created.

        In a folder, or where the path ends with a slash, the file is named by the id. A name that ends with another
        image type gets that type; what is transparent becomes white where the type has no transparency.
        A file that you name is replaced by a whole one, through a link too. What has the image's own name stays.

        Raises:
            WanConfigurationError: The ending is not that of a type which can be written.
            StoreError: The bytes are not there, or can't be decoded.
            OSError: The file can't be written; `FileExistsError` if something else has the image's own name.
        """
        return self._written(path, self.read())

    async def asave(self, path: str | Path) -> Path:
        """Do what `save` does without blocking the event loop."""
        return await in_image_thread(self._written, path, await self.aread())

    def to_pil(self) -> Image.Image:
        """Return a Pillow image: upright, in sRGB, of mode L, LA, RGB or RGBA."""
        return self._decoded(decode.decode_image)

    def thumbnail(self, max_side: int = 512) -> bytes:
        """Return a PNG of at most `max_side` pixels a side."""
        return self._decoded(lambda data: encode.thumbnail(data, max_side))

    def content_block(self, max_side: int | None = None) -> dict[str, Any]:
        """Return LangChain's image block with the bytes in base64; `max_side=None` means the full size."""
        data, mime_type = self._decoded(lambda data: encode.block_form(data, max_side))
        return {"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": mime_type}

    def _decoded(self, act: Callable[[bytes], Made]) -> Made:
        try:
            return act(self.read())
        except formats.ImageFileError as error:
            raise self._undecodable(error) from error

    def _undecodable(self, error: formats.ImageFileError) -> StoreError:
        return StoreError(
            f"{self.id} can't be decoded: {error.problem}.",
            next_step="read() returns its bytes as they came.",
            advice=f"{self.id} can't be decoded: {error.problem}. Use another image.",
        )

    def _byte_source(self) -> ByteSource:
        if self._source is not None:
            return self._source
        # Read from JSON, it knows no store. The name is looked up late, since the store is made of these values.
        default: ByteSource = langchain_wan.WanStore.default()
        return default

    def _found(self, data: bytes | None) -> bytes:
        if data is None:
            raise StoreError(
                f"The bytes of {self.id} are not in this store.",
                next_step="Pass the store they are in, as in ImageResult.from_message(message, store=...).",
            )
        return data

    def _written(self, path: str | Path, data: bytes) -> Path:
        target, write = choose_target(path, formats.name_file(self.id, self.mime_type))
        try:
            content = files.as_named(data, target.suffix)
        except files.UnknownEndingError as error:
            raise WanConfigurationError(f"{target.name} can't be written: {error}.") from error
        except formats.ImageFileError as error:
            raise self._undecodable(error) from error
        write(target, content)
        return target

    def __eq__(self, other: object) -> bool:
        """Compare the facts; where the bytes are read from is none."""
        return isinstance(other, GeneratedImage) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # `url` may change

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Cut the signature off the URL."""
        for name, value in super().__repr_args__():
            yield name, value.partition("?")[0] if name == "url" and value else value

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle the facts only; the bytes stay in their store."""
        return {**super().__getstate__(), "__pydantic_private__": {"_source": None, "_pinned": None}}

    def preview(self, max_side: int = 320) -> bytes | None:
        """Return a small JPEG (a PNG where it is transparent) to be looked at, or None if it can't be shown."""
        return self._preview(max_side)[0]

    def _preview(self, max_side: int) -> tuple[bytes | None, str]:
        """Return the preview, or None and why there is none."""
        try:
            return encode.preview(self.read(), max_side)[0], ""
        except StoreError:
            return None, "not stored"
        except formats.ImageFileError as error:
            return None, f"can't be shown: {error.problem}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002  IPython's own
        printer.text(f"{self.id} {self.width}x{self.height}")

    def _repr_png_(self) -> bytes | None:
        try:
            return self.thumbnail()
        except (StoreError, ValueError):
            return None


class ImageFailure(BaseModel):
    """An image that was paid and could not be retrieved; `resume` tries again where `retryable`."""

    model_config = ConfigDict(defer_build=True)

    index: int
    reason: str
    retryable: bool


class ImageResult(BaseModel):
    """What one call made: a sequence of its images, as in `result[0]`, `len(result)` and `for image in result`.

    Attributes:
        failures: Images that were paid and could not be retrieved.
        cost_usd: Dollars charged; a string in JSON.
        usage: What the service reported; its tokens say nothing about the price.
        request_id: The service's name for the request, to quote to its support.
        parents: Ids of the input images.
        replayed: True if the operation was finished before, and nothing was sent now.
        notes: Text that the service sent beside the images.
        adjustments: What was changed about the input images so that the service takes them, and how an image differs
            from the `size` that was asked for, as sentences.
    """

    model_config = ConfigDict(defer_build=True)

    images: list[GeneratedImage]
    failures: list[ImageFailure] = Field(default_factory=list)
    model: str
    prompt: str
    cost_usd: Dollars
    usage: dict[str, Any] = Field(default_factory=dict)
    request_id: str | None = None
    operation_id: str
    metadata: dict[str, str] = Field(default_factory=dict)
    parents: list[str] = Field(default_factory=list)
    replayed: bool = False
    created_at: Moment = Field(default_factory=lambda: datetime.now(UTC))
    notes: list[str] = Field(default_factory=list)
    adjustments: list[str] = Field(default_factory=list)

    def __iter__(self) -> Iterator[GeneratedImage]:  # type: ignore[override]  # pydantic's yields pairs of fields
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def __bool__(self) -> bool:
        """Be true without images, too: it says what was billed, and under which operation."""
        return True

    @overload
    def __getitem__(self, index: int) -> GeneratedImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[GeneratedImage]: ...
    def __getitem__(self, index: int | slice) -> GeneratedImage | list[GeneratedImage]:
        return self.images[index]

    def __str__(self) -> str:
        images = ", ".join(f"{image.id} {image.width}x{image.height}" for image in self.images)
        missing = f"; {len(self.failures)} not downloaded" if self.failures else ""
        return f"{self._count()}, {format_usd(self.cost_usd)}{': ' if images else ''}{images}{missing}"

    def _count(self) -> str:
        return f"{len(self.images)} image{'' if len(self.images) == 1 else 's'} by {escape_line(self.model)}"

    def save(self, folder: str | Path) -> list[Path]:
        """Write each image into a folder, named by its id, and return the paths; the folder is created.

        Raises:
            StoreError: The bytes of an image are not there.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        return [image.save(folder) for image in self.images]

    async def asave(self, folder: str | Path) -> list[Path]:
        """Do what `save` does without blocking the event loop."""
        await in_thread(Path(folder).mkdir, parents=True, exist_ok=True)
        return [await image.asave(folder) for image in self.images]

    def edit(self, prompt: str, *, index: int = 0, **parameters: Any) -> ImageRequest:
        """Return the request that edits one of the images."""
        return self.images[index].edit(prompt, **parameters)

    def combine(self, prompt: str, **parameters: Any) -> ImageRequest:
        """Return the request that combines all of the images."""
        return ImageRequest(prompt=prompt, images=tuple(self.images), **parameters)

    def describe(self, *, url: bool = True, cost: bool = True) -> str:
        """Return the text that a language model reads: how many, by which model, each id and size.

        Args:
            url: Show the URL of each image that has one.
            cost: Show what was charged.
        """
        lines = [f"{self._count()}, {format_usd(self.cost_usd)}." if cost else f"{self._count()}."]
        for image in self.images:
            link = f" {escape_line(image.url)}" if url and image.url else ""
            lines.append(f"{image.id} {image.width}x{image.height}{link}")
        if self.failures:
            lines.append(f"{len(self.failures)} more made and charged, but not downloaded yet.")
        lines += self.adjustments
        lines.append("To edit or combine images, call again with their ids in `images`.")
        return "\n".join(lines)

    def to_message(self, text: str | None = None, *, max_side: int = 1024) -> HumanMessage:
        """Return a human message that shows the images to a vision model, at most `max_side` pixels a side.

        Args:
            text: None means the ids of the images.
        """
        caption = text if text is not None else " ".join(image.id for image in self.images)
        blocks = [image.content_block(max_side) for image in self.images]
        return HumanMessage(content=[{"type": "text", "text": caption}, *blocks])

    @classmethod
    def from_message(cls, message: ToolMessage | Mapping[str, Any], store: ByteSource | None = None) -> Self:
        """Read the result back from a tool message's artifact.

        Args:
            message: The message, or the dict that LangGraph's server and its clients make of it.
            store: Where the images find their bytes; None means the default store.

        Raises:
            ValueError: The message carries no image result.
        """
        artifact = message.get("artifact") if isinstance(message, Mapping) else getattr(message, "artifact", None)
        if not isinstance(artifact, Mapping) or "images" not in artifact:
            raise ValueError(
                "this carries no image result: tool.invoke({...}) returns text alone; pass a ToolCall, whose message "
                "has the artifact, or use tool.generator"
            )
        return cls.model_validate(dict(artifact)).attach(store)

    def attach(self, store: ByteSource | None) -> Self:
        """Return this result, its images reading their bytes from a store: after a checkpoint, a cache or JSON.

        Args:
            store: None means the default store.
        """
        for image in self.images:
            image.attached(store)
        return self

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002  IPython's own
        printer.text(self.describe(url=False).rpartition("\n")[0])

    def _repr_html_(self) -> str:
        each, parents = format_usd(self._cost_per_image), self._parent_previews()
        cards = [
            html.Card(preview, image.id, f"{image.width}x{image.height} · {each}", parents=parents, note=note)
            for image in self.images
            for preview, note in [image._preview(320)]
        ]
        return html.gallery(self.prompt, cards, f"{self.model} · {format_usd(self.cost_usd)}")

    @property
    def _cost_per_image(self) -> Decimal:
        return per_image(self.cost_usd, len(self.images) + len(self.failures))

    def _parent_previews(self) -> list[tuple[bytes | None, str]]:
        """Return a small picture, or None, and the id of each input image."""
        return [(None if parent is None else parent.preview(96), name) for name, parent in self._parents()]

    def _parents(self) -> Iterator[tuple[str, GeneratedImage | None]]:
        for name in self.parents:
            try:
                lookup = getattr(self.images[0]._byte_source(), "get", None) if self.images else None
                yield name, None if lookup is None else lookup(name)
            except StoreError:
                yield name, None


class WanEvent(TypedDict, total=False):
    """Progress of one call; which keys stand in it depends on the stage.

    `elapsed_s` is seconds since the call began, `cost_usd` a decimal string, `images` JSON dicts of the images.
    """

    type: Literal["wan_image"]
    stage: Literal["queued", "submitted", "waiting", "retrying", "answered", "stored", "done", "failed"]
    operation_id: str
    tool_call_id: str | None
    elapsed_s: float
    cost_usd: str
    images: list[dict[str, Any]]
    error: dict[str, Any]
