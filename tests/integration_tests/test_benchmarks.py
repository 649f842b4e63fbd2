"""The benchmarks work, and what they count holds: requests, bytes, tokens and query steps, never times."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    command = [sys.executable, "server.py"]
    with subprocess.Popen(command, cwd=BENCHMARKS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def told(*arguments: str) -> Any:
    ran = subprocess.run([sys.executable, *arguments], cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["raw httpx", "langchain-wan client", "langchain-wan tool", "openai images"])
def test_a_contestant_runs(name: str, port: str) -> None:
    assert told("measure.py", "cpu", name, port)["memory"] > 0


def test_a_call_that_fails_is_sent_once_and_a_429_again(port: str) -> None:
    for name in ("langchain-wan client", "langchain-wan tool"):
        found = told("measure.py", "failing", name, port)
        assert found == {"fail-drop": 1, "fail-silent": 1, "fail-500": 1, "fail-429": 3}


def test_a_large_answer_needs_at_most_twice_its_size_with_every_picture_stored(port: str) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not tell the peak of a process's memory")
    found = told("measure.py", "memory", "langchain-wan client", port)
    assert found["large"] < 2.2  # the goal is 2.0; what the allocator keeps differs by machine
    assert found["large4"] < 2.0


def test_a_model_pays_few_tokens(port: str) -> None:
    found = told("own.py", "tokens", port)
    assert found["parameters"] <= 225
    assert found["name and description"] <= 150
    assert found["answer, one image"] <= 40
    assert found["answer, four images, each"] <= 16


def test_the_ledger_takes_the_same_steps_however_much_is_in_it(port: str) -> None:
    found = told("own.py", "growth", port, "small")
    few, many = found["100"], found["300"]
    assert {name: many[name] for name in few if name != "unfinished"} == {
        name: few[name] for name in few if name != "unfinished"
    }
    # What is unfinished are the calls that were claimed to be measured: one more.
    assert many["unfinished"] - few["unfinished"] < 100


def test_the_tool_loads_nothing_heavy(port: str) -> None:
    assert told("own.py", "import", port, "small")["heavy modules"] == "[]"


def test_the_page_is_that_of_the_figures() -> None:
    docs = BENCHMARKS.parent / "docs"
    program = "import json, page; print(json.dumps(page.page(json.load(open('../docs/benchmarks.json')))))"
    assert told("-c", program) == (docs / "benchmarks.md").read_text(encoding="utf-8")
