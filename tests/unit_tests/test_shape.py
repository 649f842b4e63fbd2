"""The shape of the package: rooms, their order, and sizes that warn of two jobs."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "langchain_wan"
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 40

pytestmark = pytest.mark.repository


def rows_of_the_contract() -> list[set[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [set(re.findall(r"\w+", layer)) for layer in layers]


def test_the_page_shows_the_rows_that_the_contract_checks() -> None:
    table = (ROOT / "docs" / "how-it-works.md").read_text().split("| rooms |")[1].split("\n\n")[0]
    rows = [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table.splitlines()[2:]]
    assert rows == rows_of_the_contract()


def test_every_room_has_a_row_and_no_private_module_stands_in_the_root() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__", "__main__"} == set().union(*rows_of_the_contract())
    assert [path.name for path in PACKAGE.glob("_*.py") if path.stem not in {"__init__", "__main__"}] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_and_no_function_is_so_long_that_it_may_have_two_jobs(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LONGEST_FILE
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert {node.name: _length(node) for node in functions if _length(node) > LONGEST_FUNCTION} == {}


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_a_test_module_imports_no_other_test_module() -> None:
    # Line by line, since a test may also write a program for another process.
    imports = [
        (path.name, module)
        for path in (ROOT / "tests").rglob("*.py")
        for module in re.findall(r"^\s*(?:from|import) (tests[\w.]*)", path.read_text(), re.MULTILINE)
    ]
    assert [(name, module) for name, module in imports if not module.startswith("tests.support")] == []


def test_tests_draw_no_random_values_without_a_seed() -> None:
    # The processes that share the tests must all find the same ones.
    unseeded = re.compile(
        r"\bos\.urandom\(|\buuid\d\(|\bsecrets\.\w+\(|\brandom\.(?:random|randbytes|choice)\(|Random\(\)"
    )
    files = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    assert [path.name for path in files if unseeded.search(path.read_text())] == []
