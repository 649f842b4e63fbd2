"""What the words of a prompt mean for an image: sky, ground, figure, colours and style.

No model is used: words select from short lists, and a random number decides the rest.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import takewhile
from random import Random
from typing import NamedTuple

Colour = tuple[int, int, int]

# A name and words that mean it, then: top, middle, horizon, sun or moon, and darkness in percent.
SKIES = """night dark midnight moon moonlit moonlight stars starry star nighttime nocturnal lunar galaxy cosmos cosmic \
constellation eclipse aurora candlelight lamplight 夜 月: 060a24 17235a 4a5796 fff6d6 70
sunset dusk evening golden warm autumn fall twilight sundown amber october harvest lantern 夕: 2a2357 c44f73 \
ffb067 fff1c4 35
sunrise dawn morning spring pastel daybreak blossom blooming easter april 晨: 7ba6dc f2bfc9 ffe8c9 fffbef 5
storm stormy rain rainy fog mist misty foggy haze hazy thunder thunderstorm lightning cloudy overcast \
hurricane drizzle downpour gloomy moody 雨: 3c4856 74828f b9c4cb e9eef0 30
neon cyberpunk futuristic synthwave vaporwave hologram holographic laser arcade cyber: 12062e 5a1280 f0408f \
ffb3e4 65
snow snowy winter ice frozen cold blizzard frost frosty icy arctic polar christmas january 雪 冬: 7fa9d1 \
bcd6ea f3f7fb fffdf2 0
day sunny summer beach sea ocean sky daytime noon midday afternoon sunshine sunlight sunlit cloudless bright \
holiday vacation 晴 海: 2f86d6 86c5f2 e6f4fb fffbe0 0"""
# Far and near colour, and how far the outline rises, in shares of the size.
GROUNDS = """mountain alps peak volcano cliff alpine himalaya ridge summit rocky rock crag fuji everest 山: 93a9c4 \
263b4f 0.34
city skyline street tokyo london paris town urban skyscraper building downtown metropolis rooftop alley \
avenue market berlin shanghai beijing manhattan 城: 8d8fb0 1c1e3c 0.34
hill field meadow garden landscape valley village grass lawn countryside farm prairie pasture park orchard \
vineyard: 9cc48a 2f6b3c 0.06
desert dune sahara canyon autumn oasis sandy cactus savanna egypt mars 沙 秋: e8a866 a2522c 0.08
snow snowy winter ice frozen glacier arctic polar icy christmas 雪 冬: b9cde0 f6fafd 0.07
forest woods tree pine jungle woodland rainforest oak birch bamboo grove leaf leaves 林 森: 8fb7a0 123a2e 0.17
sea ocean beach lake wave river island coast boat ship lighthouse shore seaside bay harbour harbor pier pond \
lagoon reef underwater water surf fish 海 湖: 5fb6c6 0c4a6b 0.013"""
KINDS = {line.split()[0]: line.split(": ")[1] for line in GROUNDS.splitlines()}
COLOURS = """red crimson scarlet ruby maroon burgundy 红: d8402f
orange copper tangerine apricot terracotta rust 橙: ec7a2c
yellow gold lemon mustard 黄: f0bb30
green emerald olive lime mint jade 绿: 3f9b5b
blue navy azure cyan turquoise teal indigo cobalt sapphire 蓝: 2f6fd0
purple violet lavender lilac mauve plum 紫: 7d4fc0
pink magenta salmon coral fuchsia 粉: ea6f9f
brown chestnut bronze chocolate 棕: 8a5632
grey gray slate ash 灰: 8b919b
black ebony onyx 黑: 2b2933
white silver ivory cream pearl 白: eceef2"""
STYLES = """oil painting painted painterly impressionist acrylic gogh monet canvas brushstroke renaissance baroque \
impasto 油画: oil
watercolor watercolour gouache aquarelle 水彩: watercolor
pencil sketch drawing drawn ink charcoal graphite doodle etching crayon 素描: pencil
comic cartoon anime poster pop posterise posterize manga graffiti sticker 漫画: comic
vintage sepia retro antique film nostalgic polaroid: 2b1a10 a5793f fbeccb
duotone risograph: 1b1464 e8467c ffe9d2
monochrome grayscale greyscale noir colourless colorless: 08080a 74747a fafafc
mirror mirrored flip flipped reverse reversed 镜: mirror"""
# Stars, snow, rain: how far down it reaches, its size, how much longer than wide, how thick it is.
WEATHER = {"night": (0.6, 0.001, 1, 0.8), "snow": (1, 0.003, 1, 0.8), "storm": (1, 0.0007, 28, 0.4)}
# An accent colour, then shapes on a 100x100 sheet: kind (2: drawn mirrored as well), ink, points. The inks:
# a, d, l accent, its shade, its tint; w cream, k black, y lamp, s, z skin and its shade, h hair, r cheek, g leaf.
INKS = "w fbf6ec k 241f2c y ffd773 s f0c19d z dea27c h 54382f r eaa98a g 4a9a57"
FIGURES = """fox vixen 狐: e8762d;blob a 50,60 76,76 84,108 16,108 24,76;blob w 50,66 61,80 58,108 42,108 39,80;blob2 \
a 17,2 36,16 44,30 30,36 16,34;blob2 k 20,10 30,18 34,26 22,28;blob a 50,20 72,24 88,46 68,64 50,80 32,64 \
12,46 28,24;blob2 w 12,47 28,47 45,57 50,79 33,66;box2 k 32,42 38,50;blob k 50,70 56,73 50,80 44,73
cat kitten kitty lion tiger leopard 猫: 6c7a90;blob a 50,60 72,76 78,108 22,108 28,76;blob2 a 20,4 38,18 \
44,28 30,36 18,34;blob2 l 24,13 33,20 36,26 25,27;blob a 50,20 78,28 82,52 66,72 50,75 34,72 18,52 \
22,28;box2 y 28,40 41,53;box2 k 33,40 36,53;blob k 50,58 54,60 50,64 46,60;poly2 w 62,60 88,55 88,56 \
62,61;poly2 w 62,64 87,66 87,67 62,65
panda bear teddy koala hamster 熊: f4efe6;blob k 50,60 78,74 86,108 14,108 22,74;box2 k 14,8 38,32;box2 d \
20,14 32,26;blob a 50,14 72,19 86,38 83,56 68,71 50,76 32,71 17,56 14,38 28,19;blob2 k 28,36 38,34 42,44 \
34,54 25,50;box2 w 33,40 38,45;box l 37,50 63,72;blob k 50,53 56,56 50,62 44,56
portrait woman women man men girl boy person people face child children king queen astronaut 人: 3f6f96;blob \
h 50,6 76,16 80,44 74,66 50,70 26,66 20,44 24,16;blob a 50,74 76,82 94,112 6,112 24,82;blob z 42,62 58,62 \
60,80 50,88 40,80;blob s 50,18 67,24 71,46 63,66 50,75 37,66 29,46 33,24;blob h 50,10 72,20 72,42 62,30 \
42,25 31,32 28,42 27,20;box2 k 38,45 43,51;blob2 h 33,42 38,39 44,41 38,41;blob z 50,50 53,58 50,59.5 \
47,58;blob r 50,64 56,65 50,69 44,65;box2 r 33,54 41,61
house cottage cabin home hut barn shed 屋: c25b45;poly w 22,50 78,50 78,101 22,101;poly d 62,16 71,16 71,36 \
62,36;poly a 50,12 92,54 8,54;poly l 50,12 92,54 84,54 50,20;poly k 43,72 57,72 57,101 43,101;box2 y 28,62 \
39,75
lighthouse 灯塔: d8402f;poly w 40,22 60,22 66,101 34,101;poly a 39,38 61,38 62.5,54 37.5,54;poly a 36,70 64,70 \
65.5,86 34.5,86;poly k 41,10 59,10 60,22 40,22;poly y 45,11 55,11 55,21 45,21;poly a 38,10 50,0 62,10;poly k \
35,22 65,22 65,25 35,25;blob k 12,112 24,92 40,88 60,90 80,96 94,112
boat ship sail yacht sailboat ferry canoe 船: b7472f;poly k 49,8 51,8 51,76 49,76;blob w 47,12 46,70 \
14,70;blob l 54,22 82,70 53,70;blob a 6,76 50,78 94,76 84,96 50,100 18,96;poly d 12,84 89,84 87,88 14,88
coffee tea cup mug teacup espresso cocoa 茶: c8553d;box d 2,80 98,98;blob w 8,80 92,80 78,90 22,90;blob a \
76,40 94,40 101,52 94,66 74,74 74,68 88,61 92,53 88,47 76,47;blob a 16,36 84,36 78,74 62,86 38,86 22,74;box \
l 15,28 85,44;box d 20,30 80,42
dog puppy hound wolf wolves husky 狗 狼: a97448;blob a 50,60 74,76 82,108 18,108 26,76;blob a 50,14 74,22 \
80,46 66,72 50,80 34,72 20,46 26,22;blob2 d 22,12 34,14 34,34 26,54 14,44;blob w 50,46 64,56 62,74 50,80 \
38,74 36,56;box2 k 34,38 41,47;blob k 50,52 58,57 50,65 42,57;blob r 50,70 55,72 50,82 45,72
rabbit bunny bunnies hare 兔: d9cdbf;blob2 a 31,0 42,4 47,34 34,36 26,14;blob2 r 34,6 39,9 42,28 36,30 \
32,15;blob a 50,62 72,76 78,108 22,108 28,76;blob a 50,28 72,36 76,56 64,74 50,80 36,74 24,56 28,36;box2 k \
34,48 40,56;blob r 50,60 54,62 50,66 46,62;poly w 46,69 54,69 53,77 47,77
owl bird parrot eagle sparrow penguin raven duck chicken hen 鸟: 8b6547;blob2 a 18,4 38,14 30,34 20,26;blob a \
50,8 76,22 82,60 70,98 50,104 30,98 18,60 24,22;blob2 d 18,50 26,46 32,76 24,90 17,72;blob l 50,46 66,58 \
64,86 50,98 36,86 34,58;box2 w 25,26 48,50;box2 k 32,32 43,44;blob y 50,44 56,50 50,61 44,50
fish goldfish shark whale dolphin salmon 鱼: f08a3c;blob d 76,52 100,28 95,52 100,78;blob d 38,34 56,12 \
68,34;blob a 6,54 28,32 56,28 82,50 82,56 56,78 28,76;blob l 10,60 40,60 72,60 52,74 28,72;blob d 42,54 \
60,56 54,68 44,64;box w 17,42 31,56;box k 21,45 28,53
flower rose tulip sunflower daisy lily orchid poppy bouquet 花: e0567f;blob g 48,50 52,50 54,106 46,106;blob \
g 52,84 76,64 74,84 56,94;blob g 48,90 26,72 28,92 44,100;box a 39,2 61,32;box2 a 18,14 44,38;box2 a 22,34 \
46,60;box a 39,40 61,68;box y 39,24 61,46
car taxi bus truck automobile van 车: c94c4c;blob a 18,58 30,34 44,30 62,30 74,40 84,60;poly w 35,38 48,37 \
48,54 28,54;poly w 52,37 64,39 74,54 52,54;blob a 4,60 22,52 80,52 96,62 97,80 50,84 4,80;poly d 4,74 97,74 \
97,80 4,80;box k 14,68 38,92;box w 21,75 31,85;box k 64,68 88,92;box w 71,75 81,85;box y 89,60 97,68
robot android cyborg machine 机器人: 8fa3b5;poly k 49,6 51,6 51,18 49,18;box r 45,0 55,10;poly2 d 6,60 18,60 \
18,94 6,94;poly a 24,16 76,16 76,54 24,54;box2 y 32,26 45,39;box2 k 36,30 41,35;poly k 38,45 62,45 62,48 \
38,48;poly d 44,54 56,54 56,60 44,60;poly a 20,60 80,60 80,104 20,104;poly l 30,68 70,68 70,90 30,90;box2 k \
36,75 44,83
castle tower fortress palace temple church cathedral 宫: b9a58c;poly a 12,44 88,44 88,104 12,104;poly2 a 4,22 \
28,22 28,104 4,104;poly2 a 4,14 10,14 10,22 4,22;poly2 a 13,14 19,14 19,22 13,22;poly2 a 22,14 28,14 28,22 \
22,22;poly2 d 4,34 28,34 28,37 4,37;poly d 36,26 64,26 64,104 36,104;poly d 33,26 50,6 67,26;poly k 43,76 \
57,76 57,104 43,104;box k 43,69 57,84;box2 y 12,48 19,60;box y 45,38 55,52
balloon airship zeppelin 气球: e0524d;blob a 50,0 80,14 86,40 66,68 50,76 34,68 14,40 20,14;blob l 50,0 60,14 \
62,40 56,68 50,76 44,68 38,40 40,14;poly2 k 40,72 41,72 45,90 44,90;poly h 41,87 59,87 57,102 43,102
apple fruit pear tomato peach berry 苹果: d13b36;blob a 50,28 72,20 90,40 84,74 62,98 50,94 38,98 16,74 10,40 \
28,20;blob l 24,36 34,29 31,48 23,58;poly h 48,10 52,10 51,32 49,32;blob g 52,18 68,4 84,8 68,22
mushroom toadstool 蘑菇: d2403a;blob w 38,52 62,52 66,92 60,104 40,104 34,92;blob a 50,6 82,22 97,54 80,62 \
50,64 20,62 3,54 18,22;box w 30,24 45,37;box w 58,20 71,31;box w 70,40 82,51;box w 18,42 29,52
book novel notebook diary 书: 3d6a9e;poly2 a 50,36 4,26 4,90 50,100;poly2 w 50,30 10,20 10,82 50,92;poly k \
49.4,30 50.6,30 50.6,92 49.4,92;poly2 d 18,36 42,41 42,43 18,38;poly2 d 18,48 42,53 42,55 18,50;poly2 d \
18,60 42,65 42,67 18,62"""
# How many there are of what follows, and words at which the search for that ends.
_ONE_TO_NINE = "one two three four five six seven eight nine"
_AMOUNTS = (
    "pair 2 couple 2 both 2 twin 2 few 3 several 3 some 3 many 7 dozen 7 flock 7 herd 7 pack 7 crowd 7 两 2 几 3 群 7"
)
_BREAKS = "a an the and or with in on at by under over near , . ; \uff0c \u3002 和"
NUMBERS = {word: number for number, word in enumerate(_ONE_TO_NINE.split(), 1)}
NUMBERS |= {word: number for number, word in enumerate("一二三四五六七八九", 1)}
NUMBERS |= {word: int(number) for word, number in zip(_AMOUNTS.split()[::2], _AMOUNTS.split()[1::2], strict=True)}
BREAKS, PLURALS = frozenset(_BREAKS.split()), ("women", "men", "people", "children", "wolves", "bunnies")
MOST_FIGURES = 9


class Figure(NamedTuple):
    """One figure of a picture: its drawing, and the colour that is its accent."""

    drawing: str
    accent: Colour


class Theme(NamedTuple):
    """What is to be painted, and in which colours."""

    skies: list[str]
    kinds: list[str]
    figures: list[Figure]
    outdoors: bool
    night: float
    top: Colour
    middle: Colour
    horizon: Colour
    light: Colour


class Match(NamedTuple):
    """A word of a prompt that a table knows."""

    start: int
    name: str
    value: str
    is_plural: bool


@cache
def _build_pattern(words: str) -> re.Pattern[str]:
    """Return the pattern of words and their plurals.

    Whole words, so that "season" does not mean the sea; Chinese writes no spaces between them, and has no plural.
    """
    return re.compile("|".join(rf"\b{_with_plural(word)}\b" if word.isascii() else word for word in words.split()))


def _with_plural(word: str) -> str:
    return f"{word[:-1]}(?:y|ies)" if re.search("[^aeiou]y$", word) else f"{word}(?:e?s)?"


def match_words(table: str, prompt: str) -> list[Match]:
    """Return the entries of a table that the prompt names, in the prompt's order, each once."""
    matches = []
    for line in table.splitlines():
        words, value = line.split(": ")
        if match := _build_pattern(words).search(prompt.lower()):
            singular = match[0] in words.split() and match[0] not in PLURALS
            matches.append(Match(match.start(), words.split()[0], value, not singular))
    return sorted(matches)


def find_words(table: str, prompt: str) -> dict[str, str]:
    """Return the names and values of the entries of a table that the prompt names, in the prompt's order."""
    return {match.name: match.value for match in match_words(table, prompt)}


def find_figures(prompt: str, tints: dict[str, str]) -> list[Figure]:
    """Return the figures that a prompt names, as many of each as it says."""
    figures, matches = list[Figure](), match_words(FIGURES, prompt)
    for match in matches:
        before = _words_before(prompt[: match.start].lower())
        colours = find_words(COLOURS, " ".join(before)) or (tints if len(matches) == 1 else {})
        accent = read_colours(" ".join([*colours.values(), match.value[:6]]))[0]
        figures += [Figure(match.value, accent)] * min(MOST_FIGURES, _count(before, match.is_plural))
    return figures[:MOST_FIGURES]


def _words_before(text: str) -> list[str]:
    """Return the words that belong to the noun after a text: at most six, up to the noun before."""
    words = re.findall(r"[a-z]+|\d+|[^\x00-\x7f]|[,.;]", text)
    return [*takewhile(lambda word: word not in BREAKS, reversed(words[-6:]))][::-1]


def _count(before: list[str], is_plural: bool) -> int:
    numbers = [int(word[:3]) if word.isdecimal() else NUMBERS.get(word, 0) for word in before]
    return next((number for number in reversed(numbers) if number), 3 if is_plural else 1)


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
    skies, grounds, tints = (find_words(t, prompt) for t in (SKIES, GROUNDS, COLOURS))
    figures, outdoors = find_figures(prompt, tints), bool(skies or grounds)
    sky = min(skies.values(), key=SKIES.index, default="")  # a snow sky at night is dark
    sky = sky or random.choice(SKIES.splitlines()).split(": ")[1]
    inks, night = read_colours(sky), int(sky.split()[-1]) / 100 * outdoors
    accent = figures[0].accent if figures else read_colours(" ".join([*tints.values(), sky]))[0]
    kinds = [kind for kind in KINDS if kind in grounds] or [random.choice(["mountain", "hill", "forest"])]
    kinds = sorted(kinds * (2 if len(kinds) > 1 else 3), key=kinds.index)
    if "sea" in kinds:  # what else is named is the far shore
        kinds = [*dict.fromkeys(kinds)][:-1][:2] + ["sea"] * 4
    if not outdoors:
        kinds = ["hill"] * (3 if figures else 5)
    if figures and not outdoors:  # a studio, its wall as unlike the figure as three colours allow
        walls = random.sample(read_colours(COLOURS)[:-1], 3)
        wall = max(walls, key=lambda ink: sum(abs(a - b) for a, b in zip(ink, accent, strict=True)))
        inks = [mix_colours(wall, (255, 243, 226), share) for share in (0.25, 0.5, 0.8, 0.85)]
    elif tints and not figures:
        inks = [mix_colours(ink, accent, share) for ink, share in zip(inks, (0.3, 0.55, 0.25, 0), strict=True)]
    return Theme([*skies], kinds, figures, outdoors, night, *inks)
