"""The pages about guarantees and faults name tests that exist, and the tests name rows that exist."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from langchain_wan._storage.states import STATES

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.repository


@cache
def matrix() -> str:
    return (ROOT / "docs" / "fault-matrix.md").read_text()


def numbered_rows() -> dict[int, list[str]]:
    """The cells of each row, by its number."""
    rows = [line.split("|") for line in matrix().splitlines() if re.match(r"\| \d+ \| .* \| .* \| ", line)]
    assert len({row[1] for row in rows}) == len(rows)
    return {int(row[1]): row for row in rows}


def cited_rows(name: str) -> set[int]:
    """The rows that the name of a test cites: `test_7_to_9_11_text` cites 7, 8, 9 and 11."""
    numbers = re.match(r"test_((?:\d+_|to_)+)", name)
    words = numbers[1].rstrip("_").split("_") if numbers else []
    singles = {int(word) for word in words if word != "to"}
    ends = [(int(words[i - 1]), int(words[i + 1])) for i, word in enumerate(words) if word == "to"]
    return singles.union(*(range(first, last) for first, last in ends))


def rows_cited_by_tests() -> set[int]:
    names = [
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\d\w*)", path.read_text())
    ]
    return set().union(*map(cited_rows, names))


def rows_tested_elsewhere() -> set[int]:
    table = matrix().partition("## Rows without")[2]
    return {int(row) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for row in cell.split(",")}


def test_the_name_of_a_test_cites_single_rows_and_ranges() -> None:
    assert cited_rows("test_7_to_9_11_slow") == {7, 8, 9, 11}
    assert cited_rows("test_14_fifty_calls") == {14}
    assert cited_rows("test_fifty_calls") == set()


def test_every_row_stands_once_in_the_matrix_and_tests_cite_rows_of_it() -> None:
    assert sorted(numbered_rows()) == list(range(1, len(numbered_rows()) + 1))
    assert rows_cited_by_tests() <= set(numbered_rows())


def test_a_row_has_a_numbered_test_or_names_its_test() -> None:
    assert rows_cited_by_tests() | rows_tested_elsewhere() == set(numbered_rows())
    assert rows_cited_by_tests() & rows_tested_elsewhere() == set()


@pytest.mark.parametrize("page", ["guarantees.md", "fault-matrix.md"])
def test_the_pages_name_test_files_that_exist(page: str) -> None:
    files = re.findall(r"`(tests/\S+\.py)`", (ROOT / "docs" / page).read_text())
    assert files
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_each_guarantee_has_limits_and_tests() -> None:
    sections = (ROOT / "docs" / "guarantees.md").read_text().split("\n## ")[1:]
    for section in sections:
        offsets = [section.index(part) for part in ("**Guarantee.**", "**Limits.**", "**Tests.**")]
        assert all(first < second for first, second in pairwise(offsets))
    rows = (ROOT / "README.md").read_text().partition("## Guarantees")[2].split("\n\n")[1].splitlines()[2:]
    assert len(rows) == len(sections)


def test_the_page_about_the_store_shows_the_table_of_states() -> None:
    page = (ROOT / "docs" / "storing.md").read_text()
    table = page.partition("| state | meaning | money | who goes on |\n|---|---|---|---|\n")[2].split("\n\n")[0]
    rows = [f"| `{state}` | {row.meaning} | {row.money} | {row.next_owner} |" for state, row in STATES.items()]
    assert table.splitlines() == rows


def test_the_matrix_knows_the_states_only() -> None:
    assert {state for row in numbered_rows().values() for state in re.findall(r"`(\w+)`", row[4])} <= set(STATES)


ENTRANCE_TESTS = "integration_tests/test_entrances.py"
SERVER_TESTS = "integration_tests/test_langgraph_server.py"
MCP_TESTS = "integration_tests/test_mcp.py"
# What checks a column for each entrance of `tests.support.entrances`.
IN_PROCESS = (
    "test_an_id_of_another_thread_is_unknown",
    "test_an_id_and_an_upload_work_after_a_restart",
    "test_an_id_and_an_upload_work_after_a_restart",
    "test_a_node_that_enters_in_any_way_and_runs_again_after_an_interrupt",
    "test_the_callbacks_of_a_run_hear_every_stage",
)
OUTSIDE_OF_A_GRAPH = (*IN_PROCESS[:3], "test_outside_of_a_graph_an_uncertain_call_is_not_sent_again", IN_PROCESS[4])
IN_A_SERVER = "test_uploads_edits_threads_interrupts_forks_and_a_restart_in_langgraphs_server"
REMOTE = "test_a_remote_graph_reports_progress_pays_once_and_knows_ids_after_a_restart"
SHARED = "test_two_clients_share_the_images_of_a_server_and_no_message_names_an_upload"
CELLS: dict[str, tuple[str, tuple[str, ...], set[str]]] = {
    "agent (`create_agent`)": (ENTRANCE_TESTS, IN_PROCESS, {"agent"}),
    "`ToolNode`": (ENTRANCE_TESTS, IN_PROCESS, {"ToolNode"}),
    "your own node": (ENTRANCE_TESTS, IN_PROCESS, {"node", "node without config", "chain in a node"}),
    "`Send`": (ENTRANCE_TESTS, IN_PROCESS, {"Send"}),
    "sub-agent (an agent as a node)": (ENTRANCE_TESTS, IN_PROCESS, {"sub-agent"}),
    "supervisor (an agent in a tool)": (ENTRANCE_TESTS, IN_PROCESS, {"supervisor"}),
    "`RemoteGraph`": (SERVER_TESTS, (IN_A_SERVER, IN_A_SERVER, REMOTE, REMOTE, REMOTE), set()),
    "chain, loop": (ENTRANCE_TESTS, OUTSIDE_OF_A_GRAPH, {"chain", "loop"}),
    "MCP": (
        MCP_TESTS,
        (
            *(SHARED, SHARED, "test_an_id_works_after_a_restart_of_the_server"),
            *("test_an_uncertain_call_is_not_sent_again_for_any_client", "test_a_client_is_told_no_progress"),
        ),
        set(),
    ),
}


def test_every_cell_of_the_table_of_entrances_is_a_test() -> None:
    section = (ROOT / "docs" / "agents.md").read_text().partition("| called from |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in section.splitlines()[2:]]
    assert [row[0] for row in rows] == list(CELLS)
    entered: set[str] = set()
    for name, *cells in rows:
        file, tests, entrances = CELLS[name]
        assert len(cells) == len(tests)
        code = (ROOT / "tests" / file).read_text()
        assert [test for test in tests if f"def {test}(" not in code] == []
        entered |= entrances
    assert entered == set(re.findall(r'"([\w -]+)": by_', (ROOT / "tests" / "support" / "entrances.py").read_text()))
