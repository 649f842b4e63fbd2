"""Another decoder's opinion: what a file looks like (libvips, ImageMagick), and what else is in it (exiftool)."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms

_PROFILE = re.compile(rb"ICC_PROFILE|iCCP|ICCP|colrprof|acsp")
SIDE = 48  # pixels of the square in which two pictures are compared
CLOSE = 3.0  # mean delta E (CIE 1976) that nobody sees in a photo

VIPS, MAGICK = shutil.which("vips"), shutil.which("/usr/bin/convert") or shutil.which("magick")
EXIFTOOL = shutil.which("exiftool")

Look = Image.Image  # SIDE x SIDE, RGB, on white

# exiftool's groups of facts about a person, a camera or a program.
PRIVATE_GROUPS = ("IFD", "ExifIFD", "GPS", "XMP", "IPTC", "Photoshop", "MPF", "Ducky", "APP", "Interop", "MakerNotes")
PRIVATE_TAGS = ("Comment", "Copyright", "Artist", "Author", "Description", "Software", "SerialNumber", "Trailer")


def looks(path: Path) -> Iterator[Look]:
    """Yield what each decoder that can read a file shows: upright, in sRGB, on white."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "look.png"
        for command in _commands(path, target):
            target.unlink(missing_ok=True)
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)
            if done.returncode == 0 and target.exists():
                with Image.open(target) as image:
                    yield on_white(image)


def is_alike(path: Path, output: Path) -> bool:
    """Say whether a decoder sees the same in two files; the next one is asked only if it does not."""
    look = next(looks(output))
    return any(difference(opinion, look) < CLOSE for opinion in looks(path))


def _commands(path: Path, target: Path) -> Iterator[list[str]]:
    side = str(SIDE)
    profile = target.with_name("srgb.icc")  # libvips has one of its own with another black
    profile.write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if VIPS is not None:
        size = [side, "--height", side, "--size", "force", "--intent", "perceptual"]
        size += ["--import-profile", "srgb", "--export-profile", str(profile)]  # the first is for files that have none
        yield [VIPS, "thumbnail", str(path), f"{target}[strip]", *size]
    if MAGICK is not None:
        size = ["-background", "white", "-alpha", "remove", "-resize", f"{side}x{side}!", "-depth", "8"]
        ways = [["-profile", str(profile)]]
        if not _PROFILE.search(path.read_bytes()):  # where there is one, the bare numbers are no opinion
            ways.append(["-colorspace", "sRGB"])
        for colours in ways:
            yield [MAGICK, f"{path}[0]", "-auto-orient", *colours, *size, f"PNG24:{target}"]


def on_white(image: Image.Image) -> Look:
    """Return a picture as a judge compares it."""
    rgba = image.convert("RGBA")
    flat = Image.new("RGB", rgba.size, "white")
    flat.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return flat.resize((SIDE, SIDE), Image.Resampling.BOX)


def difference(one: Look, other: Look) -> float:
    """Return the mean delta E of two pictures."""
    pairs = zip(_lab(one), _lab(other), strict=True)
    deltas = [math.dist(left, right) for left, right in pairs]
    return sum(deltas) / len(deltas)


def _lab(image: Look) -> list[tuple[float, float, float]]:
    raw = image.tobytes()
    return [_to_lab(*raw[start : start + 3]) for start in range(0, len(raw), 3)]


def _to_lab(*rgb: int) -> tuple[float, float, float]:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in (c / 255 for c in rgb)
    ]
    red, green, blue = linear
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def private_facts(folder: Path) -> dict[str, list[str]]:
    """Return what exiftool finds in the files of a folder beside their pixels, by file name."""
    if EXIFTOOL is None or not any(folder.iterdir()):
        return {}
    command = [EXIFTOOL, "-json", "-G1", "-a", "-r", "-fast0", str(folder)]
    done = subprocess.run(command, capture_output=True, timeout=600, check=False)
    entries: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    return {Path(str(entry["SourceFile"])).name: facts for entry in entries if (facts := _find_private(entry))}


def _find_private(entry: dict[str, Any]) -> list[str]:
    names = (key.partition(":") for key in entry if ":" in key)
    return [
        f"{group}:{tag}"
        for group, _, tag in names
        if group.startswith(PRIVATE_GROUPS) or (tag.endswith(PRIVATE_TAGS) and not group.startswith("ICC"))
    ]
