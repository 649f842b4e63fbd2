"""A scene: a sky, layers of ground, and a figure."""

from __future__ import annotations

import math
from random import Random

from PIL import Image

from langchain_wan.sandbox.shapes import (
    WHITE,
    Shape,
    build_disc,
    build_gradient,
    find_unit,
    paint,
    paint_figures,
    paint_weather,
)
from langchain_wan.sandbox.words import KINDS, Theme, mix_colours, read_colours, read_theme


def _build_ground(random: Random, size: tuple[int, int], kind: str, base: float, rise: float) -> list[Shape]:
    """Return a layer of ground down to the bottom edge, then its trees or windows."""
    (wide, high), unit = size, find_unit(size)
    octaves = [(0.5**k, random.uniform(3, 5) * 2.2**k / unit, random.uniform(0, 6.3)) for k in range(6)]
    x, line, extras = -unit * 0.05, [(-unit * 0.05, float(high))], list[Shape]()
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


def _paint_sky(theme: Theme, size: tuple[int, int], floor: float, random: Random) -> tuple[Image.Image, float]:
    """Paint a sky with sun or moon and clouds; return it, and the x of the light."""
    wide, unit, canvas = (
        size[0],
        find_unit(size),
        build_gradient(size, theme.top, theme.middle, theme.horizon, theme.horizon),
    )
    x, y, radius = wide * random.uniform(0.2, 0.8), floor * random.uniform(0.16, 0.36), unit * 0.06
    if not theme.outdoors:
        x, y, radius = wide / 2, floor * 0.5, min(wide, floor) * (0.37 if theme.figures else 0.25)
    if "storm" not in theme.skies:
        halo = build_disc(x, y, radius * (2.2 if theme.outdoors else 1.2))
        paint(canvas, [halo], theme.light, opacity=0.5, soft=radius * 1.3)
        edge = theme.light if theme.outdoors else theme.middle
        paint(canvas, [build_disc(x, y, radius)], mix_colours(theme.light, WHITE, 0.5), edge)
    for _ in range(3 if theme.outdoors and theme.night < 0.5 else 0):
        cx, cy, b = wide * random.random(), floor * random.uniform(0.08, 0.4), unit * random.uniform(0.09, 0.16)
        puffs = [(-0.9, 0.12), (-0.4, 0.22), (0.1, 0.28), (0.6, 0.18), (1, 0.1)]
        cloud = [build_disc(cx + b * dx, cy - b * r * 0.2, b * r * 1.6, 0.5) for dx, r in puffs]
        paint(canvas, cloud, theme.light, theme.horizon, opacity=0.75, soft=unit * 0.008)
    return canvas, x


def _paint_subject(canvas: Image.Image, theme: Theme, base: float, x: float, random: Random) -> None:
    """Paint what is in front of the last layer of ground: light on water, and the figure, away from the light."""
    wide, unit = canvas.width, find_unit(canvas.size)
    for step in range(14 if theme.kinds[-1] == "sea" and "storm" not in theme.skies else 0):
        half, y = unit * (0.018 + 0.006 * step) * random.uniform(0.5, 1.2), base * (0.69 + 0.023 * step)
        paint(canvas, [build_disc(x, y, half, unit * 0.002 / half)], theme.light, opacity=0.75 - 0.04 * step)
    if theme.figures:
        side = min(unit * (0.5 if theme.outdoors else 0.66), wide * 0.85, base * 0.84)
        left = (wide - side) * (0.5 if not theme.outdoors else 0.25 if x > wide / 2 else 0.75)
        edges = (left, left + side) if len(theme.figures) == 1 else (wide * 0.04, wide * 0.96)
        paint_figures(canvas, theme, *edges, base + side * 0.06, side)


def paint_scene(prompt: str, size: tuple[int, int], floor: float, random: Random) -> Image.Image:
    """Paint a sky and layers of ground that grow nearer and darker down to `floor`, and a figure."""
    theme = read_theme(prompt, random)
    canvas, x = _paint_sky(theme, size, floor, random)
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
        rise = min(find_unit(size), floor * 1.1) * float(KINDS[kind].split()[-1])
        rise *= depth if kind == "sea" else 1 - 0.6 * depth
        if depth == 1:
            _paint_subject(canvas, theme, base, x, random)
        ground, *extras = _build_ground(random, size, kind, base, rise)
        paint(canvas, [ground], crest, foot, opacity=0.85 if kind == "sea" and depth else 1)
        if extras:
            lamp = mix_colours(crest, (255, 214, 130), 0.3 + 0.6 * theme.night)
            paint(canvas, extras, *([lamp] if kind == "city" else [crest, foot]))
    paint_weather(canvas, theme.skies, random)
    corners = Image.radial_gradient("L").point([max(0, value - 150) // 2 for value in range(256)])
    canvas.paste((10, 8, 24), mask=corners.resize(size))
    return canvas
