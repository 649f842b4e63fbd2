"""An edit of input images: they stay visible, and the words of the prompt choose light and style."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from langchain_wan.sandbox.shapes import (
    build_disc,
    build_gradient,
    find_unit,
    paint,
    paint_figures,
    paint_weather,
)
from langchain_wan.sandbox.words import (
    COLOURS,
    STYLES,
    Colour,
    Theme,
    find_words,
    mix_colours,
    read_colours,
    read_theme,
)

References = Sequence[bytes | None]


def _relight(image: Image.Image, inks: Sequence[Colour], share: float) -> Image.Image:
    """Give shadows, midtones and lights other colours."""
    grey = ImageOps.autocontrast(image.convert("L"), cutoff=1)
    return Image.blend(image, ImageOps.colorize(grey, inks[0], inks[-1], inks[1]), share)


def _apply_style(image: Image.Image, style: str) -> Image.Image:
    """Apply a style, or three colours, to an image."""
    size, paper = image.size, Image.new("RGB", image.size, (255, 251, 243))
    if style in ("oil", "watercolor", "comic"):  # flat strokes: the commonest colour of each neighbourhood
        small = ImageOps.contain(image, (360, 360)).quantize(96, Image.Quantize.FASTOCTREE)
        image = small.filter(ImageFilter.ModeFilter(7)).convert("RGB").resize(size, Image.Resampling.BILINEAR)
        image = ImageEnhance.Color(image).enhance(1.4)
    if style in ("pencil", "comic"):  # a line is what is darker than its surroundings
        grey = image.convert("L")
        around = ImageOps.invert(grey).filter(ImageFilter.GaussianBlur(find_unit(size) / 160))
        lines = ImageChops.add(grey, around).point([round(255 * (value / 255) ** 3) for value in range(256)])
        shading = image if style == "comic" else Image.blend(paper, grey.convert("RGB"), 0.4)
        image = ImageChops.multiply(shading, lines.convert("RGB"))
    if style == "watercolor":
        image = Image.blend(image, paper, 0.35)
    if style == "mirror":
        image = ImageOps.mirror(image)
    return _relight(image, read_colours(style), 0.85) if " " in style else image


def _build_panel(data: bytes | None, size: tuple[int, int]) -> Image.Image:
    """Crop a reference to a size, or draw a placeholder for one that could not be loaded."""
    if data is None:
        panel = build_gradient(size, (206, 211, 218), (176, 183, 193))
        middle, font = (size[0] / 2, size[1] / 2), ImageFont.load_default(min(size) / 7)
        ImageDraw.Draw(panel).text(middle, "reference", (90, 98, 110), font, "mm")
        return panel
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "BMP", "WEBP"]) as opened:
            opened.draft("RGB", size)  # a JPEG can be decoded small
            upright = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception as error:  # decoders raise many kinds on broken input
        raise ValueError("The reference is not a readable image.") from error
    return ImageOps.fit(upright, size, centering=(0.5, 0.4))


def _vary(image: Image.Image, theme: Theme, random: Random) -> Image.Image:
    """Move the frame a little and let light fall in somewhere: several edits of one image are several images."""
    (wide, high), share = image.size, random.uniform(0.965, 0.985)
    left, top = wide * (1 - share) * random.random(), high * (1 - share) * random.random()
    image = image.resize(image.size, Image.Resampling.BILINEAR, (left, top, left + wide * share, top + high * share))
    radius = find_unit(image.size) * 0.3
    spot = build_disc(wide * random.random(), high * random.uniform(0.1, 0.5), radius)
    paint(image, [spot], theme.light, opacity=0.24 - 0.24 * theme.night, soft=radius / 2)
    return image


def paint_edit(prompt: str, size: tuple[int, int], references: References, random: Random) -> Image.Image:
    """Lay references side by side with soft seams, then apply what the prompt says; every prompt changes something."""
    canvas, wide, (across, along) = Image.new("RGB", size), size[0] >= size[1], sorted(size)
    for number, data in enumerate(references):
        start, stop = (round(along * each / len(references)) for each in (number, number + 1))
        seam = along // (6 * len(references)) if number else 0
        mask = Image.new("L", (stop - start + seam, across), 255)
        if seam:
            mask.paste(Image.linear_gradient("L").rotate(90).resize((seam, across)))
        mask = mask if wide else mask.transpose(Image.Transpose.TRANSPOSE)
        canvas.paste(_build_panel(data, mask.size), (start - seam, 0) if wide else (0, start - seam), mask)
    theme, styles = read_theme(prompt, random), [*find_words(STYLES, prompt).values()]
    styles += [f"201a2c {code} fff8ec" for code in find_words(COLOURS, prompt).values()]
    added = theme.figures and re.search(r"\b(add|put|place|insert|include)\b", prompt.lower())
    if not (theme.skies or styles or added or len(references) > 1):
        styles = [random.choice(STYLES.splitlines()[:-1]).split(": ")[1]]
    for style in styles:
        canvas = _apply_style(canvas, style)
    # The light of the time of day that the prompt names, else a little of a random one.
    middle, light = (
        theme.middle if theme.night > 0.5 else theme.horizon,
        mix_colours(theme.light, theme.horizon, theme.night),
    )
    canvas = _relight(canvas, (theme.top, middle, light), 0.7 if theme.skies else 0.15 if styles else 0.25)
    canvas = _vary(canvas, theme, random)
    if added:
        side = min(size) * 0.5
        paint_figures(canvas, theme, max(0, size[0] - side * len(theme.figures)), size[0], size[1] * 0.94, side)
    paint_weather(canvas, theme.skies, random)
    return canvas
