"""Every way by which an image comes in and goes out, each tried with one file."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from PIL import Image

from langchain_wan import ImageRequest, ImageResult, WanConfigurationError, WanStore
from langchain_wan._call import references
from langchain_wan._tool.attached import is_stored, store_source
from langchain_wan.errors import WanError
from langchain_wan.models import GeneratedImage

TYPED = (WanError, WanConfigurationError)


@dataclass
class Trial:
    """What became of one file.

    Attributes:
        sent: The bytes that would leave, and the sentences about them, by the way in.
        refused: The text of the refusal, by the way.
        untyped: What no caller expects, by the way.
    """

    sent: dict[str, tuple[bytes, list[str]]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    untyped: dict[str, str] = field(default_factory=dict)
    saved: dict[str, bytes] = field(default_factory=dict)

    @contextmanager
    def watch(self, way: str) -> Iterator[None]:
        try:
            yield
        except TYPED as error:
            self.refused[way] = str(error)
        except Exception as error:  # noqa: BLE001  any other is what is looked for
            self.untyped[way] = f"{type(error).__name__}: {error}"


def try_all(path: Path, folder: Path) -> Trial:
    """Pass a file in every way, and use what was stored as a result is used; `folder` takes files."""
    trial, data = Trial(), path.read_bytes()
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    sources: dict[str, Callable[[], Any]] = {
        "Path": lambda: path,
        "bytes": lambda: data,
        "data URI": lambda: uri,
        "Pillow object": lambda: open_with_pillow(data),
    }
    for way, source in sources.items():
        with trial.watch(way):
            value = source()
            if value is not None:
                trial.sent[way] = send(value)
    with trial.watch("attachment"):
        location = store_source(uri, WanStore())
        if not is_stored(location):
            trial.refused["attachment"] = location
    with trial.watch("stored"):
        _use(WanStore().add(path), folder, trial)
    return trial


def open_with_pillow(data: bytes) -> Image.Image | None:
    """Open a file as people do; None where Pillow can't."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data))
            image.load()
        except Exception:  # noqa: BLE001  then they have no Pillow object
            return None
    return image


def send(source: Any) -> tuple[bytes, list[str]]:
    """Return the bytes that would be sent, and the sentences about them."""
    request = ImageRequest(prompt="x", images=(source,))
    resolved = references.resolve(request.images, references.Naming(WanStore()._storage))
    fitted = references.fit(resolved)
    return fitted[0].data or b"", references.describe_enlarged(fitted)


def _use(image: GeneratedImage, folder: Path, trial: Trial) -> None:
    result = ImageResult(images=[image], model="m", prompt="x", cost_usd=Decimal(0), operation_id="o")
    uses: dict[str, Callable[[], Any]] = {
        "to_pil": image.to_pil,
        "thumbnail": image.thumbnail,
        "preview": image.preview,
        "gallery": result._repr_html_,
        "block": image.content_block,
        "small block": lambda: image.content_block(512),
        "message": result.to_message,
    }
    for way, use in uses.items():
        with trial.watch(way):
            use()
    for ending in (".jpg", ".png", ".webp", ".tif"):
        with trial.watch(f"save {ending}"):
            trial.saved[ending] = image.save(folder / f"saved{ending}").read_bytes()
