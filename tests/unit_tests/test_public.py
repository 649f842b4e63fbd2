"""What the package offers, and what importing it costs."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import langchain_wan
from langchain_wan import errors

ROOT = Path(__file__).parents[2]

PUBLIC = [
    *("Budget", "GeneratedImage", "ImageFailure", "ImageRequest", "ImageResult", "ImageSource", "WanStore"),
    *("HistoryEntry", "Lineage"),
    *("RetryPolicy", "WanClient", "WanConfigurationError", "WanError", "WanEvent", "WanImageGenerator"),
    *("WanImageInput", "WanImageTool", "__version__", "price_usd"),
]


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "below"),
    [
        ("import langchain_wan", ""),
        ("from langchain_wan import WanImageTool; WanImageTool()", "import langchain_core.tools.base"),
        ("from langchain_wan import *", "import langchain_core.tools.base"),
        ("from langchain_wan.sandbox import Sandbox; Sandbox()", ""),
    ],
)
def test_importing_loads_neither_http_nor_pictures_nor_a_server(statement: str, below: str) -> None:
    heavy = {"httpx", "httpcore", "PIL", "PIL.Image", "starlette", "uvicorn", "langgraph", "typer", "rich"}
    # LangChain loads LangSmith, and the versions of LangSmith that work with httpx 0.27 load httpx and rich.
    assert (modules_after(statement) - modules_after(below)) & heavy == set()


def test_importing_the_package_alone_loads_nothing_of_langchain() -> None:
    assert not {
        name for name in modules_after("import langchain_wan") if name.startswith(("langchain_core", "pydantic"))
    }


def test_the_public_names_are_these_and_each_exists() -> None:
    assert sorted(PUBLIC) == sorted(langchain_wan.__all__) == sorted(dir(langchain_wan))
    for name in PUBLIC:
        assert getattr(langchain_wan, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        langchain_wan.nonsense  # type: ignore[attr-defined]  # noqa: B018  the access is the test


@pytest.mark.repository
def test_the_version_stands_once_and_the_changelog_knows_it() -> None:
    assert importlib.metadata.version("langchain-wan") == langchain_wan.__version__
    assert re.search(
        rf"^## \[{re.escape(langchain_wan.__version__)}\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


def test_the_errors_that_charge_nothing_are_these() -> None:
    assert (
        errors.NotSentError,
        errors.StatusError,
        errors.BudgetExceededError,
        errors.ImageReferenceError,
        errors.InvalidImageRequestError,
    ) == errors.NOT_CHARGED


def test_the_typed_marker_is_part_of_the_package() -> None:
    assert (Path(langchain_wan.__file__).parent / "py.typed").is_file()
