"""Every block of docs/ is executed: Python as one program for each page, files that have a name as files."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
import shlex
import sys
import textwrap
import tomllib
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from fastapi.testclient import TestClient
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from typer.testing import CliRunner

import langchain_wan
from langchain_wan import Budget, RetryPolicy, WanClient, WanImageTool, WanStore, errors
from langchain_wan.cli.app import app
from langchain_wan.errors import UNAVAILABLE, WanConfigurationError, WanError
from langchain_wan.sandbox.app import Sandbox
from langchain_wan.settings import WanSettings
from tests.support.conversations import ids_in, sent_pictures
from tests.support.images import PHOTOGRAPH, to_data_uri
from tests.support.processes import run_program
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import posts

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PYTEST = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)


def blocks_of(page: str) -> list[tuple[str, str, str]]:
    """Language, file name or nothing, and text of each block."""
    return BLOCK.findall((DOCS / page).read_text())


@pytest.fixture
def service(service: Sandbox, tmp_path: Path) -> Sandbox:
    """With the photograph that the pages speak of."""
    (tmp_path / "photo.jpg").write_bytes(PHOTOGRAPH)
    return service


def run_page(page: str, monkeypatch: pytest.MonkeyPatch, script: list[Any]) -> dict[str, Any]:
    """Run the blocks that have no file name, with a chat model that follows a script."""
    model = ScriptedChatModel(script=script)
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: model)
    namespace: dict[str, Any] = {}
    for language, title, text in blocks_of(page):
        if language == "python" and not title:
            exec(compile(text, page, "exec"), namespace)  # noqa: S102  our own documentation
    assert model.script == []
    return namespace


def test_the_blocks_about_agents_run_as_they_stand(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    script = [
        calls({"prompt": "on a beach", "images": ["upload_1"]}),
        AIMessage("There."),
        calls({"prompt": "a fox"}),
        AIMessage("A fox."),
        calls({"prompt": "a fox"}),
        AIMessage("It is red."),
        calls({"task": "a fox"}, name="illustrate"),
        calls({"prompt": "a fox"}),
        lambda seen: AIMessage(ids_in(seen)[0]),
        lambda seen: calls({"task": f"{seen[-2].text} at night"}, name="retouch"),
        lambda seen: calls({"prompt": "night", "images": [seen[-1].text.split()[0]]}),
        lambda seen: AIMessage(ids_in(seen)[0]),
        AIMessage("Done."),
    ]
    namespace = run_page("agents.md", monkeypatch, script)
    assert len(posts(service)) == 5
    assert len(sent_pictures(service)) == 1
    assert [tool.name for tool in namespace["server"]._tool_manager.list_tools()] == ["wan_image"]


@pytest.mark.parametrize(
    ("page", "file", "count"), [("agents.md", "test_my_agent.py", 5), ("sandbox.md", "test_pictures.py", 2)]
)
def test_the_tests_that_a_page_shows_pass(page: str, file: str, count: int, tmp_path: Path) -> None:
    (text,) = [text for _, title, text in blocks_of(page) if title == file]
    (tmp_path / file).write_text(text)
    options = ["--disable-plugin-autoload", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider"]
    ran = run_program(PYTEST, "-q", *options, f"--rootdir={tmp_path}", tmp_path / file)
    assert ran.returncode == 0, ran.stdout
    assert f"{count} passed" in ran.stdout


@pytest.fixture
def web(service: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The web backend, as it stands in the page, in a folder of its own."""
    for _, title, text in blocks_of("agents.md"):
        if title in ("app.py", "page.html"):
            (tmp_path / title).write_text(text)
    script = [
        calls({"prompt": "a red fox"}),
        AIMessage("Here is a fox."),
        lambda seen: calls({"prompt": "night", "images": [ids_in(seen)[0], "upload_1"]}),
        AIMessage("It is night."),
    ]
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: ScriptedChatModel(script=script))
    spec = importlib.util.spec_from_file_location("app", tmp_path / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "app", module)
    spec.loader.exec_module(module)
    return module


def test_the_web_backend_streams_progress_shows_pictures_and_edits_them(web: ModuleType, service: Sandbox) -> None:
    with TestClient(web.app) as client:
        assert "<form" in client.get("/").text

        def say(*content: Any) -> list[dict[str, Any]]:
            answer = client.post("/threads/7f3c", json={"role": "user", "content": list(content)})
            return [json.loads(line) for line in answer.text.splitlines()]

        events = say({"type": "text", "text": "A fox."})
        stages = [event["stage"] for event in events if event["type"] == "wan_image"]
        assert stages == ["queued", "submitted", "answered", "stored", "done"]
        (made,) = [event for event in events if event["type"] == "tool"]
        picture = client.get(f"/threads/7f3c/{made['images'][0]}")
        assert picture.headers["content-type"] == "image/png"
        assert client.get(f"/threads/other/{made['images'][0]}").status_code == 404
        url = {"type": "image_url", "image_url": {"url": to_data_uri(PHOTOGRAPH, "image/jpeg")}}
        events = say({"type": "text", "text": "Night, with me in it."}, url)
        assert events[-1]["text"] == "It is night."
    assert sent_pictures(service)[0] == picture.content
    assert len(sent_pictures(service)) == 2


def test_the_web_backend_has_forty_lines() -> None:
    (text,) = [text for _, title, text in blocks_of("agents.md") if title == "app.py"]
    assert len([line for line in text.splitlines() if line.strip()]) <= 40


def test_links_point_at_files_that_exist() -> None:
    for page in DOCS.glob("*.md"):
        targets = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", page.read_text())
        assert [target for target in targets if not (page.parent / target).exists()] == [], page.name


def test_the_approval_of_urls_asks_before_a_url_is_named(service: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS.parent / "SECURITY.md").read_text()
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(textwrap.dedent(block), "SECURITY.md", "exec"), namespace)  # noqa: S102  our own documentation
    for images, asked in ((["https://evil.example.com/?secret"], True), (["upload_1"], False), ([], False)):
        model = ScriptedChatModel(script=[calls({"prompt": "x", "images": images}), AIMessage("Done.")])
        agent = create_agent(
            model, tools=[WanImageTool()], middleware=[namespace["approval"]], checkpointer=InMemorySaver()
        )
        done = agent.invoke({"messages": [HumanMessage("Go.")]}, {"configurable": {"thread_id": "1"}})
        assert ("__interrupt__" in done) is asked
    assert len(posts(service)) == 1  # `upload_1` is unknown here, and no image at all makes one


SCRIPTS: dict[str, list[Any]] = {
    "index.md": [
        calls({"prompt": "two foxes", "n": 2}),
        lambda seen: calls({"prompt": "a night scene", "images": [ids_in(seen)[1]]}),
        AIMessage("Here they are."),
    ],
    "chains.md": [AIMessage("A small fox looks up at the moon."), AIMessage("A fox on a hill at night.")],
}
PAID = {
    "index.md": 5,
    "chains.md": 18,
    "images.md": 1,
    "storing.md": 3,
    "errors.md": 1,
    "settings.md": 1,
    "how-it-works.md": 1,
}
PAGES = sorted(page.name for page in DOCS.glob("*.md"))


@pytest.mark.parametrize("page", [page for page in PAGES if page != "agents.md"])
def test_the_blocks_of_each_page_run_and_print_what_their_comments_say(
    page: str,
    service: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "fox.png").write_bytes(PHOTOGRAPH)
    run_page(page, monkeypatch, list(SCRIPTS.get(page, [])))
    assert len(posts(service)) == PAID.get(page, 0)
    printed = iter(capsys.readouterr().out.splitlines())
    promised = re.findall(r"^ *print\(.*\)  # (.+)$", (DOCS / page).read_text(), re.MULTILINE)
    assert [line for line in promised if line not in printed] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one_that_exists(page: str) -> None:
    group: Any = typer.main.get_command(app)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = [line for language, _, text in blocks_of(page) if language == "bash" for line in text.splitlines()]
    for program, *words in filter(None, (shlex.split(line, comments=True) for line in lines)):
        if program == "langchain-wan" and words != ["--help"]:
            group.commands[words[0]].make_context(words[0], words[1:])  # raises for what it does not know
        elif program == "pip":
            assert words[0] == "install"
            named = re.findall(r"\[(.*)\]", words[1])
            assert [extra for names in named for extra in names.split(",") if extra not in extras] == []
        elif program == "make":
            assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        else:
            assert program in ("langchain-wan", "export"), program


def test_the_lines_of_a_batch_are_requests(service: Sandbox, tmp_path: Path) -> None:
    (text,) = [text for language, _, text in blocks_of("cli.md") if language == "json"]
    (tmp_path / "prompts.jsonl").write_text(text)
    (tmp_path / "fox.png").write_bytes(PHOTOGRAPH)
    for _ in range(2):
        ran = CliRunner().invoke(app, ["generate", "--from", "prompts.jsonl", "--max-usd", "2.50"])
        assert ran.exit_code == 0, ran.output
    assert len(posts(service)) == 2
    assert (tmp_path / "wan-images" / "contact-sheet.html").is_file()


def table(page: str, heading: str, *, place: int = 1) -> dict[str, list[str]]:
    """The cells of the first or another table under a heading, by the name in the first cell."""
    text = (DOCS / page).read_text().split(f"| {heading} |")[place].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_tables_of_settings_hold_every_field_with_its_default() -> None:
    inherited = {*WanSettings.model_fields, *BaseTool.model_fields}
    own = [name for name in WanImageTool.model_fields if name not in inherited]
    for place, names in ((1, list(WanSettings.model_fields)), (2, own)):
        listed = table("settings.md", "setting", place=place)
        assert {name: cells[0] for name, cells in listed.items()} == {name: default_of(name) for name in names}


def default_of(name: str) -> str:
    """The default of a setting, as the tables write it."""
    value = WanImageTool.model_fields[name].get_default(call_default_factory=True)
    if isinstance(value, WanStore | RetryPolicy):
        return {"store": "`WanStore.default()`", "retry": "`RetryPolicy()`"}[name]
    return f"`{value!r}`".replace("'", '"')


def test_the_tables_of_budget_retry_and_sandbox_hold_every_argument() -> None:
    retry = {field.name: f"`{field.default}`" for field in fields(RetryPolicy)}
    assert {name: cells[0] for name, cells in table("settings.md", "field of `RetryPolicy`").items()} == retry
    for kind, page, heading in ((Budget, "settings.md", "argument"), (Sandbox, "sandbox.md", "option")):
        expected = {name: f"`{one.default}`" for name, one in inspect.signature(kind).parameters.items()}
        assert {name: cells[0] for name, cells in table(page, heading).items()} == expected


def test_the_table_of_errors_holds_every_error_and_whether_it_was_charged() -> None:
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass) if one.__module__ == errors.__name__]
    kinds = [one for one in classes if issubclass(one, WanError) and one is not WanError]
    charged = {one.__name__: one.default_charged for one in kinds} | {WanConfigurationError.__name__: "no"}
    assert {name: cells[1] for name, cells in table("errors.md", "error").items()} == charged
    (told,) = re.findall(
        r"the log `langchain_wan`: (.*?)\.$", (DOCS / "errors.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert sorted(re.findall(r"\w+Error", told)) == sorted(
        one.__name__ for one in kinds if one.default_advice == UNAVAILABLE
    )


def test_each_fault_of_the_sandbox_is_listed_with_the_error_that_it_leads_to() -> None:
    with pytest.raises(ValueError, match="not a fault") as refused:
        Sandbox(faults=["nonsense"])
    rows = table("sandbox.md", "name")
    assert list(rows) == str(refused.value).partition("knows: ")[2].split(", ")
    faults = [fault for fault in rows if fault != "hang"]
    with Sandbox(faults=[*faults, "hang"]) as failing:
        for fault in rows:
            once = RetryPolicy(attempts=1)
            timeout = 0.5 if fault == "hang" else 30
            client = WanClient(base_url=failing.url, api_key=failing.api_key, retry=once, timeout=timeout)
            with pytest.raises(WanError) as raised:
                client.generate({"prompt": fault})
            answer, error = rows[fault]
            assert type(raised.value).__name__ == error.partition(",")[0].strip("`"), fault
            status = getattr(raised.value, "status_code", None)
            assert status is None or answer.startswith(str(status)), fault


def test_every_page_stands_in_the_navigation_and_every_public_name_in_the_reference() -> None:
    entries = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(entries) == [page for page in PAGES if page in entries or page != "benchmarks.md"]
    text = (DOCS / "api.md").read_text()
    documented = {path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE)}
    # What an error means stands in the page about errors.
    elsewhere = {"__version__", "WanConfigurationError"}
    assert set(langchain_wan.__all__) - documented == elsewhere


def test_the_examples_in_docstrings_are_true() -> None:
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(langchain_wan.__path__, "langchain_wan.")
    ]
    found = [doctest.testmod(module) for module in modules]
    assert sum(one.attempted for one in found) >= 2
    assert sum(one.failed for one in found) == 0
