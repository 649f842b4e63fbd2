"""A file without what its pixels do not need, as a decoder gets it.

Pillow reads texts, EXIF, profiles and comments as it opens a file, each block in Python, and refuses the image where
one of them is odd.
"""

from __future__ import annotations

from langchain_wan._media import bands, containers

_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_MAX_AS_IT_IS = 1_000  # chunks: Pillow reads each in Python


def keep_pixels(data: bytes, kind: str, *, is_sound: bool) -> bytes:
    """Return a file with nothing but what its pixels need, and with its checksums and end put right."""
    if kind == "PNG":
        return _clean_png(data, is_sound=is_sound)
    if kind == "JPEG":
        return _clean_jpeg(data, is_sound=is_sound)
    if kind == "GIF":
        frame = containers.read_gif(data)
        return data if frame is None else frame.alone
    if kind == "WEBP" and not is_sound:
        return data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]
    return data


def _clean_png(data: bytes, *, is_sound: bool) -> bytes:
    parts = [part for part in containers.read_png(data) if part.kind in _PNG_PIXELS]
    length = sum(12 + part.end - part.body for part in parts) + 8
    if is_sound and parts[-1].end + 4 == length and len(parts) <= _MAX_AS_IT_IS:
        return data
    heads = [
        bands.build_chunk(part.kind, data[part.body : part.end])
        for part in parts
        if part.kind not in {b"IDAT", b"IEND"}
    ]
    rows = b"".join([data[part.body : part.end] for part in parts if part.kind == b"IDAT"])
    ends = [bands.build_chunk(b"IDAT", rows), bands.build_chunk(b"IEND", b"")]
    return b"".join([containers.PNG_SIGNATURE, *heads, *ends])


def _clean_jpeg(data: bytes, *, is_sound: bool) -> bytes:
    pieces = []
    for part in containers.read_jpeg(data):
        if part.kind == containers.JPEG_SCAN:
            pieces.append(data[part.start :])
            break
        if not _is_note(part.kind[0]) or (part.kind == b"\xee" and data[part.body : part.body + 5] == b"Adobe"):
            pieces.append(data[part.start : part.end])
    return b"".join(pieces if is_sound else [*pieces, b"\xff\xd9"])


def _is_note(marker: int) -> bool:
    """Say whether a segment of a JPEG is an application's own, or a comment."""
    return 0xE0 < marker <= 0xEF or marker == 0xFE  # noqa: PLR2004 - all but APP0, which says YCbCr
