"""The placeholder images: they follow the prompt, are the same twice, and an edit shows its parent."""

from __future__ import annotations

import io
from itertools import combinations
from random import Random
from statistics import correlation, fmean
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from langchain_wan.sandbox.drawing import draw
from langchain_wan.sandbox.words import COLOURS, FIGURES, GROUNDS, SKIES, STYLES, read_theme
from tests.support.images import PHOTOGRAPH, encode

pytestmark = pytest.mark.drawn

FOX = "a red fox in fresh snow"
CITY = "a city at sunset"
INSTRUCTIONS = ["make it night", "as an oil painting", "in watercolour", "a pencil sketch", "as a comic", "in purple"]
BAR = 0.12  # the share of the height that the caption takes at most


def picture(prompt: str = FOX, *, width: int = 768, height: int = 768, **choices: Any) -> bytes:
    return draw(prompt, width=width, height=height, **{"seed": 1, "index": 0, **choices})


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def drawn(data: bytes) -> Image.Image:
    """A picture without its caption."""
    image = opened(data)
    return image.crop((0, 0, image.width, round(image.height * (1 - BAR))))


def greys(image: Image.Image) -> list[float]:
    return [float(value) for value in image.convert("L").resize((24, 24)).tobytes()]


def likeness(first: Image.Image, second: Image.Image) -> float:
    return correlation(greys(first), greys(second))


def difference(first: bytes, second: bytes) -> float:
    """Mean difference of the pixels, 0 to 255."""
    return fmean(ImageStat.Stat(ImageChops.difference(drawn(first), drawn(second))).mean)


@pytest.fixture(scope="module")
def fox() -> bytes:
    return picture(FOX)


@pytest.fixture(scope="module")
def city() -> bytes:
    return picture(CITY)


@pytest.mark.parametrize("size", [(768, 768), (1024, 1024), (272, 2172), (2172, 272), (1280, 720), (4096, 512)])
def test_a_picture_has_the_size_that_was_asked_for(size: tuple[int, int]) -> None:
    width, height = size
    with Image.open(io.BytesIO(picture(width=width, height=height))) as image:
        assert (image.format, image.size) == ("PNG", size)


def test_the_same_call_draws_the_same_picture() -> None:
    assert picture() == picture()


def test_prompt_seed_and_index_each_change_the_picture() -> None:
    variants = [picture(), picture(seed=2), picture(index=1), picture("a red fox in old snow")]
    assert all(difference(first, second) > 0.5 for first, second in combinations(variants, 2))


@pytest.mark.parametrize(
    "prompt",
    [
        "stars over the mountains",
        "a lighthouse in a storm by the sea",
        "a misty pine forest",
        "a neon city",
        "dunes at dawn",
        "a mountain lake with a village",
        "a blue cat",
        "a cup of coffee",
        "portrait of a woman",
        "emerald dreams",
        "雪地里的狐狸",
        "nothing that it knows",
    ],
)
def test_there_is_a_picture_for_every_kind_of_prompt(prompt: str) -> None:
    extrema = drawn(picture(prompt)).convert("L").getextrema()
    assert isinstance(extrema, tuple)
    assert extrema[1] - extrema[0] > 60  # type: ignore[operator]  # a band has two numbers


def test_words_of_the_prompt_choose_light_and_colour() -> None:
    def brightness(prompt: str) -> float:
        return fmean(ImageStat.Stat(drawn(picture(prompt))).mean)

    def red_over_blue(prompt: str) -> float:
        red, _, blue = ImageStat.Stat(drawn(picture(prompt))).mean
        return red - blue

    assert brightness("a field at night") < brightness("a field on a sunny day") - 50
    assert red_over_blue("the sea at sunset") > red_over_blue("the sea on a sunny day") + 20
    assert red_over_blue("a red cat on a sunny day") > red_over_blue("a blue cat on a sunny day") + 10


def test_night_comes_before_the_weather() -> None:
    night = picture("a fox in the snow at night")
    assert (
        fmean(ImageStat.Stat(drawn(night)).mean) < fmean(ImageStat.Stat(drawn(picture("a fox in the snow"))).mean) - 50
    )


@pytest.mark.parametrize(
    "prompt",
    ["", "a\x00b\n\tc", "\ud800 lone", "🦊🌲", "مرحبا بالعالم", "אבג \u202e", "word " * 1000, "w" * 5000, "漢" * 5000],
    ids=["empty", "control", "surrogate", "emoji", "arabic", "bidi", "words", "letters", "characters"],
)
def test_any_text_can_be_drawn(prompt: str) -> None:
    assert opened(picture(prompt)).size == (768, 768)


def test_the_prompt_is_written_on_the_picture() -> None:
    # These words choose nothing in the scene; only the captions differ.
    bars = [opened(picture(prompt)).crop((0, 700, 600, 768)) for prompt in ("abc " * 3, "abc " * 12)]
    ink = [bar.convert("L").point([0] * 200 + [255] * 56).getbbox() for bar in bars]
    assert ink[0] is not None
    assert ink[1] is not None
    assert ink[1][2] > ink[0][2] + 100


def test_every_picture_says_sandbox(fox: bytes) -> None:
    pictures = [fox, picture("a city at night"), picture("make it night", references=[PHOTOGRAPH]), picture("x" * 400)]
    corners = [opened(data).crop((640, 700, 768, 768)).convert("L") for data in pictures]
    letters = [corner.point([0] * 200 + [255] * 56).getbbox() for corner in corners]
    assert letters[0] is not None
    assert letters.count(letters[0]) == len(letters)


@pytest.mark.parametrize("instruction", [*INSTRUCTIONS, "surprise me", "remove the hat", "in winter", "vintage"])
def test_an_edit_resembles_its_parent_more_than_another_picture(instruction: str, fox: bytes) -> None:
    for parent, other in ((fox, PHOTOGRAPH), (PHOTOGRAPH, fox)):
        edit = drawn(picture(instruction, references=[parent]))
        same, else_ = (ImageOps.fit(opened(data), (768, 768), centering=(0.5, 0.4)) for data in (parent, other))
        assert likeness(edit, same.crop((0, 0, *edit.size))) > likeness(edit, else_.crop((0, 0, *edit.size))) + 0.1


def test_each_instruction_changes_the_parent_in_its_own_way(fox: bytes) -> None:
    edits = [picture(instruction, references=[fox]) for instruction in INSTRUCTIONS]
    assert all(difference(edit, fox) > 4 for edit in edits)
    assert all(difference(first, second) > 4 for first, second in combinations(edits, 2))


def test_instructions_that_name_no_style_differ_too(fox: bytes) -> None:
    edits = {picture(f"change {word}", references=[fox]) for word in ("this", "that", "everything", "little")}
    assert len(edits) == 4
    assert all(difference(edit, fox) > 2 for edit in edits)


def test_an_edit_can_be_mirrored(fox: bytes) -> None:
    edit, parent = drawn(picture("mirror it", references=[fox])), drawn(fox)
    assert likeness(edit, ImageOps.mirror(parent)) > likeness(edit, parent) + 0.1


def test_a_figure_can_be_added() -> None:
    plain, added = (drawn(picture(prompt, references=[PHOTOGRAPH])) for prompt in ("at night", "add a cat at night"))
    assert opened(picture("add a cat", references=[PHOTOGRAPH])).size == (768, 768)
    corner, figure = (0, 0, 340, 340), (450, 380, 768, 670)
    assert likeness(plain.crop(corner), added.crop(corner)) > likeness(plain.crop(figure), added.crop(figure)) + 0.15


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("a fox", 1),
        ("two foxes", 2),
        ("foxes", 3),
        ("3 small owls, and a dog", 4),
        ("a red fox and two blue cats at night", 3),
        ("a pair of puppies", 2),
        ("several lilies", 3),
        ("women in a boat", 4),
        ("a dozen boats", 7),
        ("100 pandas", 9),
        ("9" * 4_900 + " pandas", 9),
        ("两只红色的狐狸", 2),
        ("三只猫和一只狗", 4),
        ("a foxhole and two of nothing", 0),
    ],
    ids=lambda value: str(value)[:20],
)
def test_numbers_and_plurals_say_how_many_figures_there_are(prompt: str, count: int) -> None:
    assert len(read_theme(prompt, Random(1)).figures) == count
    assert opened(picture(prompt)).size == (768, 768)


def test_a_colour_belongs_to_the_noun_that_it_stands_before() -> None:
    fox, cat = read_theme("a red fox and a blue cat", Random(1)).figures
    assert fox.accent[0] > fox.accent[2]
    assert cat.accent[2] > cat.accent[0]


def test_two_foxes_are_drawn_side_by_side() -> None:
    two = drawn(picture("two foxes", seed=3))
    left, right = two.crop((58, 310, 356, 660)), two.crop((412, 310, 710, 660))
    assert likeness(left, right) > 0.8
    assert likeness(left, two.crop((235, 310, 533, 660))) < 0.5


def test_it_knows_twice_as_many_words_as_the_two_hundred_that_it_had() -> None:
    tables = (SKIES, GROUNDS, COLOURS, STYLES, FIGURES)
    known = {word for table in tables for line in table.splitlines() for word in line.split(": ")[0].split()}
    assert len(known) >= 400


@pytest.mark.parametrize("line", FIGURES.splitlines(), ids=lambda line: line.split(maxsplit=1)[0])
def test_every_figure_and_its_plural_can_be_drawn(line: str) -> None:
    word = line.split(maxsplit=1)[0]
    plain, figure = (drawn(picture(prompt, seed=2)) for prompt in ("x on a sunny day", f"{word} on a sunny day"))
    assert likeness(plain, figure) < 0.99
    assert len(read_theme(f"two {word}s", Random(1)).figures) == 2


@pytest.mark.parametrize("instruction", [*INSTRUCTIONS, "add a cat", "mirror it", "as an oil painting at night"])
@pytest.mark.parametrize("flat", [True, False])
def test_several_edits_of_one_image_differ_visibly(instruction: str, flat: bool, fox: bytes) -> None:
    parent = encode(Image.new("RGB", (640, 640), "#88b7d5")) if flat else fox
    edits = [picture(instruction, references=[parent], index=index) for index in range(4)]
    assert all(difference(first, second) > 0.4 for first, second in combinations(edits, 2))


@pytest.mark.parametrize("size", [(1024, 576), (576, 1024)], ids=["wide", "tall"])
def test_two_references_are_side_by_side(size: tuple[int, int], city: bytes) -> None:
    width, height = size
    both = opened(picture("together", width=width, height=height, references=[PHOTOGRAPH, city]))
    half = (width // 2, height) if width > height else (width, height // 2)
    last = (width - half[0], height - half[1])
    first_part = both.crop((0, 0, half[0], half[1] - 120))
    second_part = both.crop((*last, width, height)).crop((0, 0, half[0], half[1] - 120))
    first, second = (
        ImageOps.fit(opened(data), half, centering=(0.5, 0.4)).crop((0, 0, half[0], half[1] - 120))
        for data in (PHOTOGRAPH, city)
    )
    assert likeness(first_part, first) > 0.8
    assert likeness(first_part, first) > likeness(first_part, second)
    assert likeness(second_part, second) > likeness(second_part, first)


def test_many_references_fit_on_a_narrow_picture(fox: bytes) -> None:
    assert opened(picture(width=272, height=2172, references=[fox, None] * 4 + [fox])).size == (272, 2172)


def test_a_reference_that_was_not_loaded_is_a_neutral_panel() -> None:
    panel = drawn(picture("make it night", references=[None]))
    assert max(ImageStat.Stat(panel.resize((8, 8))).stddev) < 40


def test_a_photo_that_was_turned_is_drawn_upright() -> None:
    lying = opened(PHOTOGRAPH).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it upright
    turned = encode(lying, "JPEG", quality=95, exif=exif)
    upright = picture("in purple", references=[PHOTOGRAPH])
    assert likeness(drawn(picture("in purple", references=[turned])), drawn(upright)) > 0.98


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
def test_references_of_the_documented_kinds_are_read(kind: str, fox: bytes) -> None:
    assert opened(picture("at dusk", references=[encode(opened(fox), kind)])).size == (768, 768)


def test_bytes_that_are_not_an_image_are_refused(fox: bytes) -> None:
    for data in (b"", b"not an image", fox[: len(fox) // 2], encode(opened(fox), "GIF")):
        with pytest.raises(ValueError, match="not a readable image"):
            picture("at dusk", references=[data])
