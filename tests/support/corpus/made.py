"""Image files made by their properties, each with what must become of it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from PIL import Image, ImageCms, features

from tests.support.images import encode, png_chunk

# An older Pillow does not even know the name of the feature.
HAS_AVIF = find_spec("PIL.AvifImagePlugin") is not None and features.check("avif")
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 30), (30, 30, 220), (230, 220, 40)
CORNERS = (RED, GREEN, BLUE, YELLOW)  # upright: top left, top right, bottom left, bottom right
SECRET = b"Jane Doe at home"
ORIENTATION, GPS, MAKER = 0x0112, 0x8825, 0x010F


@dataclass(frozen=True)
class Made:
    """A file and what must become of it.

    Attributes:
        make: Returns the bytes.
        refused: What the refusal says; None where it is sent.
        corners: The colours of the four quarters when it is shown; None where they are not known.
        judged: Whether other decoders show it as browsers do.
    """

    name: str
    make: Callable[..., bytes]
    refused: str | None = None
    corners: tuple[tuple[int, int, int], ...] | None = CORNERS
    judged: bool = True


def quarters(width: int = 300, height: int = 260) -> Image.Image:
    """A picture whose four quarters differ, so that each turn and mirror image shows."""
    image = Image.new("RGB", (2, 2))
    image.putdata(CORNERS)
    return image.resize((width, height), Image.Resampling.NEAREST)


def see_corners(image: Image.Image) -> tuple[tuple[int, int, int], ...]:
    """The colours in the middle of the four quarters."""
    rgb, (width, height) = image.convert("RGB"), image.size
    points = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    return tuple(rgb.getpixel(point) for point in points)  # type: ignore[misc]  # RGB: three numbers


def turned(orientation: int, size: tuple[int, int] = (300, 260)) -> Image.Image:
    """The pixels that a camera writes for an upright picture when it was turned."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = quarters(*size)
    return image.transpose(undo[orientation]) if orientation in undo else image


def exif(orientation: int = 1) -> bytes:
    """EXIF as a phone writes it: camera, position and orientation."""
    tags = Image.Exif()
    tags[MAKER], tags[ORIENTATION] = SECRET.decode(), orientation
    tags[GPS] = {1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)}
    return tags.tobytes()


def xmp() -> bytes:
    """XMP with an author."""
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">' + (
        b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="%s"/></rdf:RDF></x:xmpmeta>' % SECRET
    )


def raw_profile(block: bytes, tail: bytes = b"") -> bytes:
    """A chunk with EXIF as ImageMagick writes it."""
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n" + tail
    return png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))


def png_with(*chunks: bytes, image: Image.Image | None = None, late: bytes = b"") -> bytes:
    """A PNG with chunks before its pixels, or behind them."""
    data = encode(image or quarters())
    end = data.index(b"IEND") - 4
    return data[:33] + b"".join(chunks) + data[33:end] + late + data[end:]


def jpeg_with(marker: int, body: bytes, image: Image.Image | None = None) -> bytes:
    """A JPEG with one more segment."""
    data = encode(image or quarters(), "JPEG", quality=92)
    return data[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + data[2:]


def png_of(colour: int, depth: int, rows: bytes, size: tuple[int, int], *chunks: bytes, interlace: int = 0) -> bytes:
    """A PNG of any type, from its packed rows without filters."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace)
    stride = len(rows) // size[1]
    raw = b"".join(b"\0" + rows[start : start + stride] for start in range(0, len(rows), stride))
    pieces = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(raw)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


# Profiles


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def matrix_profile(columns: tuple[tuple[float, float, float], ...], gamma: float, name: str = "") -> bytes:
    """A profile of RGB: the colours of its primaries (XYZ under D50), and its gamma."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = [(b"wtpt", _xyz((0.9642, 1.0, 0.8249)))]
    for letter, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags += [(letter + b"XYZ", _xyz(column)), (letter + b"TRC", curve)]
    return _pack(b"mntr", b"RGB ", b"XYZ ", [*tags, *_description(name)])


# https://www.w3.org/TR/css-color-4/ (2025-04), adapted to D50
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
ADOBE_RGB = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
SRGB_COLUMNS = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def grey_profile(gamma: float) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    return _pack(b"mntr", b"GRAY", b"XYZ ", [(b"wtpt", _xyz((0.9642, 1.0, 0.8249))), (b"kTRC", curve)])


def cmyk_profile() -> bytes:
    """A printer: a table of two points for each ink, dull as ink is."""
    inks = ((0.55, -0.35, -0.45), (0.50, 0.70, -0.05), (0.88, -0.05, 0.90), (0.15, 0.0, 0.0))
    table = b""
    for corner in range(16):
        light, green_red, blue_yellow = 1.0, 0.0, 0.0
        for bit, (factor, a, b) in enumerate(inks):
            if corner >> (3 - bit) & 1:
                light, green_red, blue_yellow = light * factor, green_red * 0.6 + a, blue_yellow * 0.6 + b
        table += bytes((round(255 * light), *(min(255, max(0, round(128 + 90 * v))) for v in (green_red, blue_yellow))))
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", *(65_536 if index % 4 == 0 else 0 for index in range(9)))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + table + ramp * 3
    return _pack(b"prtr", b"CMYK", b"Lab ", [(b"wtpt", _xyz((0.9642, 1.0, 0.8249))), (b"A2B0", lut)])


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65_536) for value in values))


def _description(name: str) -> list[tuple[bytes, bytes]]:
    if not name:
        return []
    text = name.encode() + b"\0"
    body = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    return [(b"desc", body)]


def _pack(kind: bytes, space: bytes, connection: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    table, bodies, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, body in tags:
        table += name + struct.pack(">II", start + len(bodies), len(body))
        bodies += body.ljust((len(body) + 3) // 4 * 4, b"\0")
    head = struct.pack(">I4xI", start + len(bodies), 0x02400000) + kind + space + connection + bytes(12) + b"acsp"
    white = struct.pack(">3i", round(0.9642 * 65_536), 65_536, round(0.8249 * 65_536))
    return (head.ljust(68, b"\0") + white).ljust(128, b"\0") + table + bodies


MONITOR = "DELL U2720Q 7H3KX43"

PROFILES: dict[str, Callable[[], bytes]] = {
    "sRGB": srgb,
    "Display P3": lambda: matrix_profile(DISPLAY_P3, 2.2),
    "Adobe RGB": lambda: matrix_profile(ADOBE_RGB, 2.2),
    "linear": lambda: matrix_profile(SRGB_COLUMNS, 1.0),
    "a monitor": lambda: matrix_profile(SRGB_COLUMNS, 2.4, MONITOR),
}


def _large_jpeg(size: tuple[int, int], **options: Any) -> bytes:
    return encode(quarters(*size), "JPEG", quality=60, **options)


def _offset_gif() -> bytes:
    """A GIF in black whose only frame is the lower right quarter of a canvas of 300x260."""
    small = encode(Image.new("P", (150, 130), 0), "GIF")
    image = small.index(b"\x2c\0\0\0\0")
    canvas = small[:6] + struct.pack("<HH", 300, 260) + small[10:image]
    return canvas + b"\x2c" + struct.pack("<HH", 150, 130) + small[image + 5 :]


def _rest_of_a_phone() -> bytes:
    return b"\x00\x00\x00\x18ftypmp42" + bytes(5_000)


def _grey_16(transparent: int | None = None) -> bytes:
    """16-bit grey: bands of 0x2000, 0x20ff, 0x8000 and 0xf000 from left to right."""
    row = b"".join(struct.pack(">H", (0x2000, 0x20FF, 0x8000, 0xF000)[x * 4 // 300]) for x in range(300))
    chunks = [] if transparent is None else [png_chunk(b"tRNS", struct.pack(">H", transparent))]
    return png_of(0, 16, row * 260, (300, 260), *chunks)


def _low_grey(depth: int, transparent: int | None = None) -> bytes:
    """Grey of one, two or four bits: the left half black, the right half white."""
    columns = 304
    half = columns * depth // 16
    chunks = [] if transparent is None else [png_chunk(b"tRNS", struct.pack(">H", transparent))]
    return png_of(0, depth, (b"\0" * half + b"\xff" * half) * 260, (columns, 260), *chunks)


def _idat(data: bytes) -> tuple[int, int]:
    start = data.index(b"IDAT") - 4
    return start, start + 12 + int.from_bytes(data[start : start + 4], "big")


def _without_data() -> bytes:
    data = encode(quarters())
    start, end = _idat(data)
    return data[:start] + data[end:]


def _short_data() -> bytes:
    """A PNG whose chunks are all right, and whose rows end in the middle."""
    rows = bytes(3 * 300 + 1) * 130
    header = struct.pack(">IIBBBBB", 300, 260, 8, 2, 0, 0, 0)
    pieces = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def _wrong_checksum(kind: bytes) -> bytes:
    data = bytearray(png_with(png_chunk(b"tEXt", b"Author\0Jane")))
    start = data.index(kind) - 4
    end = start + 8 + int.from_bytes(data[start : start + 4], "big")
    data[end] ^= 0xFF
    return bytes(data)


def _wrong_size(kind: str, offset: int, length: int) -> bytes:
    data = bytearray(encode(quarters(), kind))
    data[offset : offset + length] = (len(data) + 4_000).to_bytes(length, "little")
    return bytes(data)


def _turned() -> Iterator[Made]:
    for orientation in range(1, 9):
        image, value = turned(orientation), orientation
        kinds = ["JPEG", "PNG", "WEBP"] + (["AVIF"] if HAS_AVIF else [])
        for kind in kinds:
            options: dict[str, Any] = {"quality": 92} if kind != "PNG" else {}
            yield Made(
                f"turned {orientation} by EXIF, {kind}",
                lambda image=image, kind=kind, value=value, options=options: encode(
                    image, kind, exif=exif(value), **options
                ),
            )
        block = exif(value)
        yield Made(
            f"turned {orientation} by a raw profile",
            lambda image=image, block=block: png_with(raw_profile(block), image=image),
            judged=False,
        )


def _modes() -> Iterator[Made]:
    for mode, kind in [
        *(("RGB", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("RGB", "JPEG"), ("CMYK", "JPEG"), ("RGB", "WEBP")),
        *(
            ("RGBA", "WEBP"),
            ("RGB", "BMP"),
            ("P", "BMP"),
            ("RGBA", "BMP"),
            ("RGB", "GIF"),
            ("P", "GIF"),
            ("RGB", "TGA"),
        ),
    ]:
        refused = "something else" if kind == "TGA" else None
        judged = mode != "CMYK" and not (mode == "RGBA" and kind == "BMP")
        yield Made(f"{mode} {kind}", lambda mode=mode, kind=kind: _encode_mode(mode, kind), refused, judged=judged)
    for mode, kind in [
        ("1", "PNG"),
        ("L", "PNG"),
        ("LA", "PNG"),
        ("L", "JPEG"),
        ("L", "GIF"),
        ("1", "BMP"),
        ("L", "BMP"),
    ]:
        yield Made(f"{mode} {kind}", lambda mode=mode, kind=kind: encode(quarters().convert(mode), kind), corners=None)
    for options in ({"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 2}, {"optimize": True}):
        yield Made(f"JPEG {options}", lambda options=options: encode(quarters(), "JPEG", quality=92, **options))
    yield Made("lossless WebP", lambda: encode(quarters(), "WEBP", lossless=True))
    yield Made(
        "animated WebP", lambda: encode(quarters(), "WEBP", save_all=True, append_images=[Image.new("RGB", (300, 260))])
    )
    yield Made(
        "animated GIF", lambda: encode(quarters(), "GIF", save_all=True, append_images=[Image.new("RGB", (300, 260))])
    )
    yield Made("animated PNG", lambda: encode(quarters(), save_all=True, append_images=[Image.new("RGB", (300, 260))]))
    yield Made("interlaced PNG", _interlaced, corners=((9, 9, 9),) * 4)
    yield Made(
        "16-bit RGB",
        lambda: png_of(2, 16, struct.pack(">3H", 0x8000, 0, 0) * 300 * 260, (300, 260)),
        corners=((128, 0, 0),) * 4,
    )


def _interlaced() -> bytes:
    header = struct.pack(">IIBBBBB", 300, 260, 8, 0, 0, 0, 1)
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    sizes = [((300 - x + dx - 1) // dx, (260 - y + dy - 1) // dy) for x, y, dx, dy in passes]
    raw = b"".join((b"\0" + b"\x09" * width) * height for width, height in sizes)
    pieces = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(raw)), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def _encode_mode(mode: str, kind: str) -> bytes:
    image = quarters()
    if mode == "P":
        return encode(image.quantize(8), kind)
    return encode(image.convert(mode), kind, **({"quality": 95} if kind in {"JPEG", "WEBP"} else {}))


def _clear() -> Iterator[Made]:
    white = (255, 255, 255)
    hidden = quarters().convert("RGBA")
    hidden.paste((0, 0, 0, 0), (0, 0, 150, 130))
    seen = (white, *CORNERS[1:])
    for kind in ("PNG", "WEBP", "GIF", *(["AVIF"] if HAS_AVIF else [])):
        options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "AVIF" else {}
        yield Made(
            f"transparent {kind}", lambda kind=kind, options=options: encode(hidden, kind, **options), corners=seen
        )
    half = Image.new("RGBA", (300, 260), (255, 0, 0, 128))
    yield Made("half transparent", lambda: encode(half), corners=((255, 127, 127),) * 4)
    palette = quarters().quantize(4)
    index = palette.getpixel((9, 9))
    yield Made("a clear colour of a palette", lambda: encode(palette, transparency=index), corners=seen)
    yield Made("a clear colour of RGB", lambda: png_with(png_chunk(b"tRNS", struct.pack(">3H", *RED))), corners=seen)
    dark, light = (33,) * 3, (239,) * 3
    yield Made("16-bit grey", _grey_16, corners=(dark, light, dark, light), judged=False)
    yield Made(
        "16-bit grey with transparency", lambda: _grey_16(0x20FF), corners=(white, light, white, light), judged=False
    )
    for depth in (1, 2, 4):
        black_white = ((0, 0, 0), white, (0, 0, 0), white)
        yield Made(f"grey of {depth} bits", lambda depth=depth: _low_grey(depth), corners=black_white)
        last = 2**depth - 1
        yield Made(
            f"grey of {depth} bits, white is clear", lambda d=depth, t=last: _low_grey(d, t), corners=black_white
        )
        yield Made(f"grey of {depth} bits, black is clear", lambda d=depth: _low_grey(d, 0), corners=(white,) * 4)
    black = (0, 0, 0)
    yield Made("a frame smaller than its canvas", _offset_gif, corners=(white, white, white, black), judged=False)


def _coloured() -> Iterator[Made]:
    kinds = ("PNG", "JPEG", "WEBP", *(["AVIF"] if HAS_AVIF else []))
    for name, profile in PROFILES.items():
        for kind in kinds:
            corners = CORNERS if name == "sRGB" else None
            options: dict[str, Any] = {} if kind == "PNG" else {"quality": 95}
            yield Made(
                f"{name}, {kind}",
                lambda kind=kind, profile=profile, options=options: encode(
                    quarters(), kind, icc_profile=profile(), **options
                ),
                corners=corners,
            )
    yield Made(
        "Display P3 with alpha",
        lambda: encode(quarters().convert("RGBA"), icc_profile=PROFILES["Display P3"]()),
        corners=None,
    )
    yield Made(
        "Display P3 of a palette",
        lambda: encode(quarters().quantize(8), icc_profile=PROFILES["Display P3"]()),
        corners=None,
    )
    for kind in ("PNG", "JPEG"):
        yield Made(
            f"grey with a profile, {kind}",
            lambda kind=kind: encode(quarters().convert("L"), kind, icc_profile=grey_profile(1.0)),
            corners=None,
        )
    yield Made(
        "CMYK with a profile",
        lambda: encode(quarters().convert("CMYK"), "JPEG", quality=95, icc_profile=cmyk_profile()),
        corners=None,
    )
    yield Made("a CMYK profile on RGB", lambda: encode(quarters(), icc_profile=cmyk_profile()), judged=False)
    yield Made("a broken profile", lambda: encode(quarters(), icc_profile=b"\0" * 300))
    yield Made("half a profile", lambda: encode(quarters(), icc_profile=srgb()[:200]))
    large = b"P3\0\0" + zlib.compress(PROFILES["Display P3"]().ljust(1_500_000, b"\0"))
    yield Made("a profile above 1 MB", lambda: png_with(png_chunk(b"iCCP", large)), corners=None, judged=False)
    grey = Image.new("RGB", (300, 260), (128, 128, 128))
    linear, usual = (png_chunk(b"gAMA", struct.pack(">I", value)) for value in (100_000, 45_455))
    rendering = png_chunk(b"sRGB", b"\0")
    level = {"linear": ((188,) * 3,) * 4, "plain": ((128,) * 3,) * 4}
    p3, pq = png_chunk(b"cICP", bytes((12, 13, 0, 1))), png_chunk(b"cICP", bytes((9, 16, 0, 1)))
    yield Made("gAMA of linear light", lambda: png_with(linear, image=grey), corners=level["linear"], judged=False)
    yield Made("the usual gAMA", lambda: png_with(usual, image=grey), corners=level["plain"])
    yield Made(
        "gAMA beside sRGB", lambda: png_with(linear, rendering, image=grey), corners=level["plain"], judged=False
    )
    tagged = png_chunk(b"iCCP", b"P3\0\0" + zlib.compress(srgb()))
    yield Made("gAMA beside a profile", lambda: png_with(linear, tagged, image=grey), corners=level["plain"])
    if HAS_AVIF:
        plain = encode(quarters(), "AVIF", quality=95)
        codes = plain.replace(b"nclx\0\1\0\x0d", b"nclx\0\x0c\0\x0d")
        yield Made(
            "AVIF of Display P3 by its codes",
            lambda: codes,
            corners=((240, 0, 0), (0, 183, 0), (30, 30, 229), (232, 220, 0)),
            judged=False,
        )
    yield Made(
        "cICP of Display P3",
        lambda: png_with(p3),
        corners=((240, 0, 0), (0, 183, 0), (30, 30, 229), (232, 220, 0)),
        judged=False,
    )
    yield Made(
        "cICP beside gAMA and a profile",
        lambda: png_with(linear, tagged, p3, image=grey),
        corners=level["plain"],
        judged=False,
    )
    yield Made(
        "cICP of high dynamic range",
        lambda: png_with(pq, image=Image.new("RGB", (300, 260), (148,) * 3)),
        corners=((255,) * 3,) * 4,
        judged=False,
    )


def _linked_bmp() -> bytes:
    """A BMP of version 5 that names a profile by its path on the owner's disk."""
    plain = encode(quarters(), "BMP")
    pixels, path = plain[54:], b"C:\\Users\\" + SECRET + b"\\monitor.icc\0"
    start, size = 14 + 124, 14 + 124 + len(pixels) + len(path)
    tail = b"KNIL" + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(path), 0)
    header = struct.pack("<I", 124) + plain[18:54] + struct.pack("<4I", 0, 0, 0, 0) + tail
    return b"BM" + struct.pack("<IHHI", size, 0, 0, start) + header + pixels + path


def _noted() -> Iterator[Made]:
    yield Made("a BMP that links a profile", _linked_bmp)
    for kind in ("JPEG", "PNG", "WEBP"):
        yield Made(f"EXIF, {kind}", lambda kind=kind: encode(quarters(), kind, exif=exif()))
    yield Made("XMP, JPEG", lambda: encode(quarters(), "JPEG", xmp=xmp()))
    yield Made("XMP, WebP", lambda: encode(quarters(), "WEBP", xmp=xmp()))
    yield Made("a comment", lambda: encode(quarters(), "JPEG", comment=SECRET))
    yield Made(
        "IPTC", lambda: jpeg_with(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x15\x1c\x02\x50\0\x10" + SECRET)
    )
    yield Made("a private segment", lambda: jpeg_with(0xEB, b"JP\0\1" + SECRET))
    yield Made("text", lambda: png_with(png_chunk(b"tEXt", b"Author\0" + SECRET)))
    yield Made("text behind the pixels", lambda: png_with(late=png_chunk(b"tEXt", b"Author\0" + SECRET)))
    yield Made(
        "text above 1 MB", lambda: png_with(png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(SECRET * 100_000)))
    )
    yield Made("a film behind the photo", lambda: encode(quarters(), "JPEG") + _rest_of_a_phone())
    yield Made(
        "two pictures in one file",
        lambda: encode(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (300, 260))]),
    )
    yield Made(
        "a raw profile with bytes behind its hex",
        lambda: png_with(raw_profile(exif(6), b"\x00zz"), image=turned(6)),
        judged=False,
    )
    yield Made("EXIF that is not TIFF", lambda: jpeg_with(0xE1, b"Exif\0\0this is not TIFF at all"))
    odd = (
        b"Exif\0\0II*\0\x08\0\0\0\x02\0"
        + struct.pack("<HHII", 0x9286, 99, 4, 0)
        + struct.pack("<HHIHH", ORIENTATION, 3, 1, 6, 0)
        + bytes(4)
    )
    yield Made("EXIF with a tag of an odd type", lambda: jpeg_with(0xE1, odd, turned(6)))
    yield Made("EXIF in PNG that is not TIFF", lambda: png_with(png_chunk(b"eXIf", b"nothing")))
    yield Made("EXIF whose directory is cut", lambda: jpeg_with(0xE1, exif(6)[:30], turned(1)), judged=False)


def _heic() -> Iterator[Made]:
    if find_spec("pillow_heif") is None:
        return

    def encode_heic(image: Image.Image, **options: Any) -> bytes:
        import pillow_heif

        out = io.BytesIO()
        pillow_heif.from_pillow(image).save(out, quality=95, **options)
        return out.getvalue()

    yield Made("HEIC", lambda: encode_heic(quarters()))
    yield Made("HEIC in grey", lambda: encode_heic(quarters().convert("L")), corners=None)
    hidden = quarters().convert("RGBA")
    hidden.paste((0, 0, 0, 0), (0, 0, 150, 130))
    yield Made("transparent HEIC", lambda: encode_heic(hidden), corners=((255, 255, 255), *CORNERS[1:]))
    for orientation in range(1, 9):
        image = turned(orientation)
        yield Made(f"turned {orientation}, HEIC", lambda i=image, o=orientation: encode_heic(i, exif=exif(o)))
    p3 = quarters()
    p3.info["icc_profile"] = PROFILES["Display P3"]()
    yield Made("Display P3, HEIC", lambda: encode_heic(p3), corners=None)
    yield Made("half of a HEIC", lambda: encode_heic(quarters())[:-400], "damaged or cut off")


def _odd() -> Iterator[Made]:
    whole = {kind: encode(quarters(), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF")}
    yield Made("a PNG without image data", _without_data, "it has no image data")
    yield Made("rows that end in the middle", _short_data, "damaged or cut off")
    for kind, data in whole.items():
        yield Made(f"half of a {kind}", lambda data=data: data[: len(data) // 2], "damaged or cut off")
        yield Made(f"bytes behind a {kind}", lambda data=data: data + SECRET)
    for chunk in (b"tEXt", b"IDAT", b"IEND"):
        yield Made(f"a wrong checksum of {chunk.decode()}", lambda chunk=chunk: _wrong_checksum(chunk), judged=False)
    yield Made("a PNG without its end", lambda: whole["PNG"][:-12], judged=False)
    yield Made("a PNG whose end is cut", lambda: whole["PNG"][:-6], judged=False)
    yield Made("a JPEG without its end", lambda: encode(quarters(), "JPEG", quality=92)[:-2])
    yield Made(
        "a progressive JPEG without its end", lambda: encode(quarters(), "JPEG", quality=92, progressive=True)[:-2]
    )
    yield Made("a GIF without its end", lambda: whole["GIF"][:-1])
    yield Made("a BMP that claims to be longer", lambda: _wrong_size("BMP", 2, 4), judged=False)
    yield Made("a WebP that claims to be longer", lambda: _wrong_size("WEBP", 4, 4), judged=False)


def _sized() -> Iterator[Made]:
    sizes = {(64, 64): None, (100, 300): None, (239, 240): None, (240, 240): None, (1920, 240): None, (512, 64): None}
    for size in sizes:
        yield Made(f"{size[0]}x{size[1]}", lambda size=size: encode(quarters(*size)))
    for size in ((1, 1), (63, 63), (63, 300), (16, 4000)):
        yield Made(
            f"tiny, {size[0]}x{size[1]}",
            lambda size=size: encode(quarters(*size)),
            f"{size[0]}x{size[1]} pixels; .*at least 64",
        )
    for size in ((1921, 240), (240, 1921), (3000, 300)):
        yield Made(
            f"narrow, {size[0]}x{size[1]}",
            lambda size=size: encode(quarters(*size)),
            f"{size[0]}x{size[1]} pixels; .*8 times",
        )
    yield Made("longer than 8,000", lambda: _large_jpeg((8_100, 1_100)))
    yield Made("a panorama of 60 megapixels", lambda: _large_jpeg((20_000, 3_000)), judged=False)
    yield Made("64 megapixels of a phone", lambda: _large_jpeg((9_248, 6_936)), judged=False)
    claim = struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", claim) + png_chunk(b"IDAT", b"x") + png_chunk(b"IEND", b"")
    yield Made("81 megapixels of a PNG", lambda: bomb, "9000x9000.*50 megapixels")


FOREIGN = {
    "nothing": (b"", r"empty \(0 bytes\)"),
    "TIFF": (encode(quarters(), "TIFF"), "TIFF"),
    "Photoshop": (b"8BPS\0\1" + bytes(40), "Photoshop"),
    "SVG": (b"<?xml version='1.0'?><!-- x --><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "PDF": (encode(quarters(), "PDF"), "PDF"),
    "icon": (encode(quarters(256, 256), "ICO"), "icon"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), "JPEG 2000"),
    "JPEG XL": (b"\xff\x0a" + bytes(60), "JPEG XL"),
    "JPEG XL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60), "JPEG XL"),
    "a web page": (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "JSON": (b'{"error": "expired"}', "JSON"),
    "a film": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(60), "film"),
    "an archive": (b"PK\x03\x04" + bytes(60), "archive"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
    "a PNG of an iPhone app": (b"\x89PNG\r\n\x1a\n" + png_chunk(b"CgBI", bytes(4)), "iPhone"),
    "other bytes": (b"hello" * 20, "something else"),
}


def _foreign() -> Iterator[Made]:
    for name, (data, refused) in FOREIGN.items():
        yield Made(name, lambda data=data: data, refused)


def all_made() -> list[Made]:
    """Return every file."""
    groups = (_turned, _modes, _clear, _coloured, _noted, _heic, _odd, _sized, _foreign)
    return [made for group in groups for made in group()]
