"""What a file says beside its pixels that a viewer obeys: which side is up, and what its colours mean.

Each is read by itself, so that odd metadata costs nothing but itself. Nothing of it is written again. An orientation in
XMP is not obeyed: browsers do not obey it either.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_wan._media import colour, containers, profiles
from langchain_wan._media.limits import MAX_PROFILE, MAX_TEXT
from langchain_wan._media.structure import inflate

_ORIENTATION, _SHORT = 0x0112, 3
_MAX_TAGS = 1_000  # of one directory
_EXIF_START = b"Exif\x00\x00"


@dataclass(frozen=True)
class Facts:
    """How an image wants to be shown.

    Attributes:
        orientation: The EXIF value, 1 to 8; 1 is upright.
        profile: An ICC profile that its colours need, or None where they are sRGB.
        has_profile: Whether the file holds a profile that says more than that its colours are sRGB.
    """

    orientation: int = 1
    profile: bytes | None = None
    has_profile: bool = False


def read_facts(data: bytes, kind: str) -> Facts:
    """Return how the image in a file wants to be shown, as far as its parts say it."""
    readers: dict[str, Callable[[bytes], tuple[int | None, bytes | None]]] = {
        "PNG": _read_png,
        "JPEG": _read_jpeg,
        "WEBP": _read_webp,
        "BMP": _read_bmp,
        "AVIF": _read_iso,
        "HEIC": _read_iso,
        "HEIF": _read_iso,
    }
    if kind not in readers:
        return Facts()
    orientation, profile = readers[kind](data)
    return _build_facts(orientation, profile)


def read_info(info: Mapping[Any, Any]) -> Facts:
    """Return the same of an image that Pillow opened, from the notes that it took."""
    exif, profile = info.get("exif"), info.get("icc_profile")
    orientation = _read_exif(exif) if isinstance(exif, bytes) else None
    if orientation is None:
        orientation = _read_raw_profile(info.get("Raw profile type exif", info.get("Raw profile type APP1")))
    if profile is None and isinstance(info.get("gamma"), float):  # what Pillow keeps of the chunks of a PNG
        chunks = {b"gAMA": min(round(info["gamma"] * 100_000), 2**32 - 1).to_bytes(4, "big")}
        profile = profiles.find_profile_of_png(chunks | ({b"sRGB": b"\0"} if "srgb" in info else {}))
    return _build_facts(orientation, profile if isinstance(profile, bytes) else None)


def _build_facts(orientation: int | None, profile: bytes | None) -> Facts:
    is_plain = profile is None or colour.is_plain_srgb(profile)
    return Facts(orientation or 1, None if is_plain else profile, has_profile=not is_plain)


def _read_exif(exif: bytes) -> int | None:
    """Return the orientation, the one tag that is read of the first directory of an EXIF block."""
    block = exif.removeprefix(_EXIF_START)
    order = {b"II*\x00": "little", b"MM\x00*": "big"}.get(block[:4])
    if order is None:
        return None

    def number(start: int, length: int) -> int:
        return int.from_bytes(block[start : start + length], "little" if order == "little" else "big")

    directory = number(4, 4)
    for index in range(min(number(directory, 2), _MAX_TAGS)):
        entry = directory + 2 + 12 * index
        if entry + 12 > len(block):
            break
        if number(entry, 2) == _ORIENTATION:
            value = number(entry + 8, 2 if number(entry + 2, 2) == _SHORT else 4)
            return value if 1 <= value <= 8 else None  # noqa: PLR2004  the values of EXIF
    return None


def _read_raw_profile(text: object) -> int | None:
    """Read EXIF as ImageMagick writes it into a PNG: a name, a length, then lines of hex, and sometimes more."""
    raw = text.encode("latin-1", "replace") if isinstance(text, str) else text
    if not isinstance(raw, bytes):
        return None
    lines = raw.split(b"\n", 3)
    digits = b"".join(lines[3].split()) if len(lines) > 3 else b""  # noqa: PLR2004  empty, name, length, hex
    match = re.match(rb"(?:[0-9a-fA-F]{2})*", digits)
    return None if match is None else _read_exif(bytes.fromhex(match[0].decode()))


def _read_png(data: bytes) -> tuple[int | None, bytes | None]:
    # Of each kind the first counts: a file may have thousands, and each may unpack to megabytes.
    chunks: dict[bytes, bytes] = {}
    raw_profile = b""
    for part in containers.read_png(data):
        if part.kind in _PNG_FACTS:
            chunks.setdefault(part.kind, data[part.body : part.end])
        elif part.kind in {b"tEXt", b"zTXt"} and not raw_profile:
            name, _, rest = data[part.body : part.end].partition(b"\0")
            if name in _RAW_PROFILES:
                raw_profile = _unpack(rest[1:], MAX_TEXT) if part.kind == b"zTXt" else rest[:MAX_TEXT]
    if b"iCCP" in chunks:
        chunks[b"iCCP"] = _unpack(chunks[b"iCCP"].partition(b"\0")[2][1:], MAX_PROFILE)
    exif = _read_exif(chunks.get(b"eXIf", b""))
    return exif or _read_raw_profile(raw_profile), profiles.find_profile_of_png(chunks)


_PNG_FACTS = frozenset({b"eXIf", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP"})
_RAW_PROFILES = frozenset({b"Raw profile type exif", b"Raw profile type APP1"})


def _unpack(packed: bytes, longest: int) -> bytes:
    """Return what a compressed chunk unpacks to, as far as it can be read; nothing if it is longer."""
    pieces, unpacker = b"", zlib.decompressobj()
    try:
        for piece in inflate(unpacker, packed):
            pieces += piece
            if len(pieces) > longest:
                return b""
    except zlib.error:
        pass
    return pieces


def _read_jpeg(data: bytes) -> tuple[int | None, bytes | None]:
    exif: int | None = None
    profile: dict[bytes, bytes] = {}
    for part in containers.read_jpeg(data):
        if part.kind == containers.JPEG_SCAN:
            break
        body = data[part.body : part.end] if part.kind in {b"\xe1", b"\xe2"} else b""
        if body.startswith(_EXIF_START):
            exif = exif or _read_exif(body)
        elif body.startswith(b"ICC_PROFILE\0"):
            profile.setdefault(body[12:13], body[14:])
    return exif, b"".join(profile[number] for number in sorted(profile)) or None


def _read_webp(data: bytes) -> tuple[int | None, bytes | None]:
    parts = {part.kind: data[part.body : part.end] for part in containers.read_webp(data) if part.kind in _WEBP_FACTS}
    orientation = _read_exif(parts.get(b"EXIF", b""))
    return orientation, parts.get(b"ICCP")


_WEBP_FACTS = frozenset({b"EXIF", b"ICCP"})


def _read_bmp(data: bytes) -> tuple[int | None, bytes | None]:
    # https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapv5header (2024-02): only an embedded profile
    # is used; a linked one is a path on somebody's disk.
    if int.from_bytes(data[14:18], "little") < _BMP_VERSION_5 or data[70:74] != b"DEBM":
        return None, None
    offset, length = (int.from_bytes(data[start : start + 4], "little") for start in (126, 130))
    return None, data[14 + offset : 14 + offset + length] or None


_BMP_VERSION_5 = 124  # bytes of the header


def _read_iso(data: bytes) -> tuple[int | None, bytes | None]:
    """Read the colours of an AVIF or HEIF that has no ICC profile; the decoder tells the rest.

    Only those of the primary item: a gain map and the brighter picture that it makes have codes of their own.
    """
    meta = containers.find_box(data, b"meta")[4:]
    item = containers.find_box(meta, b"pitm")
    properties = containers.find_box(meta, b"iprp")
    owned = _find_owned(containers.find_box(properties, b"ipma"), int.from_bytes(item[4:], "big"))
    container = containers.find_box(properties, b"ipco")
    for index, part in enumerate(containers.read_iso(container), start=1):
        body = container[part.body : part.end]
        if index in owned and part.kind == b"colr" and body[:4] == b"nclx":
            primaries, transfer = (int.from_bytes(body[start : start + 2], "big") for start in (4, 6))
            return None, profiles.find_profile_of_codes(primaries, transfer)
    return None, None


def _find_owned(associations: bytes, item: int) -> set[int]:
    """Return the numbers of the properties that an item has (ISO/IEC 23008-12, 9.3.1)."""
    id_length = 4 if associations[:1] > b"\0" else 2
    length = 2 if associations[3:4] and associations[3] & 1 else 1
    offset, owned = 8, set()
    while offset < len(associations):
        number = int.from_bytes(associations[offset : offset + id_length], "big")
        count = associations[offset + id_length] if offset + id_length < len(associations) else 0
        offset += id_length + 1
        for start in range(offset, offset + count * length, length) if number == item else ():
            # The highest bit says only whether the property is essential.
            value = int.from_bytes(associations[start : start + length], "big")
            owned.add(value & (1 << (8 * length - 1)) - 1)
        offset += count * length
    return owned
