"""Files made by their properties: each way in and out shows the same picture, or refuses it in plain words."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from langchain_wan import WanStore
from tests.support.corpus import judge, survey
from tests.support.corpus.made import HAS_AVIF, MONITOR, SECRET, Made, all_made, see_corners
from tests.support.corpus.ways import Trial, open_with_pillow, send, try_all

MADE = all_made()
FAR = 12  # levels that JPEG and rounding may move a flat colour


def attempt(made: Made, folder: Path) -> tuple[Path, Trial]:
    path = folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', made.name)[:60]}.img"
    path.write_bytes(made.make())
    return path, try_all(path, folder)


def load(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    return image


def are_close(seen: tuple[tuple[int, ...], ...], expected: tuple[tuple[int, ...], ...]) -> bool:
    pairs = zip(seen, expected, strict=True)
    return all(abs(a - b) <= FAR for left, right in pairs for a, b in zip(left, right, strict=True))


def test_there_are_a_few_hundred() -> None:
    assert len(MADE) >= (200 if HAS_AVIF else 190)
    assert len({made.name for made in MADE}) == len(MADE)


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.name)
def test_a_file(made: Made, tmp_path: Path) -> None:
    """Sent upright, in its colours and with nothing hidden, or refused by its name with what is wrong."""
    path, trial = attempt(made, tmp_path)
    assert trial.untyped == {}
    if made.refused is not None:
        for way in ("Path", "bytes", "data URI"):
            assert way not in trial.sent
            assert re.search(made.refused, trial.refused[way]), trial.refused[way]
        assert path.name in trial.refused["Path"]
        return
    assert set(trial.refused) == set()
    for way, (data, _) in trial.sent.items():
        image = load(data)
        assert SECRET not in data, way
        assert MONITOR.encode() not in data, way
        assert image.mode in {"RGB", "L", "P", "1"}, way
        assert 240 <= min(image.size) <= max(image.size) <= 8_000
        if way == "Pillow object" and re.search("cICP|codes", made.name):  # which Pillow drops
            continue
        assert made.corners is None or are_close(see_corners(image), made.corners), (way, see_corners(image))
    upright = judge.on_white(load(trial.sent["Path"][0]))
    for ending in {".jpg", ".png", ".tif"} & trial.saved.keys() if made.corners is not None else ():
        if trial.saved[ending] == path.read_bytes():
            continue
        saved = ImageOps.exif_transpose(load(trial.saved[ending]))
        assert judge.difference(judge.on_white(saved), upright) < judge.CLOSE, ending


SENT = [made for made in MADE if not made.refused and "megapixels" not in made.name]


@pytest.mark.skipif(judge.VIPS is None, reason="libvips is not installed")
@pytest.mark.parametrize("made", [made for made in SENT if made.judged], ids=lambda made: made.name)
def test_another_decoder_agrees(made: Made, tmp_path: Path) -> None:
    """What libvips or ImageMagick makes of the file, they make of what is sent and saved."""
    path, outputs = tmp_path / "file", tmp_path / "outputs"
    path.write_bytes(made.make())
    outputs.mkdir()
    (outputs / "sent").write_bytes(send(path)[0])
    WanStore().add(path).save(outputs / "saved.jpg")  # which is the file itself if it is a JPEG
    for output in outputs.iterdir():
        assert judge.is_alike(path, output), output.name


@pytest.mark.skipif(judge.EXIFTOOL is None, reason="exiftool is not installed")
def test_another_reader_finds_nothing_in_what_is_sent(tmp_path: Path) -> None:
    for number, made in enumerate(SENT):
        data = made.make()
        for way, source in (("bytes", data), ("Pillow", open_with_pillow(data))):
            if source is not None:
                name = re.sub(r"[^A-Za-z0-9]+", "-", made.name)[:80]
                (tmp_path / f"{number}-{way}-{name}").write_bytes(send(source)[0])
    assert judge.private_facts(tmp_path) == {}


def test_a_survey_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No image files below"):
        survey.main([str(tmp_path)])


def test_a_survey_counts_what_became_of_each_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (300, 300), "green").save(tmp_path / "a.png")
    (tmp_path / "b.svg").write_text("<svg/>")
    assert survey.main([str(tmp_path)]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[:3] for row in rows if row[0] == "| PNG"] == [["| PNG", "1", "1"]]
    assert [row[1] for row in rows if row[0] == "| all"] == ["2"]
