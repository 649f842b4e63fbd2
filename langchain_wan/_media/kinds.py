"""What kind of file bytes are, by their first bytes: a label or a file name is never believed."""

from __future__ import annotations

import re

from langchain_wan._media.formats import MAX_FILE_BYTES, READABLE, NotAnImageError, UnopenedFormatError

AS_PNG_OR_JPEG = "Save it as PNG or JPEG."
_SEARCHED = 1024  # bytes in which the start of a text format is looked for

# Brands of https://mp4ra.org/registered-types/brands (2026-03).
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"})
_HEIF_BRANDS = frozenset({b"mif1", b"mif2", b"msf1"})

# What people have on their disks, by the numbers that file(1) knows them by; each with what to do.
_FOREIGN = (
    (rb"II\x2a\x00|MM\x00\x2a|II\x2b\x00|MM\x00\x2b|IIRO|IIU\x00", "a TIFF or camera raw file", AS_PNG_OR_JPEG),
    (rb"8BPS", "a Photoshop file", AS_PNG_OR_JPEG),
    (rb"\x00\x00[\x01\x02]\x00[\x01-\xff]\x00", "an icon (ICO) file", AS_PNG_OR_JPEG),
    (rb"icns", "an icon (ICNS) file", AS_PNG_OR_JPEG),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 file", AS_PNG_OR_JPEG),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL file", AS_PNG_OR_JPEG),
    (rb"\xff\xd8\xff\xf7", "a JPEG-LS file", AS_PNG_OR_JPEG),
    (rb"\x8aMNG|\x8bJNG", "an MNG film", AS_PNG_OR_JPEG),
    (rb"P[1-7]\s", "a Netpbm file", AS_PNG_OR_JPEG),
    (rb"qoif", "a QOI file", AS_PNG_OR_JPEG),
    (rb"\x76\x2f\x31\x01", "an OpenEXR file", AS_PNG_OR_JPEG),
    (rb"#\?R", "a Radiance HDR file", AS_PNG_OR_JPEG),
    (rb"DDS ", "a DDS texture", AS_PNG_OR_JPEG),
    (rb"gimp xcf", "a GIMP file", AS_PNG_OR_JPEG),
    (rb"FUJIFILM", "a camera raw file", AS_PNG_OR_JPEG),
    (rb"(?s:.{0,1000})%PDF-", "a PDF document", "Export the page as PNG or JPEG."),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript file", "Export it as PNG or JPEG."),
    (rb"PK\x03\x04|PK\x05\x06|\x1f\x8b|7z\xbc\xaf|Rar!", "a compressed archive", "Pass the image that is in it."),
    (rb"RIFF....(AVI |WAVE)|\x1a\x45\xdf\xa3|(?s:....ftyp)", "a film or sound", "Pass one frame as PNG or JPEG."),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Run `git lfs pull`."),
)
_TEXTS = (
    (rb"<svg[\s>]", "an SVG drawing", "Render it as PNG."),
    (rb"<!doctype html|<html[\s>]|<head[\s>]", "a web page", "Pass the image itself, not the page that shows it."),
)


def identify(data: bytes) -> str:
    """Return the name in `FORMATS` of what bytes are.

    Raises:
        NotAnImageError: It is another kind of file, which the text names.
    """
    kind = _recognise(data)
    if kind is not None:
        return kind
    if not data:
        raise NotAnImageError("the file is empty (0 bytes)", remedy="Get the file again.")
    name, remedy = _name_foreign(data)
    error_type = UnopenedFormatError if remedy == AS_PNG_OR_JPEG else NotAnImageError
    raise error_type(f"it is {name}, not a {READABLE} image", remedy=remedy)


def build_size_error(size: int) -> NotAnImageError:
    """Return the error of a file that is larger than what is read at all."""
    text = f"the file has {size:,} bytes; at most {MAX_FILE_BYTES:,} ({MAX_FILE_BYTES // 2**20} MiB) are read"
    return NotAnImageError(text, remedy="Save it as a smaller JPEG.")


def _recognise(data: bytes) -> str | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff") and data[3:4] != b"\xf7":
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM") and len(data) >= _BMP_HEAD:
        return "BMP"
    return _find_iso_kind(data) if data[4:8] == b"ftyp" else None


_BMP_HEAD = 26  # bytes of the smallest header


def _find_iso_kind(data: bytes) -> str | None:
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[start : start + 4] for start in range(16, end - 3, 4))]
    for kind, known in (("AVIF", _AVIF_BRANDS), ("HEIC", _HEIC_BRANDS), ("HEIF", _HEIF_BRANDS)):
        # The first brand is what the file is first of all: an AVIF may be listed as compatible by a HEIC.
        if brands[0] in known or (brands[0] in _HEIF_BRANDS and known.intersection(brands)):
            return kind
    return None


def _name_foreign(data: bytes) -> tuple[str, str]:
    for pattern, name, remedy in _FOREIGN:
        if re.match(pattern, data):
            return name, remedy
    head = data[:_SEARCHED].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for pattern, name, remedy in _TEXTS:
        if head.startswith(b"<") and re.search(pattern, head):
            return name, remedy
    if head.startswith((b"{", b"[")):
        return "JSON text", "Pass the image itself."
    return "something else", "Pass an image file."
