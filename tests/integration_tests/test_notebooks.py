"""Each notebook runs from top to bottom without a key, and its committed outputs are those of a fresh run."""

from __future__ import annotations

import base64
import importlib
import importlib.util
import io
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from langchain_wan.sandbox.app import Sandbox

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
DATA_URIS = re.compile(r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)")


nbformat: Any = importlib.import_module("nbformat")  # it has no types


def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def normalised(text: str) -> str:
    """Remove what differs between two runs: ids, ports, times, operation ids, and the bytes of images."""
    text = DATA_URIS.sub(lambda match: f"<{match[1]} image>", text)
    text = re.sub(r"img_[0-9a-z]{13}", "img_ID", text)
    text = re.sub(r"\?Expires=[^\s\"']+", "?SIGNED", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"\d+:\d\d|[\d.]+ ?(?:it/s|s/it|s)\b", "TIME", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "OPERATION", text)
    return re.sub(r"[^\n]*\r|\[TIME<.*", "", text)  # the last state of a progress bar


def outputs(notebook: Any) -> list[list[Any]]:
    """The outputs of each cell, normalised; the pieces of a stream are joined."""
    return [join_outputs(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def join_outputs(pieces: list[Any]) -> list[Any]:
    joined: list[Any] = [
        f"{name}: {normalised(''.join(piece.text for piece in pieces if piece.get('name') == name))}"
        for name in ("stdout", "stderr")
    ]
    for piece in pieces:
        if piece.output_type != "stream":
            kinds = {kind: value for kind, value in piece.data.items() if kind != "image/png"}
            joined.append(("image/png" in piece.data, {kind: normalised(str(kinds[kind])) for kind in kinds}))
    return joined


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # of the kernel's own start
def test_a_notebook_runs_without_a_key_and_shows_what_is_committed(path: Path, tmp_path: Path) -> None:
    fresh = runner().execute(path, tmp_path)  # in an empty folder, as who downloads one notebook has it
    committed = nbformat.read(path, as_version=4)
    assert outputs(fresh) == outputs(committed)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_small_and_contains_no_key_path_or_url(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert Sandbox().api_key not in text
    assert re.findall(r"sk-[A-Za-z0-9-]{6,}", text) == []
    assert re.findall(r"/(?:home|root|work|tmp|Users|usr|private)/", text) == []
    assert re.findall(r"https?://(?!127\.0\.0\.1|api\.aisa\.one)[^\s\"'\\)]+", text) == []
    notebook = nbformat.read(path, as_version=4)
    values = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    pngs = [data["image/png"] for data in values if "image/png" in data]
    images = [*pngs, *(data for _, data in DATA_URIS.findall(text))]
    assert images
    for data in images:
        assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) <= 512
    for cell in notebook.cells:
        assert all(output.output_type != "error" for output in cell.get("outputs", []))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_installs_what_it_imports(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    (install,) = re.findall(r"^pip install (.+)$", cells[0].source, re.MULTILINE)
    # LangChain's core and Pillow come with the package, LangGraph with LangChain.
    allowed = {"langchain_wan", "langchain_core", "PIL", *sys.stdlib_module_names}
    if "agents" in install:
        allowed |= {"langchain", "langgraph"}
    allowed |= {name.replace("-", "_") for name in install.split()[1:]}
    programs = [textwrap.dedent(cell.source) for cell in cells if cell.cell_type == "code"]
    imports = re.findall(r"^\s*(?:from|import) (\w+)", "\n".join(programs), re.MULTILINE)
    # With `REAL = True`, the chat model is one of OpenAI's, which the cell names.
    assert set(imports) - allowed <= {"langchain_openai"}


def test_every_notebook_can_be_switched_to_the_real_service() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["01_quickstart", "02_agent", "03_chains", "04_durable"]
    for path in NOTEBOOKS:
        sources = [cell.source for cell in nbformat.read(path, as_version=4).cells]
        assert any("REAL = False" in source for source in sources)


def test_what_differs_between_two_runs_is_normalised_and_nothing_else() -> None:
    assert normalised("img_k3v9x2abq7m1t at http://127.0.0.1:4711 in 3.2s") == "img_ID at http://127.0.0.1:PORT in TIME"
    assert normalised("2 images, $0.06") == "2 images, $0.06"
