"""The shape of the package: imports point one way, and nothing has two jobs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "langchain_wan"

# A module imports only from rows above its own line here.
ROWS = (
    {
        "_large_json",
        "_version",
        "errors",
        "_drawing",
        "_blocks",
        "_executor",
        "_gallery",
        "_metadata",
        "_owners",
        "_slots",
    },
    {"sandbox", "_pixels", "_sources", "_addresses", "_sheet", "_blobs", "_database"},
    {"_catalog", "_ledger"},
    {"_requests"},
    {"models"},
    {"_lineage"},
    {"retry", "budget", "_refusals", "store"},
    {"_wire", "_conversation"},
    {"references", "_guard"},
    {"settings", "_runtime", "_arguments", "_tracing", "_tool_errors"},
    {"_steps", "_exchange"},
    {"_claims"},
    {"_retrieval"},
    {"_flow"},
    {"client"},
    {"runnables"},
    {"tools", "_batch"},
    {"middleware", "_cli_batch"},
    {"cli"},
    {"__init__"},
)
# Runnable.as_tool is declared by Runnable, so the generator has to know the tool.
UPWARDS = {("runnables", "tools")}
MODULES = sorted(PACKAGE.glob("*.py"))
LIMIT_OF_A_FILE = 400
LIMIT_OF_A_FUNCTION = 40


def row_of(module: str) -> int:
    return next(number for number, row in enumerate(ROWS) if module in row)


def imports_of(path: Path) -> set[str]:
    """The modules of this package that a file imports, under `if TYPE_CHECKING:` and in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "langchain_wan":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("langchain_wan."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("langchain_wan.")}
    return found


def foreign_imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_every_module_has_a_row() -> None:
    assert {path.stem for path in MODULES} - set().union(*ROWS) == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_imports_only_from_rows_below_its_own(path: Path) -> None:
    wrong = {
        name for name in imports_of(path) if row_of(name) >= row_of(path.stem) and (path.stem, name) not in UPWARDS
    }
    assert wrong == set()


def test_the_sandbox_knows_nothing_of_the_client_it_tests() -> None:
    assert imports_of(PACKAGE / "sandbox.py") == {"_drawing"}
    assert imports_of(PACKAGE / "_drawing.py") == set()


def test_models_reach_the_store_only_to_register_its_default() -> None:
    tree = ast.parse((PACKAGE / "models.py").read_text())
    at_the_top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert "langchain_wan.store" not in at_the_top


def test_only_the_guard_imports_httpx_and_nobody_imports_langgraph() -> None:
    users = {path.stem for path in MODULES if foreign_imports_of(path) & {"httpx", "httpcore"}}
    assert users == {"_guard"}
    assert {path.stem for path in MODULES if "langgraph" in foreign_imports_of(path)} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_file_and_no_function_has_two_jobs(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LIMIT_OF_A_FILE
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {node.name: _length(node) for node in functions if _length(node) > LIMIT_OF_A_FUNCTION}
    assert long == {}


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
