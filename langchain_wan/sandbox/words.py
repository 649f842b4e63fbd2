"""What the words of a prompt mean for an image: sky, ground, figure, colours and style.

No model is used: words select from short lists, and a random number decides the rest.
"""

from __future__ import annotations

import re
from random import Random
from typing import NamedTuple

Colour = tuple[int, int, int]

# A name and words that mean it, then: top, middle, horizon, sun or moon, and darkness in percent.
SKIES = """night dark midnight moon moonlit moonlight stars starry 夜 月: 060a24 17235a 4a5796 fff6d6 70
sunset dusk evening golden warm autumn 夕: 2a2357 c44f73 ffb067 fff1c4 35
sunrise dawn morning spring pastel 晨: 7ba6dc f2bfc9 ffe8c9 fffbef 5
storm stormy rain rainy fog mist misty 雨: 3c4856 74828f b9c4cb e9eef0 30
neon cyberpunk futuristic: 12062e 5a1280 f0408f ffb3e4 65
snow snowy winter ice frozen cold 雪 冬: 7fa9d1 bcd6ea f3f7fb fffdf2 0
day sunny summer beach sea ocean sky 海: 2f86d6 86c5f2 e6f4fb fffbe0 0"""
# Far and near colour, and how far the outline rises, in shares of the size.
GROUNDS = """mountain mountains alps peak peaks volcano cliff 山: 93a9c4 263b4f 0.34
city skyline street tokyo london paris town urban 城: 8d8fb0 1c1e3c 0.34
hill hills field meadow garden landscape valley village: 9cc48a 2f6b3c 0.06
desert dune dunes sahara canyon autumn 沙 秋: e8a866 a2522c 0.08
snow snowy winter ice frozen 雪 冬: b9cde0 f6fafd 0.07
forest woods tree trees pine pines jungle 林 森: 8fb7a0 123a2e 0.17
sea ocean beach lake waves river island coast boat ship lighthouse 海 湖: 5fb6c6 0c4a6b 0.013"""
KINDS = {line.split()[0]: line.split(": ")[1] for line in GROUNDS.splitlines()}
COLOURS = """red crimson 红: d8402f
orange copper 橙: ec7a2c
yellow gold 黄: f0bb30
green emerald 绿: 3f9b5b
blue navy 蓝: 2f6fd0
purple violet 紫: 7d4fc0
pink magenta 粉: ea6f9f
white silver 白: eceef2"""
STYLES = """oil painting painted painterly impressionist acrylic gogh 油画: oil
watercolor watercolour gouache 水彩: watercolor
pencil sketch drawing drawn ink charcoal 素描: pencil
comic cartoon anime poster pop posterise posterize 漫画: comic
vintage sepia retro antique film: 2b1a10 a5793f fbeccb
duotone risograph: 1b1464 e8467c ffe9d2
monochrome grayscale greyscale noir: 08080a 74747a fafafc
mirror mirrored flip flipped 镜: mirror"""
# Stars, snow, rain: how far down it reaches, its size, how much longer than wide, how thick it is.
WEATHER = {"night": (0.6, 0.001, 1, 0.8), "snow": (1, 0.003, 1, 0.8), "storm": (1, 0.0007, 28, 0.4)}
# An accent colour, then shapes on a 100x100 sheet: kind (2: drawn mirrored as well), ink, points. The inks:
# a, d, l accent, its shade, its tint; w cream, k black, y lamp, s, z skin and its shade, h hair, r cheek.
INKS = "w fbf6ec k 241f2c y ffd773 s f0c19d z dea27c h 54382f r eaa98a"
FIGURES = """fox 狐: e8762d;blob a 50,60 76,76 84,108 16,108 24,76;blob w 50,66 61,80 58,108 42,108 39,80;blob2 a \
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


class Theme(NamedTuple):
    """What is to be painted, and in which colours."""

    skies: list[str]
    kinds: list[str]
    drawing: str
    accent: Colour
    outdoors: bool
    night: float
    top: Colour
    middle: Colour
    horizon: Colour
    light: Colour


def find_words(table: str, prompt: str) -> dict[str, str]:
    """Return the entries of a table that the prompt names, in the prompt's order."""
    matches = []
    for line in table.splitlines():
        words, value = line.split(": ")
        # Whole words, so that "season" does not mean the sea; Chinese writes no spaces between them.
        terms = "|".join(rf"\b{word}\b" if word.isascii() else word for word in words.split())
        if match := re.search(terms, prompt.lower()):
            matches.append((match.start(), words.split()[0], value))
    return {name: value for _, name, value in sorted(matches)}


def read_colours(codes: str) -> list[Colour]:
    """Return the colours in a text, each six hexadecimal digits."""
    numbers = [int(code, 16) for code in re.findall(r"\b[0-9a-f]{6}\b", codes)]
    return [(number >> 16, number >> 8 & 255, number & 255) for number in numbers]


def mix_colours(first: Colour, second: Colour, share: float) -> Colour:
    """Return a mix of two colours; `share` is that of the second, 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def read_theme(prompt: str, random: Random) -> Theme:
    """Read a prompt: what to paint, and in which colours."""
    skies, grounds, figures, tints = (find_words(t, prompt) for t in (SKIES, GROUNDS, FIGURES, COLOURS))
    drawing, outdoors = next(iter(figures.values()), ""), bool(skies or grounds)
    sky = min(skies.values(), key=SKIES.index, default="")  # a snow sky at night is dark
    sky = sky or random.choice(SKIES.splitlines()).split(": ")[1]
    inks, night = read_colours(sky), int(sky.split()[-1]) / 100 * outdoors
    accent = read_colours(" ".join([*tints.values(), drawing[:6], sky]))[0]
    kinds = [kind for kind in KINDS if kind in grounds] or [random.choice(["mountain", "hill", "forest"])]
    kinds = sorted(kinds * (2 if len(kinds) > 1 else 3), key=kinds.index)
    if "sea" in kinds:  # what else is named is the far shore
        kinds = [*dict.fromkeys(kinds)][:-1][:2] + ["sea"] * 4
    if not outdoors:
        kinds = ["hill"] * (3 if drawing else 5)
    if drawing and not outdoors:  # a studio, its wall as unlike the figure as three colours allow
        walls = random.sample(read_colours(COLOURS)[:-1], 3)
        wall = max(walls, key=lambda ink: sum(abs(a - b) for a, b in zip(ink, accent, strict=True)))
        inks = [mix_colours(wall, (255, 243, 226), share) for share in (0.25, 0.5, 0.8, 0.85)]
    elif tints and not drawing:
        inks = [mix_colours(ink, accent, share) for ink, share in zip(inks, (0.3, 0.55, 0.25, 0), strict=True)]
    return Theme([*skies], kinds, drawing, accent, outdoors, night, *inks)
