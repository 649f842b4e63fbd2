"""Placeholder images: a prompt becomes a small poster, an input image a visible edit of itself.

A hash of prompt, seed and index decides what the words leave open.
"""

from __future__ import annotations

import hashlib
import io
import textwrap
from random import Random

from PIL import Image, ImageDraw, ImageFont

from langchain_wan.sandbox.edits import References, paint_edit
from langchain_wan.sandbox.scene import paint_scene
from langchain_wan.sandbox.shapes import find_unit


def _write_caption(canvas: Image.Image, prompt: str, floor: int) -> None:
    """Write the prompt, and "sandbox", on a bar of frosted glass."""
    (wide, high), tall = canvas.size, (canvas.height - floor) / 3.4
    glass = canvas.crop((0, floor, wide, high)).resize((8, 2)).resize((wide, high - floor))
    canvas.paste(Image.blend(glass, Image.new("RGB", glass.size, (12, 12, 22)), 0.62), (0, floor))
    font, small = ImageFont.load_default(tall), ImageFont.load_default(tall * 0.75)
    pen, gap, middle = ImageDraw.Draw(canvas, "RGBA"), tall * 0.8, (floor + high) / 2
    left, right, half = wide - 2 * gap - small.getlength("sandbox"), wide - gap, tall * 0.65
    badge, ink = (left, middle - half, right, middle + half), (255, 255, 255, 240)
    pen.rounded_rectangle(badge, half, (255, 255, 255, 46), (255, 255, 255, 120), max(1, round(tall / 18)))
    pen.text(((left + right) / 2, middle), "sandbox", ink, small, "mm")
    columns = int(0.93 * (left - 2 * gap) * len(prompt) / max(1, font.getlength(prompt)))
    lines = textwrap.wrap(prompt, max(8, columns), max_lines=2, placeholder="...")
    pen.multiline_text((gap, middle), "\n".join(lines), ink, font, "lm", tall * 0.3)


def draw(prompt: str, *, width: int, height: int, seed: int, index: int, references: References = ()) -> bytes:
    """Draw a prompt, or an edit of `references`, as PNG.

    A reference is the bytes of a JPEG, PNG, BMP or WEBP image, or None for one that could not be loaded.

    Raises:
        ValueError: A reference is not a readable image.
    """
    prompt = " ".join("".join(char if char.isprintable() else " " for char in prompt).split())
    random = Random(hashlib.sha256(f"{seed}/{index}/{prompt}".encode()).digest())
    size = (width, height)
    floor = height - round(min(find_unit(size) * 0.09, width * 0.2, height * 0.25))
    canvas = paint_edit(prompt, size, references, random) if references else paint_scene(prompt, size, floor, random)
    _write_caption(canvas, prompt[:300], floor)
    png = io.BytesIO()
    canvas.save(png, "PNG", compress_level=1)
    return png.getvalue()
