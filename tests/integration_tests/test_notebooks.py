"""Each notebook runs from top to bottom without a key, and its committed outputs are those of a fresh run."""

from __future__ import annotations

import base64
import importlib
import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from langchain_wan.sandbox.app import Sandbox

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PICTURES = re.compile(r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)")


nbformat: Any = importlib.import_module("nbformat")  # it has no types


def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def normalised(text: str) -> str:
    """Without what differs between two runs: ids, ports, times, operations, and the pictures themselves."""
    text = PICTURES.sub(lambda found: f"<{found[1]} picture>", text)
    text = re.sub(r"img_[0-9a-z]{13}", "img_ID", text)
    text = re.sub(r"\?Expires=[^\s\"']+", "?SIGNED", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"\d+:\d\d|[\d.]+ ?(?:it/s|s/it|s)\b", "TIME", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "OPERATION", text)
    return re.sub(r"[^\n]*\r|\[TIME<.*", "", text)  # a progress bar, as it is in the end


def outputs(notebook: Any) -> list[list[Any]]:
    """The outputs of each cell, normalised; what a stream got in several pieces is one."""
    return [shown_of(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def shown_of(found: list[Any]) -> list[Any]:
    shown: list[Any] = [
        (f"{name}: {normalised(''.join(one.text for one in found if one.get('name') == name))}")
        for name in ("stdout", "stderr")
    ]
    for one in found:
        if one.output_type != "stream":
            kinds = {kind: value for kind, value in one.data.items() if kind != "image/png"}
            shown.append(("image/png" in one.data, {kind: normalised(str(kinds[kind])) for kind in kinds}))
    return shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # of the kernel's own start
def test_a_notebook_runs_without_a_key_and_shows_what_is_committed(path: Path, tmp_path: Path) -> None:
    fresh = runner().execute(path, tmp_path)
    committed = nbformat.read(path, as_version=4)
    assert outputs(fresh) == outputs(committed)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_small_and_holds_nothing_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert Sandbox().api_key not in text
    assert re.findall(r"sk-[A-Za-z0-9-]{6,}", text) == []
    assert re.findall(r"/(?:home|root|work|tmp|Users|usr|private)/", text) == []
    assert re.findall(r"https?://(?!127\.0\.0\.1|api\.aisa\.one)[^\s\"'\\)]+", text) == []
    notebook = nbformat.read(path, as_version=4)
    shows = [one.data for cell in notebook.cells for one in cell.get("outputs", []) if "data" in one]
    pngs = [data["image/png"] for data in shows if "image/png" in data]
    pictures = [*pngs, *(data for _, data in PICTURES.findall(text))]
    assert pictures
    for data in pictures:
        assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) <= 512
    for cell in notebook.cells:
        assert all(one.output_type != "error" for one in cell.get("outputs", []))


def test_each_topic_is_there_and_each_notebook_can_be_switched_to_the_real_service() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["01_quickstart", "02_agent", "03_chains", "04_durable"]
    for path in NOTEBOOKS:
        sources = [cell.source for cell in nbformat.read(path, as_version=4).cells]
        assert any("REAL = False" in source for source in sources)


def test_what_differs_between_two_runs_is_normalised_and_nothing_else() -> None:
    assert normalised("img_k3v9x2abq7m1t at http://127.0.0.1:4711 in 3.2s") == "img_ID at http://127.0.0.1:PORT in TIME"
    assert normalised("2 images, $0.06") == "2 images, $0.06"
