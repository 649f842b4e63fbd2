"""Shapes with soft edges, and what is made of them: a figure, and the weather."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from random import Random

from PIL import Image, ImageDraw, ImageFilter

from langchain_wan.sandbox.words import INKS, WEATHER, Colour, Figure, Theme, mix_colours, read_colours

Shape = Sequence[tuple[float, float]]  # two points are the box of an ellipse, more are a polygon

WHITE, _TURNS = (255, 255, 255), [math.tau * step / 48 for step in range(48)]


def find_unit(size: tuple[int, int]) -> float:
    """Return the side of the square of equal area, by which things are sized."""
    return math.sqrt(size[0] * size[1])


def build_gradient(size: tuple[int, int], *inks: Colour) -> Image.Image:
    """Blend colours from top to bottom."""
    column = Image.new("RGB", (1, len(inks)))
    column.putdata(inks)
    return column.resize((1, size[1]), Image.Resampling.BILINEAR).resize(size, Image.Resampling.NEAREST)


def build_disc(x: float, y: float, radius: float, flat: float = 1) -> Shape:
    """Return a circle, or an ellipse that is `flat` times as high as wide."""
    return [(x - radius, y - radius * flat), (x + radius, y + radius * flat)]


def paint(canvas: Image.Image, shapes: Sequence[Shape], *inks: Colour, opacity: float = 1, soft: float = 0) -> None:
    """Fill shapes with a vertical gradient, smooth at the edges; `soft` blurs them over that many pixels."""
    room = 3 * soft  # a blur needs pixels beyond the edge of the canvas
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
    canvas.paste(build_gradient(mask.size, *inks), (left, top), mask)


def paint_figures(canvas: Image.Image, theme: Theme, left: float, right: float, base: float, side: float) -> None:
    """Draw the figures of a theme between two edges, above a base line; many stand in two rows."""
    count, wide = len(theme.figures), right - left
    if count > 3:
        side = min(side, 1.25 * wide / math.ceil(count / 2))
    elif count > 1:
        side = min(side, 1.1 * wide / count)
    rows = [theme.figures] if count <= 3 else [theme.figures[: count // 2], theme.figures[count // 2 :]]
    for number, row in enumerate(rows):
        size, lift = (side, 0.0) if number == len(rows) - 1 else (side * 0.8, side * 0.4)
        for index, figure in enumerate(row):
            x = left + (right - left) * (index + 0.5) / len(row)
            paint_figure(canvas, theme, figure, complex(x - size / 2, base - lift - size), size)


def paint_figure(canvas: Image.Image, theme: Theme, figure: Figure, corner: complex, side: float) -> None:
    """Draw a figure into a square."""
    inks = {
        "a": figure.accent,
        "d": mix_colours(figure.accent, (25, 15, 45), 0.38),
        "l": mix_colours(figure.accent, WHITE, 0.5),
    }
    inks |= zip(INKS.split()[::2], read_colours(INKS), strict=True)
    for shape in figure.drawing.split(";")[1:]:
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
        paint(canvas, placed, mix_colours(colour, WHITE, 0.1), colour)


def paint_weather(canvas: Image.Image, skies: Iterable[str], random: Random) -> None:
    """Paint stars, snow or rain."""
    (wide, high), unit = canvas.size, find_unit(canvas.size)
    for reach, size, flat, opacity in (WEATHER[sky] for sky in skies if sky in WEATHER):
        spots = [(random.uniform(0, wide), random.uniform(0, high) * reach) for _ in range(150)]
        drops = [build_disc(x, y, unit * size * random.choice((0.7, 1, 1, 1.3, 2.2)), flat) for x, y in spots]
        paint(canvas, drops, WHITE, opacity=opacity)
