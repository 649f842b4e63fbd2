"""What an image file may cost: pixels, parts and scans are counted before anything is decoded.

A file of a few bytes can ask for hours of work: each bound is on what a decoder does, and not on the size of the file.
"""

from __future__ import annotations

from langchain_wan._media.formats import NotAnImageError

MAX_SIDE = 65_535  # pixels: what a JPEG can have
MAX_PIXELS = 50_000_000  # a 48-megapixel phone photograph; in memory, a pixel takes four bytes
# A JPEG is decoded at a half, a quarter or an eighth. One of several scans keeps all of its coefficients in memory.
MAX_JPEG_PIXELS, MAX_SCANNED_PIXELS = 256_000_000, 70_000_000
# Each scan is a pass over the whole image, even if its data is a few bytes. Pillow and libjpeg write ten.
MAX_SCANS, MAX_SCAN_WORK = 100, 1_400_000_000  # of one JPEG: scans, and scans times pixels
# Pillow unpacks runs of a BMP in Python.
MAX_RUN_PIXELS = 4_000_000
MAX_PARTS = 20_000  # chunks, segments or boxes; libpng writes 8 KiB into a chunk
MAX_GIF_BLOCKS = 300_000  # of up to 255 bytes
# libavif looks up each item of a table in the others; a photo of 48 megapixels has some 5 kB of them.
MAX_ITEM_TABLE, MAX_FILM_INDEX = 2**16, 2**18  # bytes
MAX_TEXT, MAX_PROFILE = 2**20, 2**24  # bytes that a compressed chunk may unpack to
# Deflate packs at most 1,032 bytes into one (https://www.zlib.net/zlib_tech.html, 2024-01).
DEFLATE_RATIO = 1_040


def check_size(width: int, height: int, kind: str, *, scans: int = 1) -> None:
    """Check the size of an image, and how often it is passed over.

    Raises:
        NotAnImageError: It has no pixels, too many, or too many scans.
    """
    if width < 1 or height < 1:
        raise NotAnImageError(f"it has no pixels ({width}x{height})", remedy="Use another image.")
    most = MAX_PIXELS
    if kind == "JPEG":
        most = MAX_JPEG_PIXELS if scans == 1 else MAX_SCANNED_PIXELS
    if width * height > most or max(width, height) > MAX_SIDE:
        limit = f"at most {most // 10**6} megapixels and {MAX_SIDE:,} pixels a side are read"
        raise NotAnImageError(f"it has too many pixels ({width}x{height}); {limit}", remedy="Make it smaller.")
    most_scans = min(MAX_SCANS, MAX_SCAN_WORK // (width * height))
    if scans > most_scans:
        raise build_count_error("scans", most_scans, f" of {width}x{height} pixels")


def build_count_error(what: str, most: int, where: str = "") -> NotAnImageError:
    """Return the error of a file that would cost too much to read."""
    return NotAnImageError(f"it has too many {what}; at most {most:,}{where} are read", remedy="Save it anew.")
