from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

import langchain_wan
from langchain_wan import WanClient, WanStore, __version__, errors
from langchain_wan._services.refusals import REFUSALS
from langchain_wan.cli.app import app
from langchain_wan.cli.shell_advice import to_shell_advice
from langchain_wan.errors import PaidButNotRetrievedError
from langchain_wan.sandbox.answers import FAULTS
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import IMAGE_ID
from tests.support.images import png
from tests.support.services import posts

# click below 8.2, which the lowest typer needs, mixes both outputs unless it is told not to.
SEPARATE: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
runner = CliRunner(**SEPARATE)
COMMANDS = ["generate", "history", "save", "resume", "resolve", "balance", "sandbox"]
ADVICE_IN_PYTHON = (
    r"\w=|\w\((?!s\))|base_url|max_usd|max_concurrency|rate_limiter|send_references|\bPath\b|\bbytes\b(?!\)| of)|`with "
)


def test_generate_makes_files_named_by_id_and_an_id_works_in_the_next_command(service: Sandbox, tmp_path: Path) -> None:
    first = runner.invoke(app, ["generate", "a red fox", "-n", "2"])
    assert first.exit_code == 0, first.output
    made = IMAGE_ID.findall(first.stdout)
    files = sorted((tmp_path / "wan-images").glob("img_*.png"))
    assert {file.stem for file in files} == set(made)
    assert "1024x1024" in first.stdout
    assert "$0.03" in first.stdout
    second = runner.invoke(app, ["generate", "make it night", "--image", files[0].stem, "--model", "wan2.7-image-pro"])
    assert second.exit_code == 0, second.output
    assert posts(service)[1].json["model"] == "wan2.7-image-pro"
    assert posts(service)[1].json["messages"][0]["content"][0]["type"] == "image_url"
    assert "No AISA_API_KEY" not in first.stderr + second.stderr


def test_generate_takes_files_and_urls(service: Sandbox, tmp_path: Path) -> None:
    runner.invoke(app, ["generate", "a red fox", "--out", "first"])
    file = next((tmp_path / "first").glob("img_*.png"))
    done = runner.invoke(
        app, ["generate", "combine", "--image", str(file), "--image", "https://images.example.com/a.png", "--json"]
    )
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    assert values["cost_usd"] == "0.030"
    assert Path(values["files"][0]).is_file()
    urls = [part["image_url"]["url"][:10] for part in posts(service)[1].json["messages"][0]["content"][:2]]
    assert urls == ["data:image", "https://im"]


def test_an_input_image_that_was_enlarged_is_named(service: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "small.png").write_bytes(png(size=(120, 120)))
    done = runner.invoke(app, ["generate", "a red fox", "--image", "small.png"])
    assert done.exit_code == 0, done.output
    assert "enlarged" in done.stderr


def test_with_no_key_it_says_so_and_uses_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(app, ["generate", "a red fox"])
    assert done.exit_code == 0, done.output
    assert done.stderr.count("\n") == 1
    assert "local sandbox" in done.stderr
    assert "placeholders" in done.stderr
    assert len(list((tmp_path / "wan-images").glob("img_*.png"))) == 1


def test_sandbox_is_used_where_it_is_asked_for_even_with_a_key(service: Sandbox) -> None:
    assert runner.invoke(app, ["generate", "a red fox", "--sandbox"]).exit_code == 0
    assert service.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        ["generate"],
        ["generate", "x", "-n", "5"],
        ["generate", "x", "--image", "/nowhere.png"],
        ["generate", "x", "--image", "img_0000000000000"],
        ["generate", " "],
        ["generate", "x", "--model", "gemini-2.5-flash-image"],
        ["nonsense"],
    ],
)
def test_a_wrong_command_line_exits_with_2(wrong: list[str], service: Sandbox) -> None:
    done = runner.invoke(app, wrong)
    assert done.exit_code == 2
    assert posts(service) == []


def test_a_service_that_says_no_is_one_line_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Sandbox(faults=["content_policy_violation"]) as service:
        monkeypatch.setenv("AISA_API_KEY", service.api_key)
        monkeypatch.setenv("AISA_BASE_URL", service.url)
        done = runner.invoke(app, ["generate", "a red fox"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "content policy" in done.stderr
    assert "Nothing was charged" in done.stderr


def test_history_resume_and_resolve_show_and_settle_what_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Nothing yet" in runner.invoke(app, ["history"]).stderr
    with Sandbox(faults=["disconnect"]) as service:
        monkeypatch.setenv("AISA_API_KEY", service.api_key)
        monkeypatch.setenv("AISA_BASE_URL", service.url)
        lost = runner.invoke(app, ["generate", "a red fox"])
        assert lost.exit_code == 1
        operation = re.findall(r"`langchain-wan resolve (\w+) --not-charged`", lost.stderr)[0]
        assert "store.resolve" not in lost.stderr
        assert runner.invoke(app, ["generate", "a red fox"]).exit_code == 1
        assert f"{operation} is uncertain, $0.03: a red fox" in runner.invoke(app, ["resume"]).stderr
        assert runner.invoke(app, ["resolve", "nonsense", "--not-charged"]).exit_code == 2
        assert runner.invoke(app, ["resolve", operation, "--not-charged"]).exit_code == 0
        made = IMAGE_ID.findall(runner.invoke(app, ["generate", "a red fox"]).stdout)[0]
        assert len(posts(service)) == 2
    lines = runner.invoke(app, ["history"]).stdout.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["done", "refused"]
    assert made in lines[1]


def test_a_step_that_an_error_advises_can_be_pasted_whatever_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Sandbox(faults=["disconnect"]) as service:
        monkeypatch.setenv("AISA_API_KEY", service.api_key)
        monkeypatch.setenv("AISA_BASE_URL", service.url)
        lost = runner.invoke(app, ["generate", "a red fox", "--out", "my images"])
        steps = re.findall(r"`langchain-wan (resolve [^`]+)`", lost.stderr)
        assert len(steps) == 2
        assert "--out 'my images'" in runner.invoke(app, ["resume", "--out", "my images"]).stderr
        settled = runner.invoke(app, shlex.split(steps[0]))
        assert settled.exit_code == 0, settled.output
        assert runner.invoke(app, ["generate", "a red fox", "--out", "my images"]).exit_code == 0


def test_resume_says_without_python_what_it_could_not_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Sandbox(url_ttl=0) as service:
        monkeypatch.setenv("AISA_API_KEY", service.api_key)
        monkeypatch.setenv("AISA_BASE_URL", service.url)
        lost = runner.invoke(app, ["generate", "a red fox"])
        done = runner.invoke(app, ["resume"])
    assert lost.exit_code == 1
    assert done.exit_code == 0
    assert "could not be resumed" in done.stderr
    for text in (lost.stderr, done.stderr):
        assert not re.search(ADVICE_IN_PYTHON, text), text


def test_resume_fetches_what_was_paid(service: Sandbox, tmp_path: Path) -> None:
    client = WanClient(
        base_url=service.url, api_key=service.api_key, store=WanStore("wan-images"), download_timeout=1e-9
    )
    with pytest.raises(PaidButNotRetrievedError):
        client.generate("a red fox")
    done = runner.invoke(app, ["resume"])
    assert done.exit_code == 0
    made = IMAGE_ID.findall(done.stdout)[0]
    assert (tmp_path / "wan-images" / f"{made}.png").is_file()
    assert "nothing to fetch" in runner.invoke(app, ["resume"]).stderr
    assert len(posts(service)) == 1


def test_a_port_that_is_taken_is_one_line(service: Sandbox) -> None:
    port = service.url.split(":")[2].partition("/")[0]
    done = runner.invoke(app, ["sandbox", "--port", port])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "--port 0" in done.stderr


def test_the_version_is_printed() -> None:
    assert runner.invoke(app, ["--version"]).stdout == f"{__version__}\n"


def test_balance_is_one_line(service: Sandbox) -> None:
    assert re.fullmatch(r"\$\d+\.\d\d\n", runner.invoke(app, ["balance"]).stdout)


def test_balance_without_a_key_says_which_variable_to_set() -> None:
    done = runner.invoke(app, ["balance"])
    assert done.exit_code == 2
    assert "AISA_API_KEY" in done.stderr
    assert not re.search(ADVICE_IN_PYTHON, done.stderr), done.stderr


@pytest.mark.parametrize("step", sorted({refusal.next_step for refusal in REFUSALS.values()}))
def test_what_to_do_about_a_refusal_is_said_without_python(step: str) -> None:
    assert not re.search(ADVICE_IN_PYTHON, to_shell_advice(step, Path("wan-images")))


# Rooms whose errors the command may print, and texts of theirs that only a program can cause.
ROOMS = ["_call", "_services", "_storage", "_net", "_media"]
MODULES = ["budget", "client", "errors", "models", "requests", "settings", "store"]
REACHABLE = [*ROOMS, *(f"{name}.py" for name in MODULES)]
FROM_PROGRAMS = (
    "in-memory",  # the command has a folder
    "does not end",  # an assertion
    "An image to store must be",  # the command stores what it was sent
    "carries no image result",
    "lists the images of its operations",  # the command reads no lineage
    "forked process",  # the command forks none
    "only describes an image",  # such a text does not name a file: the command says so before
)


def find_error_texts() -> Iterator[str]:
    """Each text with which the code makes an error; what is put in when it is made is `VALUE`."""
    package = Path(langchain_wan.__file__).parent
    files = [file for name in REACHABLE for file in [package / name, *(package / name).rglob("*.py")] if file.is_file()]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and re.search(r"(Error|Refusal|error|kind|problem)$", ast.unparse(node.func)):
                values = [*node.args, *(each.value for each in node.keywords if each.arg not in {"advice", "code"})]
                yield from (text for value in values for text in _read_texts(value))


def _read_texts(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "VALUE" for part in value.values)
    elif isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from (*_read_texts(value.body), *_read_texts(value.orelse))


def test_no_error_of_the_package_advises_python_in_a_shell() -> None:
    texts = {text for text in find_error_texts() if not any(words in text for words in FROM_PROGRAMS)}
    texts |= {errors.BLOCKED_UNTIL_SETTLED, errors.RESUME_LATER}
    texts.remove(" bytes")  # the unit of a number
    assert len(texts) > 50
    advice = {text: to_shell_advice(text, Path("cc")) for text in texts}
    assert {text: shown for text, shown in advice.items() if re.search(ADVICE_IN_PYTHON, shown)} == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "x", "--model", "wan9"],
        ["generate", "x", "--image", "img_0000000000000"],
        ["generate", "x", "--max-usd", "0.01"],
        ["generate", "x", "--max-usd", "-1"],
        ["generate", "--from", "numbers.jsonl"],
    ],
)
def test_what_is_wrong_with_a_request_is_said_without_python(
    arguments: list[str], service: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "numbers.jsonl").write_text('{"prompt": "x", "images": [3]}')
    done = runner.invoke(app, arguments)
    assert done.exit_code != 0
    assert not re.search(ADVICE_IN_PYTHON, done.stderr), done.stderr
    assert posts(service) == []


def test_an_address_that_nobody_listens_at_is_named_as_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AISA_API_KEY", "sk-test")
    monkeypatch.setenv("AISA_BASE_URL", "nonsense")
    done = runner.invoke(app, ["generate", "x"])
    assert done.exit_code == 2
    assert done.stderr.startswith("AISA_BASE_URL must be https://")


def test_the_folder_is_a_store_for_python_too(service: Sandbox, tmp_path: Path) -> None:
    made = IMAGE_ID.findall(runner.invoke(app, ["generate", "a red fox"]).stdout)[0]
    image = WanStore(tmp_path / "wan-images").get(made)
    assert image is not None
    assert image.read() == (tmp_path / "wan-images" / f"{made}.png").read_bytes()


@contextmanager
def serve(*options: str) -> Iterator[tuple[str, str]]:
    """Run the sandbox as a command; yield its address and key, then interrupt it."""
    # A job of a shell that runs in the background ignores Ctrl-C, and so would its children.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program += "; from langchain_wan.cli import main; main()"
    command = [sys.executable, "-c", program, "sandbox", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"export AISA_BASE_URL=(http://127\.0\.0\.1:\d+/v1) AISA_API_KEY=(\S+)\n", line)
            assert match is not None
            yield match[1], match[2]
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:  # a test that fails must not wait for it for ever
            process.kill()


def test_the_sandbox_command_serves_until_it_is_interrupted() -> None:
    with serve() as (url, key):
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{url}/models", headers=headers, trust_env=False).status_code == 200


def test_the_sandbox_command_fails_as_it_is_told_to() -> None:
    with serve("--fault", "quota_exceeded", "--fault", "none", "--fault", "internal_error") as (url, key):
        client = httpx.Client(headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30)
        content = [{"type": "text", "text": "a fox"}]
        request = {"model": "wan2.7-image", "n": 1, "messages": [{"role": "user", "content": content}]}
        with client:
            answers = [client.post(f"{url}/chat/completions", json=request) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 200, 500, 200]


def test_the_help_of_the_sandbox_names_each_fault_and_an_unknown_one_is_refused() -> None:
    words = re.findall(r"\w+", runner.invoke(app, ["sandbox", "--help"]).stdout)
    assert [name for name in FAULTS if name not in words] == []
    done = runner.invoke(app, ["sandbox", "--fault", "teapot"])
    assert done.exit_code == 2
    assert "'teapot' is not a fault" in done.stderr
    assert "Traceback" not in done.stderr


def test_size_seed_and_what_not_to_show_are_sent(service: Sandbox, tmp_path: Path) -> None:
    options = ["--size", "1280*720", "--seed", "3", "--negative-prompt", "blur"]
    assert runner.invoke(app, ["generate", "a red fox", *options, "-o", "cc"]).exit_code == 0
    (tmp_path / "prompts.txt").write_text("a red hare\n")
    assert runner.invoke(app, ["generate", "--from", "prompts.txt", *options, "-o", "cc"]).exit_code == 0
    for post in posts(service):
        assert [post.json[name] for name in ("size", "seed", "negative_prompt")] == ["1280*720", 3, "blur"]
    assert len(list((tmp_path / "cc").glob("img_*.png"))) == 2


def test_a_prompt_without_quotes_is_answered_with_quotes(service: Sandbox, tmp_path: Path) -> None:
    done = runner.invoke(app, ["generate", "a", "red", "fox", "-n", "2"])
    assert done.exit_code == 2
    assert "'a red fox'" in done.stderr
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png())
    done = runner.invoke(app, ["generate", "combine", "--image", "a.png", "b.png"])
    assert done.exit_code == 2
    assert "Repeat --image" in done.stderr
    assert posts(service) == []


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_help_is_plain_text_that_begins_with_a_verb_or_a_noun(command: list[str]) -> None:
    done = runner.invoke(app, [*command, "-h"])
    assert done.exit_code == 0
    assert done.stdout == runner.invoke(app, [*command, "--help"]).stdout
    assert not re.search(r"[\u2500-\u257f]|^  .*\.\.\.$", done.stdout, re.MULTILINE)  # no boxes, and nothing is cut off
    assert "-h, --help" in done.stdout


def test_the_shell_completes_commands() -> None:
    variables = {"_LANGCHAIN_WAN_COMPLETE": "complete_bash", "COMP_WORDS": "langchain-wan re", "COMP_CWORD": "1"}
    done = runner.invoke(app, [], env=variables, prog_name="langchain-wan")
    assert done.stdout.split() == ["resume", "resolve"]


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "langchain_wan", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{__version__}\n"
