"""What a person at a terminal does about calls that were cut off, with nothing but what stands on the screen."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from langchain_wan import ImageRequest, WanStore, errors
from langchain_wan.cli.app import app
from langchain_wan.cli.output import err, out
from langchain_wan.sandbox.app import Sandbox
from tests.support.fault_server import FaultServer, answer, drop, reply, silence
from tests.support.images import data_uri, png
from tests.support.services import build_client
from tests.support.terminals import Ended, Terminal

GOOD = reply(200, answer(data_uri()))
PROMPT = "a red fox in fresh snow at dawn, seen from far away, with a long shadow and a blue sky above the trees"


@pytest.fixture
def uncertain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FaultServer, WanStore]]:
    """A service that lost three calls, and the store of the folder `cc` that knows them."""
    monkeypatch.chdir(tmp_path)
    with FaultServer(drop, drop, drop, GOOD) as server:
        monkeypatch.setenv("AISA_API_KEY", server.api_key)
        monkeypatch.setenv("AISA_BASE_URL", server.url)
        client = build_client(server, store=WanStore("cc"))
        for number in range(3):
            with pytest.raises(errors.PaymentUncertainError):
                client.generate(f"{PROMPT} {number}")
        yield server, client.store


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(params=[80, 50])
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this process print for a terminal of this width."""
    set_width(monkeypatch, request.param)


def set_width(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    for console in (out, err):
        monkeypatch.setattr(console, "_width", columns)
        monkeypatch.setattr(console, "_force_terminal", True)
        monkeypatch.setattr(console, "_color_system", None)


def at_terminal(*arguments: str, columns: int = 80, keys: str = "") -> Ended:
    with Terminal(*arguments, columns=columns, folder=Path.cwd(), environment={}) as terminal:
        if keys:
            terminal.read_until("[y/N]")
            terminal.type(keys)
        return terminal.wait()


def find_commands(text: str) -> list[list[str]]:
    """Return the commands that stand on lines of their own, as a shell splits them."""
    return [shlex.split(line)[1:] for line in re.findall(r"^ *(langchain-wan .+)$", text, re.MULTILINE)]


@pytest.mark.usefixtures("narrow")
def test_at_a_terminal_the_command_that_settles_a_call_stands_whole_on_its_own_line(
    uncertain: tuple[FaultServer, WanStore],
) -> None:
    server, store = uncertain
    lost = run("generate", f"{PROMPT} 0", "--out", "cc")
    assert lost.exit_code == 1
    first, *others = (entry.operation_id for entry in reversed(store.history()))
    settle = ["resolve", first, "--not-charged", "--out", "cc"]
    assert settle in find_commands(lost.output)
    for command in ("history", "resume"):
        assert ["resolve", "--all", *settle[2:]] in find_commands(run(command, "--out", "cc").output)
    for operation in others:
        store.resolve(operation, "charged")
    for command in ("history", "resume"):
        assert settle in find_commands(run(command, "--out", "cc").output)
    assert "repeat the command that asked for them" in " ".join(run(*settle).output.split())
    assert run("generate", f"{PROMPT} 0", "--out", "cc").exit_code == 0
    assert len(server.posts) == 4


@pytest.mark.usefixtures("narrow")
def test_history_cuts_the_prompt_and_never_an_id_or_a_cost(uncertain: tuple[FaultServer, WanStore]) -> None:
    server, store = uncertain
    made = build_client(server, store=store).generate(ImageRequest(prompt=PROMPT, operation_id="x" * 90)).images[0]
    build_client(server, store=store).generate(made.edit("make it night"))
    text = run("history", "--out", "cc").output
    listing = text[: text.index("Check the account")]
    for entry in store.history():
        assert f" {entry.operation_id}\n" in listing
        assert all(image in listing for image in (*entry.images, *entry.parents))
    assert listing.count("$0.03") == 5
    assert PROMPT not in listing
    assert "…" in listing


def test_history_is_a_table_where_the_terminal_is_wide(
    uncertain: tuple[FaultServer, WanStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = uncertain
    set_width(monkeypatch, 120)
    lines = run("history", "--out", "cc").output.splitlines()
    assert lines[0].split() == ["when", "state", "cost", "images", "from", "operation", "prompt"]
    for line, entry in zip(lines[1:], store.history(), strict=False):
        assert {entry.operation_id, "$0.03", "uncertain"} <= set(line.split())
        assert line.endswith("…")


def test_history_as_json_has_every_field(uncertain: tuple[FaultServer, WanStore]) -> None:
    _, store = uncertain
    entries = json.loads(run("history", "--json", "--out", "cc", "--limit", "2").stdout)
    newest = store.history()[0]
    assert len(entries) == 2
    assert datetime.fromisoformat(entries[0].pop("created_at")) == newest.created_at
    assert entries[0] == {
        "operation_id": newest.operation_id,
        "service": newest.service,
        "sandbox": False,
        "state": "uncertain",
        "model": "wan2.7-image",
        "prompt": f"{PROMPT} 2",
        "n": 1,
        "cost_usd": "0.030",
        "images": [],
        "parents": [],
    }
    assert json.loads(run("history", "--json", "--out", "nothing").stdout) == []


def test_resolve_all_shows_a_list_and_asks(uncertain: tuple[FaultServer, WanStore]) -> None:
    _, store = uncertain
    no = at_terminal("resolve", "--all", "--not-charged", "--out", "cc", keys="n\r")
    assert no.returncode == 1
    assert [entry.operation_id in no.text for entry in store.history()] == [True] * 3
    assert "Settle 3 as not charged?" in no.text
    assert [entry.state for entry in store.history()] == ["uncertain"] * 3
    yes = at_terminal("resolve", "--all", "--not-charged", "--out", "cc", keys="y\r")
    assert yes.returncode == 0
    assert "Settled 3 calls as not charged." in yes.text
    assert [entry.state for entry in store.history()] == ["refused"] * 3


def test_resolve_all_without_a_terminal_needs_yes(uncertain: tuple[FaultServer, WanStore]) -> None:
    _, store = uncertain
    refused = run("resolve", "--all", "--charged", "--out", "cc")
    assert refused.exit_code == 2
    assert "--yes" in refused.output
    assert "Nothing was changed" in refused.output
    assert [entry.state for entry in store.history()] == ["uncertain"] * 3
    assert run("resolve", "--all", "--charged", "--yes", "--out", "cc").exit_code == 0
    assert [entry.state for entry in store.history()] == ["charged"] * 3
    assert "nothing to settle" in run("resolve", "--all", "--charged", "--yes", "--out", "cc").output


@pytest.mark.parametrize(
    "arguments",
    [
        ["resolve", "--not-charged"],
        ["resolve", "one", "--all", "--not-charged"],
        ["resolve", "one"],
        ["resolve", "nonsense", "--charged"],
        ["resolve", "one", "--charged", "--out", "nowhere"],
    ],
)
def test_a_wrong_resolve_changes_nothing_and_says_what_to_name(
    arguments: list[str], uncertain: tuple[FaultServer, WanStore], tmp_path: Path
) -> None:
    _, store = uncertain
    done = run(*arguments, *([] if "--out" in arguments else ["--out", "cc"]))
    assert done.exit_code == 2
    assert [entry.state for entry in store.history()] == ["uncertain"] * 3
    assert not (tmp_path / "nowhere").exists()


def test_what_is_known_to_be_billed_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with FaultServer(files={"/a.png": reply(503)}) as server:
        server._script = [reply(200, answer(f"{server.origin}/a.png"))]
        with pytest.raises(errors.PaidButNotRetrievedError):
            build_client(server, store=WanStore("cc")).generate(ImageRequest(prompt="a fox", operation_id="mine"))
        assert "resolve mine --charged --out cc" in run("resume", "--out", "cc").output
    assert "as charged" in run("resolve", "mine", "--not-charged", "--out", "cc").output


def test_resume_needs_no_key_and_prints_and_saves_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    late = [*[reply(503)] * 3, reply(200, png())]
    with FaultServer(files={"/a.png": list(late), "/b.png": list(late)}) as server:
        server._script = [reply(200, answer(f"{server.origin}/{name}.png")) for name in "ab"]
        client = build_client(server, store=WanStore("cc"))
        for name in "ab":
            with pytest.raises(errors.PaidButNotRetrievedError):
                client.generate(ImageRequest(prompt="a fox", operation_id=name))
        raw = client.store._storage.blobs.raw(f"{server.url} a")
        assert raw is not None
        client.store._storage.blobs.drop_raw(f"{server.url} a")
        done = run("resume", "--out", "cc")
        assert done.exit_code == 0, done.output
        assert "operation a could not be resumed" in done.output
        (file,) = (tmp_path / "cc").glob("img_*.png")
        assert file.stem in done.output
        assert "a is partial" in done.output
        assert len(server.posts) == 2


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Nothing yet" in run("resume").output
    assert "Nothing yet" in run("history").output
    assert list(tmp_path.iterdir()) == []


def test_what_a_sandbox_answered_is_not_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Sandbox(faults=["disconnect"]) as gone, pytest.raises(errors.PaymentUncertainError):
        build_client(gone, store=WanStore("cc")).generate("a fox")
    for command in (["resume"], ["history"], ["resolve", "--all", "--not-charged", "--yes"]):
        output = run(*command, "--out", "cc").output
        assert "langchain-wan resolve" not in output, output
    assert "uncertain (sandbox)" in run("history", "--out", "cc").output
    monkeypatch.setenv("AISA_BASE_URL", gone.url)  # it stands in for the service, for whoever tries this out
    assert "langchain-wan resolve" in run("history", "--out", "cc").output


def test_a_proxy_on_this_machine_is_not_a_sandbox(uncertain: tuple[FaultServer, WanStore], monkeypatch: Any) -> None:
    monkeypatch.delenv("AISA_BASE_URL")
    output = run("history", "--out", "cc").output
    assert "sandbox" not in output
    assert "langchain-wan resolve --all --not-charged --out cc" in output


@pytest.mark.parametrize("columns", [80, 50])
def test_whoever_kills_a_batch_has_all_images_after_two_commands_that_stand_on_the_screen(
    columns: int, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("".join(f"a red fox number {number}\n" for number in range(5)))
    batch = ["generate", "--from", "prompts.txt", "--concurrency", "2", "--out", "cc"]
    with FaultServer(GOOD, GOOD, silence(), silence(), GOOD) as server:
        environment = {"AISA_API_KEY": server.api_key, "AISA_BASE_URL": server.url}

        def start(arguments: list[str]) -> Terminal:
            return Terminal(*arguments, columns=columns, folder=tmp_path, environment=environment)

        with start(batch) as terminal:
            screen = terminal.read_until("2/5")
            until(lambda: len(server.posts) == 4)
        (settle,) = find_commands(screen)  # the other one is the command itself
        with start(settle) as terminal:
            terminal.read_until("[y/N]")
            terminal.type("y\r")
            assert terminal.wait().returncode == 0
        with start(batch) as terminal:
            ended = terminal.wait()
        assert ended.returncode == 0
        assert "2 already done, 3 new" in ended.text
        assert len(server.posts) == 7
        assert sorted({post.json["messages"][0]["content"][-1]["text"] for post in server.posts}) == [
            f"a red fox number {number}" for number in range(5)
        ]


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
