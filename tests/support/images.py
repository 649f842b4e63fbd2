"""Image files: small ones, ones that claim a size, and a real photograph."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import zlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image


@cache
def png(colour: str = "red", size: tuple[int, int] = (300, 300)) -> bytes:
    return encode(Image.new("RGB", size, colour))


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def draw_plainly(prompt: str, *, width: int, height: int, **choices: Any) -> bytes:
    """A PNG of 64 coloured squares, the same for the same arguments."""
    digest = hashlib.shake_128(repr((prompt, width, height, sorted(choices.items()))).encode())
    image = Image.frombytes("RGB", (8, 8), digest.digest(8 * 8 * 3)).resize((width, height), Image.Resampling.NEAREST)
    return encode(image, compress_level=1)


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def to_data_uri(data: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{in_base64(data)}"


def data_uri(colour: str = "red") -> str:
    return to_data_uri(png(colour))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file, with its length and checksum."""
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png_that_claims(width: int, height: int, *, rows: bool = False) -> bytes:
    """A PNG of a few bytes whose header promises what it likes; with black rows it keeps its promise."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(b"\x00" * (width * 3 + 1)) for _ in range(height if rows else 0)) + packer.flush()
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def rgba_png(width: int, height: int) -> bytes:
    """A PNG with transparency of any size, that takes little memory to make."""
    row = b"\0" + random.Random(1).randbytes(4 * 1000) * (width // 1000)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x06\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def photograph_path() -> Path:
    """A real photograph, of Grace Hopper; it comes with matplotlib, which this does not import."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"


PHOTOGRAPH = photograph_path().read_bytes()
