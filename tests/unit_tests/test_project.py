"""Files around the package: targets, workflows and pages agree with each other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted([*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"])

pytestmark = pytest.mark.repository


@cache
def read(name: str) -> str:
    return (ROOT / name).read_text()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE))


def pythons() -> list[str]:
    classifiers = tomllib.loads(read("pyproject.toml"))["project"]["classifiers"]
    return [line.rpartition(" ")[2] for line in classifiers if "Python :: 3." in line]


def jobs(workflow: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(workflow.read_text())
    jobs: dict[str, Any] = content["jobs"]
    return jobs


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(workflow).values() for step in job["steps"]]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_files_for_the_host_are_yaml(form: Path) -> None:
    assert yaml.safe_load(form.read_text())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_a_workflow_runs_targets_that_exist(workflow: Path) -> None:
    commands = [step["run"].split() for step in steps(workflow) if "run" in step]
    assert commands
    assert [command for command in commands if command[0] != "make" or command[1] not in targets()] == []


def test_the_workflow_of_the_tests_runs_each_target_that_a_local_run_does() -> None:
    local = set(re.findall(r"^make ([a-z]+)", read(".ci/run"), re.MULTILINE))
    commands = [step["run"].split() for step in steps(ROOT / ".github" / "workflows" / "test.yml") if "run" in step]
    assert local
    assert local <= {command[1] for command in commands}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.stem)
def test_a_workflow_may_only_read_and_pins_its_actions(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}
    uses = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert [
        action for action in uses if not re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+|[0-9a-f]{40})", action)
    ] == []


def test_only_the_job_that_publishes_may_prove_its_identity() -> None:
    permissions = {name: job.get("permissions") for path in WORKFLOWS for name, job in jobs(path).items()}
    assert {name: granted for name, granted in permissions.items() if granted} == {"publish": {"id-token": "write"}}


def test_the_tests_run_on_each_python_that_the_package_declares() -> None:
    test = jobs(ROOT / ".github" / "workflows" / "test.yml")["test"]
    assert test["strategy"]["matrix"]["python"] == pythons()
    assert tomllib.loads(read("pyproject.toml"))["project"]["requires-python"] == f">={pythons()[0]}"


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_a_page_names_the_pythons_that_the_workflows_run(page: str) -> None:
    text = " ".join(read(page).split())
    assert f"with Python {', '.join(pythons()[:-1])} and {pythons()[-1]}. Windows is not tested" in text


def test_each_target_is_phony_and_says_what_it_does() -> None:
    explained = set(re.findall(r"^([a-z][a-z-]*):.*  ## \w", read("Makefile"), re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)
    assert explained == targets() == set(phony.split())


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_target() -> None:
    command = ["make", "--no-print-directory"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} == targets()


def test_the_table_of_contributing_names_files_and_names_that_exist() -> None:
    table = read("CONTRIBUTING.md").split("| to change |")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in table]
    assert [file for _, file, _ in rows if not (ROOT / file).is_file()] == []
    assert [name for _, file, name in rows if name not in (ROOT / file).read_text()] == []


def test_contributing_names_files_and_targets_that_exist() -> None:
    files = re.findall(r"`((?:langchain_wan|tests|docs)/\S+\.(?:py|md))`", read("CONTRIBUTING.md"))
    linked = re.findall(r"\]\(([^)#]+)[^)]*\)", read("CONTRIBUTING.md"))
    assert [file for file in (*files, *linked) if not (ROOT / file).is_file()] == []
    commands = re.findall(r"^make (\w+)|`make (\w+)`", read("CONTRIBUTING.md"), re.MULTILINE)
    assert {first or second for first, second in commands} <= targets()


def headings(page: Path) -> set[str]:
    """The anchors that a host and the site give to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name)
def test_a_link_to_a_heading_names_one_that_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text())
    targets = [(page.parent / file if file else page, anchor) for file, anchor in links]
    assert [anchor for target, anchor in targets if anchor not in headings(target)] == []
