"""The site of the documentation: what its pages show, as far as its sources decide that."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.repository


def test_each_chart_has_a_version_for_the_dark_scheme() -> None:
    charts = re.findall(r"images/(bench-\w+)\.png", (DOCS / "benchmarks.md").read_text())
    assert sorted(charts) == ["bench-cpu", "bench-posts"]
    rules = (DOCS / "stylesheets" / "extra.css").read_text()
    for chart in charts:
        assert (DOCS / "images" / f"{chart}-dark.png").is_file()
        rule = f'[data-md-color-scheme="slate"] img[src$="{chart}.png"] {{ content: url(../images/{chart}-dark.png) }}'
        assert rule in rules


def test_the_signatures_of_the_api_reference_are_separate_and_formatted() -> None:
    options = (ROOT / "mkdocs.yml").read_text()
    for option in (
        "extensions: [docs/signatures.py]",
        "separate_signature: true",
        "show_signature_annotations: true",
        "line_length: 80",
    ):
        assert option in options
    # mkdocstrings formats a signature with Ruff if it is there.
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert any(requirement.startswith("ruff") for requirement in groups["docs"])


def extension() -> ModuleType:
    spec = importlib.util.spec_from_file_location("signatures", DOCS / "signatures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_pydantic_class_has_a_signature_with_its_types_and_defaults() -> None:
    griffe: Any = pytest.importorskip("griffe", reason="comes with the group docs")
    extensions = griffe.load_extensions(extension().PydanticSignatures())
    package = griffe.load("langchain_wan", search_paths=[str(ROOT)], extensions=extensions)
    shown = {str(each.name): each for each in package["tools.WanImageTool"].parameters}
    assert {name: str(shown[name].default) for name in ("max_n", "model", "timeout", "defaults", "store")} == {
        "max_n": "4",
        "model": "'wan2.7-image'",
        "timeout": "330.0",
        "defaults": "{}",
        "store": "WanStore.default()",
    }
    assert str(shown["max_n"].annotation) == "int"
    assert str(shown["prices"].annotation) == "dict[str, Decimal]"
    assert "generator" not in shown
    request = {str(each.name): each for each in package["requests.ImageRequest"].parameters}
    assert request["prompt"].default is None
    assert str(request["n"].default) == "1"
