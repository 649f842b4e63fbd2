"""Placeholder pictures: a prompt becomes a small poster, a reference a visible edit of itself.

No model: words choose from short lists, a hash of prompt, seed and index decides the rest.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

_Colour = tuple[int, int, int]
_Shape = Sequence[tuple[float, float]]  # two points are the box of an ellipse, more are a polygon
_References = Sequence[bytes | None]

_WHITE, _TURNS = (255, 255, 255), [math.tau * step / 48 for step in range(48)]
# A name and words that mean it, then: top, middle, horizon, sun or moon, and darkness in percent.
_SKIES = """night dark midnight moon moonlit moonlight stars starry 夜 月: 060a24 17235a 4a5796 fff6d6 70
sunset dusk evening golden warm autumn 夕: 2a2357 c44f73 ffb067 fff1c4 35
sunrise dawn morning spring pastel 晨: 7ba6dc f2bfc9 ffe8c9 fffbef 5
storm stormy rain rainy fog mist misty 雨: 3c4856 74828f b9c4cb e9eef0 30
neon cyberpunk futuristic: 12062e 5a1280 f0408f ffb3e4 65
snow snowy winter ice frozen cold 雪 冬: 7fa9d1 bcd6ea f3f7fb fffdf2 0
day sunny summer beach sea ocean sky 海: 2f86d6 86c5f2 e6f4fb fffbe0 0"""
# Far and near colour, and how far the outline rises, in shares of the size.
_GROUNDS = """mountain mountains alps peak peaks volcano cliff 山: 93a9c4 263b4f 0.34
city skyline street tokyo london paris town urban 城: 8d8fb0 1c1e3c 0.34
hill hills field meadow garden landscape valley village: 9cc48a 2f6b3c 0.06
desert dune dunes sahara canyon autumn 沙 秋: e8a866 a2522c 0.08
snow snowy winter ice frozen 雪 冬: b9cde0 f6fafd 0.07
forest woods tree trees pine pines jungle 林 森: 8fb7a0 123a2e 0.17
sea ocean beach lake waves river island coast boat ship lighthouse 海 湖: 5fb6c6 0c4a6b 0.013"""
_KINDS = {line.split()[0]: line.split(": ")[1] for line in _GROUNDS.splitlines()}
_COLOURS = """red crimson 红: d8402f
orange copper 橙: ec7a2c
yellow gold 黄: f0bb30
green emerald 绿: 3f9b5b
blue navy 蓝: 2f6fd0
purple violet 紫: 7d4fc0
pink magenta 粉: ea6f9f
white silver 白: eceef2"""
_STYLES = """oil painting painted painterly impressionist acrylic gogh 油画: oil
watercolor watercolour gouache 水彩: watercolor
pencil sketch drawing drawn ink charcoal 素描: pencil
comic cartoon anime poster pop posterise posterize 漫画: comic
vintage sepia retro antique film: 2b1a10 a5793f fbeccb
duotone risograph: 1b1464 e8467c ffe9d2
monochrome grayscale greyscale noir: 08080a 74747a fafafc
mirror mirrored flip flipped 镜: mirror"""
# Stars, snow, rain: how far down it reaches, its size, how much longer than wide, how thick it is.
_WEATHER = {"night": (0.6, 0.001, 1, 0.8), "snow": (1, 0.003, 1, 0.8), "storm": (1, 0.0007, 28, 0.4)}
# An accent colour, then shapes on a 100x100 sheet: kind (2: drawn mirrored as well), ink, points. The inks:
# a, d, l accent, its shade, its tint; w cream, k black, y lamp, s, z skin and its shade, h hair, r cheek.
_INKS = "w fbf6ec k 241f2c y ffd773 s f0c19d z dea27c h 54382f r eaa98a"
_FIGURES = """fox 狐: e8762d;blob a 50,60 76,76 84,108 16,108 24,76;blob w 50,66 61,80 58,108 42,108 39,80;blob2 a \
17,2 36,16 44,30 30,36 16,34;blob2 k 20,10 30,18 34,26 22,28;blob a 50,20 72,24 88,46 68,64 50,80 32,64 12,46 28,24;\
blob2 w 12,47 28,47 45,57 50,79 33,66;box2 k 32,42 38,50;blob k 50,70 56,73 50,80 44,73
cat kitten 猫: 6c7a90;blob a 50,60 72,76 78,108 22,108 28,76;blob2 a 20,4 38,18 44,28 30,36 18,34;blob2 l 24,13 33,20 \
36,26 25,27;blob a 50,20 78,28 82,52 66,72 50,75 34,72 18,52 22,28;box2 y 28,40 41,53;box2 k 33,40 36,53;blob k 50,58 \
54,60 50,64 46,60;poly2 w 62,60 88,55 88,56 62,61;poly2 w 62,64 87,66 87,67 62,65
panda pandas bear teddy koala 熊: f4efe6;blob k 50,60 78,74 86,108 14,108 22,74;box2 k 14,8 38,32;box2 d 20,14 32,26;\
blob a 50,14 72,19 86,38 83,56 68,71 50,76 32,71 17,56 14,38 28,19;blob2 k 28,36 38,34 42,44 34,54 25,50;box2 w 33,40 \
38,45;box l 37,50 63,72;blob k 50,53 56,56 50,62 44,56
portrait woman man girl boy person face 人: 3f6f96;blob h 50,6 76,16 80,44 74,66 50,70 26,66 20,44 24,16;blob a 50,74 \
76,82 94,112 6,112 24,82;blob z 42,62 58,62 60,80 50,88 40,80;blob s 50,18 67,24 71,46 63,66 50,75 37,66 29,46 33,24;\
blob h 50,10 72,20 72,42 62,30 42,25 31,32 28,42 27,20;box2 k 38,45 43,51;blob2 h 33,42 38,39 44,41 38,41;blob z \
50,50 53,58 50,59.5 47,58;blob r 50,64 56,65 50,69 44,65;box2 r 33,54 41,61
house cottage cabin home 屋: c25b45;poly w 22,50 78,50 78,101 22,101;poly d 62,16 71,16 71,36 62,36;poly a 50,12 \
92,54 8,54;poly l 50,12 92,54 84,54 50,20;poly k 43,72 57,72 57,101 43,101;box2 y 28,62 39,75
lighthouse 灯塔: d8402f;poly w 40,22 60,22 66,101 34,101;poly a 39,38 61,38 62.5,54 37.5,54;poly a 36,70 64,70 \
65.5,86 34.5,86;poly k 41,10 59,10 60,22 40,22;poly y 45,11 55,11 55,21 45,21;poly a 38,10 50,0 62,10;poly k 35,22 \
65,22 65,25 35,25;blob k 12,112 24,92 40,88 60,90 80,96 94,112
boat ship sail yacht 船: b7472f;poly k 49,8 51,8 51,76 49,76;blob w 47,12 46,70 14,70;blob l 54,22 82,70 53,70;blob a \
6,76 50,78 94,76 84,96 50,100 18,96;poly d 12,84 89,84 87,88 14,88
coffee tea cup mug 茶: c8553d;box d 2,80 98,98;blob w 8,80 92,80 78,90 22,90;blob a 76,40 94,40 101,52 94,66 74,74 \
74,68 88,61 92,53 88,47 76,47;blob a 16,36 84,36 78,74 62,86 38,86 22,74;box l 15,28 85,44;box d 20,30 80,42"""


class _Theme(NamedTuple):
    skies: list[str]
    kinds: list[str]
    drawing: str
    accent: _Colour
    outdoors: bool
    night: float
    top: _Colour
    middle: _Colour
    horizon: _Colour
    light: _Colour


def _chosen(table: str, prompt: str) -> dict[str, str]:
    """Return what the prompt names in a table, in the prompt's order."""
    found = []
    for line in table.splitlines():
        words, value = line.split(": ")
        # Whole words, so that "season" is no sea; Chinese writes no spaces between them.
        terms = "|".join(rf"\b{word}\b" if word.isascii() else word for word in words.split())
        if match := re.search(terms, prompt.lower()):
            found.append((match.start(), words.split()[0], value))
    return {name: value for _, name, value in sorted(found)}


def _inks(codes: str) -> list[_Colour]:
    numbers = [int(code, 16) for code in re.findall(r"\b[0-9a-f]{6}\b", codes)]
    return [(number >> 16, number >> 8 & 255, number & 255) for number in numbers]


def _mix(one: _Colour, other: _Colour, share: float) -> _Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _unit(size: tuple[int, int]) -> float:
    return math.sqrt(size[0] * size[1])  # the side of the square of equal area, by which things are sized


def _gradient(size: tuple[int, int], *inks: _Colour) -> Image.Image:
    """Blend colours from top to bottom."""
    column = Image.new("RGB", (1, len(inks)))
    column.putdata(inks)
    return column.resize((1, size[1]), Image.Resampling.BILINEAR).resize(size, Image.Resampling.NEAREST)


def _disc(x: float, y: float, radius: float, flat: float = 1) -> _Shape:
    return [(x - radius, y - radius * flat), (x + radius, y + radius * flat)]


def _paint(canvas: Image.Image, shapes: Sequence[_Shape], *inks: _Colour, opacity: float = 1, soft: float = 0) -> None:
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


def _figure(canvas: Image.Image, theme: _Theme, corner: complex, side: float) -> None:
    """Draw the figure of a theme into a square."""
    inks = {"a": theme.accent, "d": _mix(theme.accent, (25, 15, 45), 0.38), "l": _mix(theme.accent, _WHITE, 0.5)}
    inks |= zip(_INKS.split()[::2], _inks(_INKS), strict=True)
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
        colour = _mix(inks[ink], theme.top, dark)
        _paint(canvas, placed, _mix(colour, _WHITE, 0.1), colour)


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
    for reach, size, flat, opacity in (_WEATHER[sky] for sky in skies if sky in _WEATHER):
        spots = [(random.uniform(0, wide), random.uniform(0, high) * reach) for _ in range(150)]
        drops = [_disc(x, y, unit * size * random.choice((0.7, 1, 1, 1.3, 2.2)), flat) for x, y in spots]
        _paint(canvas, drops, _WHITE, opacity=opacity)


def _theme(prompt: str, random: Random) -> _Theme:
    """Read a prompt: what to paint, and in which colours."""
    skies, grounds, figures, tints = (_chosen(t, prompt) for t in (_SKIES, _GROUNDS, _FIGURES, _COLOURS))
    drawing, outdoors = next(iter(figures.values()), ""), bool(skies or grounds)
    sky = min(skies.values(), key=_SKIES.index, default="")  # a snow sky at night is dark
    sky = sky or random.choice(_SKIES.splitlines()).split(": ")[1]
    inks, night = _inks(sky), int(sky.split()[-1]) / 100 * outdoors
    accent = _inks(" ".join([*tints.values(), drawing[:6], sky]))[0]
    kinds = [kind for kind in _KINDS if kind in grounds] or [random.choice(["mountain", "hill", "forest"])]
    kinds = sorted(kinds * (2 if len(kinds) > 1 else 3), key=kinds.index)
    if "sea" in kinds:  # what else is named is the far shore
        kinds = [*dict.fromkeys(kinds)][:-1][:2] + ["sea"] * 4
    if not outdoors:
        kinds = ["hill"] * (3 if drawing else 5)
    if drawing and not outdoors:  # a studio, its wall as unlike the figure as three colours allow
        walls = random.sample(_inks(_COLOURS)[:-1], 3)
        wall = max(walls, key=lambda ink: sum(abs(a - b) for a, b in zip(ink, accent, strict=True)))
        inks = [_mix(wall, (255, 243, 226), share) for share in (0.25, 0.5, 0.8, 0.85)]
    elif tints and not drawing:
        inks = [_mix(ink, accent, share) for ink, share in zip(inks, (0.3, 0.55, 0.25, 0), strict=True)]
    return _Theme([*skies], kinds, drawing, accent, outdoors, night, *inks)


def _sky(theme: _Theme, size: tuple[int, int], floor: float, random: Random) -> tuple[Image.Image, float]:
    """Paint a sky with sun or moon and clouds; return it, and where from left to right the light stands."""
    wide, unit, canvas = size[0], _unit(size), _gradient(size, theme.top, theme.middle, theme.horizon, theme.horizon)
    x, y, radius = wide * random.uniform(0.2, 0.8), floor * random.uniform(0.16, 0.36), unit * 0.06
    if not theme.outdoors:
        x, y, radius = wide / 2, floor * 0.5, min(wide, floor) * (0.37 if theme.drawing else 0.25)
    if "storm" not in theme.skies:
        halo = _disc(x, y, radius * (2.2 if theme.outdoors else 1.2))
        _paint(canvas, [halo], theme.light, opacity=0.5, soft=radius * 1.3)
        edge = theme.light if theme.outdoors else theme.middle
        _paint(canvas, [_disc(x, y, radius)], _mix(theme.light, _WHITE, 0.5), edge)
    for _ in range(3 if theme.outdoors and theme.night < 0.5 else 0):
        cx, cy, b = wide * random.random(), floor * random.uniform(0.08, 0.4), unit * random.uniform(0.09, 0.16)
        puffs = [(-0.9, 0.12), (-0.4, 0.22), (0.1, 0.28), (0.6, 0.18), (1, 0.1)]
        cloud = [_disc(cx + b * dx, cy - b * r * 0.2, b * r * 1.6, 0.5) for dx, r in puffs]
        _paint(canvas, cloud, theme.light, theme.horizon, opacity=0.75, soft=unit * 0.008)
    return canvas, x


def _subject(canvas: Image.Image, theme: _Theme, base: float, x: float, random: Random) -> None:
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
    theme = _theme(prompt, random)
    canvas, x = _sky(theme, size, floor, random)
    for number, kind in enumerate(theme.kinds):
        depth = number / (len(theme.kinds) - 1)
        base = floor * (0.64 + 0.31 * depth)
        cover = "snow" if "snow" in theme.kinds and kind in ("hill", "mountain") else kind
        far, near = _inks(_KINDS[cover]) if theme.outdoors else (theme.middle, theme.top)
        crest = _mix(_mix(far, near, depth), theme.middle, 0.4 * (1 - depth))
        crest = _mix(crest, theme.top, theme.night * (0.35 + 0.55 * depth))
        foot = _mix(crest, theme.top, 0.3) if depth > 0.7 else _mix(crest, theme.horizon, 0.4 * (1 - depth))
        rise = min(_unit(size), floor * 1.1) * float(_KINDS[kind].split()[-1])
        rise *= depth if kind == "sea" else 1 - 0.6 * depth
        if depth == 1:
            _subject(canvas, theme, base, x, random)
        ground, *extras = _ground(random, size, kind, base, rise)
        _paint(canvas, [ground], crest, foot, opacity=0.85 if kind == "sea" and depth else 1)
        if extras:
            lamp = _mix(crest, (255, 214, 130), 0.3 + 0.6 * theme.night)
            _paint(canvas, extras, *([lamp] if kind == "city" else [crest, foot]))
    _weather(canvas, theme.skies, random)
    corners = Image.radial_gradient("L").point([max(0, value - 150) // 2 for value in range(256)])
    canvas.paste((10, 8, 24), mask=corners.resize(size))
    return canvas


def _relit(image: Image.Image, inks: Sequence[_Colour], share: float) -> Image.Image:
    """Give shadows, midtones and lights other colours."""
    grey = ImageOps.autocontrast(image.convert("L"), cutoff=1)
    return Image.blend(image, ImageOps.colorize(grey, inks[0], inks[-1], inks[1]), share)


def _styled(image: Image.Image, style: str) -> Image.Image:
    """Redo a picture in a style, or in three colours."""
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
    return _relit(image, _inks(style), 0.85) if " " in style else image


def _panel(data: bytes | None, size: tuple[int, int]) -> Image.Image:
    """Crop a reference to a size, or stand in for one that could not be looked at."""
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
    theme, styles = _theme(prompt, random), [*_chosen(_STYLES, prompt).values()]
    styles += [f"201a2c {code} fff8ec" for code in _chosen(_COLOURS, prompt).values()]
    added = theme.drawing and re.search(r"\b(add|put|place|insert|include)\b", prompt.lower())
    if not (theme.skies or styles or added or len(references) > 1):
        styles = [random.choice(_STYLES.splitlines()[:-1]).split(": ")[1]]
    for style in styles:
        canvas = _styled(canvas, style)
    # The light of the hour that is named, or else a breath of some other.
    middle, light = theme.middle if theme.night > 0.5 else theme.horizon, _mix(theme.light, theme.horizon, theme.night)
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

    A reference is the bytes of a JPEG, PNG, BMP or WEBP image, or None for one that nobody could look at.

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
