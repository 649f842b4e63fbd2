"""Placeholder images: a prompt becomes a small poster, an input image a visible edit of itself.

A hash of prompt, seed and index decides what the words leave open.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from langchain_wan.sandbox.words import (
    COLOURS,
    INKS,
    KINDS,
    STYLES,
    WEATHER,
    Colour,
    Theme,
    find_words,
    mix_colours,
    read_colours,
    read_theme,
)

_Shape = Sequence[tuple[float, float]]  # two points are the box of an ellipse, more are a polygon
_References = Sequence[bytes | None]

_WHITE, _TURNS = (255, 255, 255), [math.tau * step / 48 for step in range(48)]


def _unit(size: tuple[int, int]) -> float:
    return math.sqrt(size[0] * size[1])  # the side of the square of equal area, by which things are sized


def _gradient(size: tuple[int, int], *inks: Colour) -> Image.Image:
    """Blend colours from top to bottom."""
    column = Image.new("RGB", (1, len(inks)))
    column.putdata(inks)
    return column.resize((1, size[1]), Image.Resampling.BILINEAR).resize(size, Image.Resampling.NEAREST)


def _disc(x: float, y: float, radius: float, flat: float = 1) -> _Shape:
    return [(x - radius, y - radius * flat), (x + radius, y + radius * flat)]


def _paint(canvas: Image.Image, shapes: Sequence[_Shape], *inks: Colour, opacity: float = 1, soft: float = 0) -> None:
    """Fill shapes with a vertical gradient, smooth at the edges; `soft` blurs them over that many pixels."""
    room = 3 * soft  # a blur reaches out, and must see what lies beyond the edge of the canvas
    xs, ys = [x for shape in shapes for x, _ in shape], [y for shape in shapes for _, y in shape]
    left, right = max(0, int(min(xs) - room)), min(canvas.width, math.ceil(max(xs) + room))
    top, bottom = max(0, int(min(ys) - room)), min(canvas.height, math.ceil(max(ys) + room))
    # A soft edge needs few pixels; a sharp one is drawn twice as large and reduced.
    scale = min(1, 4 / soft) if soft else 2
    wide, high, room = (right - left) * scale, (bottom - top) * scale, room * scale
    mask = Image.new("L", (math.ceil(wide + 2 * room), math.ceil(high + 2 * room)))
    pen = ImageDraw.Draw(mask)
    for shape in shapes:
        points = [((x - left) * scale + room, (y - top) * scale + room) for x, y in shape]
        (pen.ellipse if len(points) == 2 else pen.polygon)(points, fill=255)
    if soft:
        seen = (room, room, room + wide, room + high)
        mask = mask.filter(ImageFilter.GaussianBlur(soft * scale)).resize((right - left, bottom - top), None, seen)
    else:
        mask = mask.reduce(2)
    mask = mask.point([round(value * opacity) for value in range(256)])
    canvas.paste(_gradient(mask.size, *inks), (left, top), mask)


def _figure(canvas: Image.Image, theme: Theme, corner: complex, side: float) -> None:
    """Draw the figure of a theme into a square."""
    inks = {
        "a": theme.accent,
        "d": mix_colours(theme.accent, (25, 15, 45), 0.38),
        "l": mix_colours(theme.accent, _WHITE, 0.5),
    }
    inks |= zip(INKS.split()[::2], read_colours(INKS), strict=True)
    for shape in theme.drawing.split(";")[1:]:
        kind, ink, *pairs = shape.split()
        points = [complex(*map(float, pair.split(","))) for pair in pairs]
        if kind.startswith("box"):  # the ellipse in a box
            middle, half = (points[0] + points[1]) / 2, (points[1] - points[0]) / 2
            points = [middle + complex(half.real * math.cos(t), half.imag * math.sin(t)) for t in _TURNS]
        elif kind.startswith("blob"):  # the closed curve through the points: Catmull-Rom
            around = zip(*(points[i:] + points[:i] for i in (-1, 0, 1, 2)), strict=True)
            bends = [(b, (c - a) / 2, a - 2.5 * b + 2 * c - d / 2, (3 * (b - c) + d - a) / 2) for a, b, c, d in around]
            points = [p + k / 8 * (q + k / 8 * (r + k / 8 * s)) for p, q, r, s in bends for k in range(8)]
        halves = [points, [100 - point.conjugate() for point in points]][: 2 if kind.endswith("2") else 1]
        placed = [[(z.real, z.imag) for z in (corner + point * side / 100 for point in half)] for half in halves]
        dark = 0.4 if theme.night > 0.5 and ink != "y" else 0  # lamps stay lit
        colour = mix_colours(inks[ink], theme.top, dark)
        _paint(canvas, placed, mix_colours(colour, _WHITE, 0.1), colour)


def _ground(random: Random, size: tuple[int, int], kind: str, base: float, rise: float) -> list[_Shape]:
    """Return a layer of ground down to the bottom edge, then the trees or windows that stand out from it."""
    (wide, high), unit = size, _unit(size)
    octaves = [(0.5**k, random.uniform(3, 5) * 2.2**k / unit, random.uniform(0, 6.3)) for k in range(6)]
    x, line, extras = -unit * 0.05, [(-unit * 0.05, float(high))], list[_Shape]()
    while x < wide + unit * 0.05:
        waves = [(share, math.sin(x * pace + phase)) for share, pace, phase in octaves]
        step, y = unit * 0.008, base - min(rise, unit * 0.05) * 0.6 * sum(a * wave for a, wave in waves[:3])
        if kind == "mountain":  # straight slopes instead of waves
            y = base - rise * (0.4 + 0.3 * sum(a * math.asin(wave) for a, wave in waves))
        elif kind == "forest":
            tall, step = rise * random.uniform(0.55, 1.1), rise * random.uniform(0.1, 0.35)
            fir = [(-0.26, 0.12), (-0.1, -0.3), (-0.2, -0.3), (-0.07, -0.62), (-0.13, -0.62), (0, -1)]
            extras.append([(x + dx * tall, y + dy * tall) for dx, dy in fir + [(-dx, dy) for dx, dy in fir[::-1]]])
        elif kind == "city":
            pane, panes = unit * 0.01, random.randint(2, 4)
            step, y = (panes * 2 + 1) * pane, base - rise * random.uniform(0.1, 1) ** 1.5
            for spot in random.sample(range(panes * 14), panes * 4):
                px, py = x + pane * (1 + spot % panes * 2), y + pane * (1.5 + spot // panes * 2)
                extras.append([(px, py), (px + pane, py), (px + pane, py + pane), (px, py + pane)])
            line.append((x, y))
        line.append((x + (step if kind == "city" else 0), y))
        x += step
    return [[*line, (x, float(high))], *extras]


def _weather(canvas: Image.Image, skies: Iterable[str], random: Random) -> None:
    """Let stars shine, snow or rain fall."""
    (wide, high), unit = canvas.size, _unit(canvas.size)
    for reach, size, flat, opacity in (WEATHER[sky] for sky in skies if sky in WEATHER):
        spots = [(random.uniform(0, wide), random.uniform(0, high) * reach) for _ in range(150)]
        drops = [_disc(x, y, unit * size * random.choice((0.7, 1, 1, 1.3, 2.2)), flat) for x, y in spots]
        _paint(canvas, drops, _WHITE, opacity=opacity)


def _sky(theme: Theme, size: tuple[int, int], floor: float, random: Random) -> tuple[Image.Image, float]:
    """Paint a sky with sun or moon and clouds; return it, and where from left to right the light stands."""
    wide, unit, canvas = size[0], _unit(size), _gradient(size, theme.top, theme.middle, theme.horizon, theme.horizon)
    x, y, radius = wide * random.uniform(0.2, 0.8), floor * random.uniform(0.16, 0.36), unit * 0.06
    if not theme.outdoors:
        x, y, radius = wide / 2, floor * 0.5, min(wide, floor) * (0.37 if theme.drawing else 0.25)
    if "storm" not in theme.skies:
        halo = _disc(x, y, radius * (2.2 if theme.outdoors else 1.2))
        _paint(canvas, [halo], theme.light, opacity=0.5, soft=radius * 1.3)
        edge = theme.light if theme.outdoors else theme.middle
        _paint(canvas, [_disc(x, y, radius)], mix_colours(theme.light, _WHITE, 0.5), edge)
    for _ in range(3 if theme.outdoors and theme.night < 0.5 else 0):
        cx, cy, b = wide * random.random(), floor * random.uniform(0.08, 0.4), unit * random.uniform(0.09, 0.16)
        puffs = [(-0.9, 0.12), (-0.4, 0.22), (0.1, 0.28), (0.6, 0.18), (1, 0.1)]
        cloud = [_disc(cx + b * dx, cy - b * r * 0.2, b * r * 1.6, 0.5) for dx, r in puffs]
        _paint(canvas, cloud, theme.light, theme.horizon, opacity=0.75, soft=unit * 0.008)
    return canvas, x


def _subject(canvas: Image.Image, theme: Theme, base: float, x: float, random: Random) -> None:
    """Paint what stands before the last layer of ground: light on water, and the figure, away from the light."""
    wide, unit = canvas.width, _unit(canvas.size)
    for step in range(14 if theme.kinds[-1] == "sea" and "storm" not in theme.skies else 0):
        half, y = unit * (0.018 + 0.006 * step) * random.uniform(0.5, 1.2), base * (0.69 + 0.023 * step)
        _paint(canvas, [_disc(x, y, half, unit * 0.002 / half)], theme.light, opacity=0.75 - 0.04 * step)
    if theme.drawing:
        side = min(unit * (0.5 if theme.outdoors else 0.66), wide * 0.85, base * 0.84)
        left = (wide - side) * (0.5 if not theme.outdoors else 0.25 if x > wide / 2 else 0.75)
        _figure(canvas, theme, complex(left, base - side * 0.94), side)


def _scene(prompt: str, size: tuple[int, int], floor: float, random: Random) -> Image.Image:
    """Paint a sky and layers of ground that grow nearer and darker down to `floor`, and a figure."""
    theme = read_theme(prompt, random)
    canvas, x = _sky(theme, size, floor, random)
    for number, kind in enumerate(theme.kinds):
        depth = number / (len(theme.kinds) - 1)
        base = floor * (0.64 + 0.31 * depth)
        cover = "snow" if "snow" in theme.kinds and kind in ("hill", "mountain") else kind
        far, near = read_colours(KINDS[cover]) if theme.outdoors else (theme.middle, theme.top)
        crest = mix_colours(mix_colours(far, near, depth), theme.middle, 0.4 * (1 - depth))
        crest = mix_colours(crest, theme.top, theme.night * (0.35 + 0.55 * depth))
        foot = (
            mix_colours(crest, theme.top, 0.3) if depth > 0.7 else mix_colours(crest, theme.horizon, 0.4 * (1 - depth))
        )
        rise = min(_unit(size), floor * 1.1) * float(KINDS[kind].split()[-1])
        rise *= depth if kind == "sea" else 1 - 0.6 * depth
        if depth == 1:
            _subject(canvas, theme, base, x, random)
        ground, *extras = _ground(random, size, kind, base, rise)
        _paint(canvas, [ground], crest, foot, opacity=0.85 if kind == "sea" and depth else 1)
        if extras:
            lamp = mix_colours(crest, (255, 214, 130), 0.3 + 0.6 * theme.night)
            _paint(canvas, extras, *([lamp] if kind == "city" else [crest, foot]))
    _weather(canvas, theme.skies, random)
    corners = Image.radial_gradient("L").point([max(0, value - 150) // 2 for value in range(256)])
    canvas.paste((10, 8, 24), mask=corners.resize(size))
    return canvas


def _relit(image: Image.Image, inks: Sequence[Colour], share: float) -> Image.Image:
    """Give shadows, midtones and lights other colours."""
    grey = ImageOps.autocontrast(image.convert("L"), cutoff=1)
    return Image.blend(image, ImageOps.colorize(grey, inks[0], inks[-1], inks[1]), share)


def _styled(image: Image.Image, style: str) -> Image.Image:
    """Redo an image in a style, or in three colours."""
    size, paper = image.size, Image.new("RGB", image.size, (255, 251, 243))
    if style in ("oil", "watercolor", "comic"):  # flat strokes: the commonest colour of each neighbourhood
        small = ImageOps.contain(image, (360, 360)).quantize(96, Image.Quantize.FASTOCTREE)
        image = small.filter(ImageFilter.ModeFilter(7)).convert("RGB").resize(size, Image.Resampling.BILINEAR)
        image = ImageEnhance.Color(image).enhance(1.4)
    if style in ("pencil", "comic"):  # a line is what is darker than its surroundings
        grey = image.convert("L")
        around = ImageOps.invert(grey).filter(ImageFilter.GaussianBlur(_unit(size) / 160))
        lines = ImageChops.add(grey, around).point([round(255 * (value / 255) ** 3) for value in range(256)])
        shading = image if style == "comic" else Image.blend(paper, grey.convert("RGB"), 0.4)
        image = ImageChops.multiply(shading, lines.convert("RGB"))
    if style == "watercolor":
        image = Image.blend(image, paper, 0.35)
    if style == "mirror":
        image = ImageOps.mirror(image)
    return _relit(image, read_colours(style), 0.85) if " " in style else image


def _panel(data: bytes | None, size: tuple[int, int]) -> Image.Image:
    """Crop a reference to a size, or draw a placeholder for one that could not be read."""
    if data is None:
        panel = _gradient(size, (206, 211, 218), (176, 183, 193))
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


def _edit(prompt: str, size: tuple[int, int], references: _References, random: Random) -> Image.Image:
    """Lay references side by side with soft seams; then do what the prompt says, in any case something."""
    canvas, wide, (across, along) = Image.new("RGB", size), size[0] >= size[1], sorted(size)
    for number, data in enumerate(references):
        start, stop = (round(along * each / len(references)) for each in (number, number + 1))
        seam = along // (6 * len(references)) if number else 0
        mask = Image.new("L", (stop - start + seam, across), 255)
        if seam:
            mask.paste(Image.linear_gradient("L").rotate(90).resize((seam, across)))
        mask = mask if wide else mask.transpose(Image.Transpose.TRANSPOSE)
        canvas.paste(_panel(data, mask.size), (start - seam, 0) if wide else (0, start - seam), mask)
    theme, styles = read_theme(prompt, random), [*find_words(STYLES, prompt).values()]
    styles += [f"201a2c {code} fff8ec" for code in find_words(COLOURS, prompt).values()]
    added = theme.drawing and re.search(r"\b(add|put|place|insert|include)\b", prompt.lower())
    if not (theme.skies or styles or added or len(references) > 1):
        styles = [random.choice(STYLES.splitlines()[:-1]).split(": ")[1]]
    for style in styles:
        canvas = _styled(canvas, style)
    # The light of the hour that is named, or else a breath of some other.
    middle, light = (
        theme.middle if theme.night > 0.5 else theme.horizon,
        mix_colours(theme.light, theme.horizon, theme.night),
    )
    canvas = _relit(canvas, (theme.top, middle, light), 0.7 if theme.skies else 0.15 if styles else 0.25)
    if added:
        side = min(size) * 0.5
        _figure(canvas, theme, complex(size[0] - side, size[1] * 0.94 - side), side)
    _weather(canvas, theme.skies, random)
    return canvas


def _caption(canvas: Image.Image, prompt: str, floor: int) -> None:
    """Write the prompt on a bar of frosted glass, and that this is a sandbox."""
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


def draw(prompt: str, *, width: int, height: int, seed: int, index: int, references: _References = ()) -> bytes:
    """Draw a prompt, or an edit of `references`, as PNG.

    A reference is the bytes of a JPEG, PNG, BMP or WEBP image, or None for one that could not be read.

    Raises:
        ValueError: A reference is not a readable image.
    """
    prompt = " ".join("".join(char if char.isprintable() else " " for char in prompt).split())
    random = Random(hashlib.sha256(f"{seed}/{index}/{prompt}".encode()).digest())
    size = (width, height)
    floor = height - round(min(_unit(size) * 0.09, width * 0.2, height * 0.25))
    canvas = _edit(prompt, size, references, random) if references else _scene(prompt, size, floor, random)
    _caption(canvas, prompt[:300], floor)
    png = io.BytesIO()
    canvas.save(png, "PNG", compress_level=1)
    return png.getvalue()
