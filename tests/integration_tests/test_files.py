"""The files that the command writes: its own only, whole, private; what goes wrong after a payment is a line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import shlex
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from langchain_wan import WanClient, WanStore
from langchain_wan.errors import PaidButNotRetrievedError
from langchain_wan.models import GeneratedImage
from langchain_wan.sandbox.app import Sandbox
from tests.support import faults
from tests.support.fault_server import FaultServer, answer, reply
from tests.support.images import data_uri, png
from tests.support.services import access, posts
from tests.support.terminals import COMMAND

IMAGES = {name: WanStore().add(png(name)).id for name in ("red", "blue", "green")}
RED, PNG = IMAGES["red"], png("red")
Ended = subprocess.CompletedProcess[str]
Run = Callable[..., Ended]


@pytest.fixture
def server() -> Any:
    with FaultServer(*[reply(200, answer(data_uri(name))) for name in ("red", "blue", "green")]) as service:
        yield service


@pytest.fixture
def run(server: FaultServer, tmp_path: Path) -> Run:
    """Run the command in a process of its own."""

    def run_command(*arguments: str, **options: Any) -> Ended:
        environment = {**os.environ, "AISA_API_KEY": server.api_key, "AISA_BASE_URL": server.url}
        usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment, "cwd": tmp_path}
        done: Ended = subprocess.run([COMMAND, *arguments], text=True, check=False, timeout=120, **{**usual, **options})
        assert "Traceback" not in (done.stderr or "") + (done.stdout or "")
        return done

    return run_command


def limit_files(most: int) -> Callable[[], None]:
    """Let no file of a process grow beyond so many bytes, as if its disk were full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def file(folder: Path) -> Callable[[Path], object]:
    return lambda target: target.write_text("a person's own")


def link(folder: Path) -> Callable[[Path], object]:
    (folder / "own.txt").write_text("a person's own")
    return lambda target: target.symlink_to(folder / "own.txt")


def dangling_link(folder: Path) -> Callable[[Path], object]:
    return lambda target: target.symlink_to(folder / "nothing")


def folder(folder: Path) -> Callable[[Path], object]:
    return lambda target: target.mkdir()


def pipe(folder: Path) -> Callable[[Path], object]:
    return os.mkfifo


IN_THE_WAY = pytest.mark.parametrize("put", [file, link, dangling_link, folder, pipe], ids=lambda put: put.__name__)


def look_at(path: Path) -> tuple[Any, ...]:
    """What must not change of something: its kind, what it leads to, and what a person wrote."""
    kind = stat.S_IFMT(path.lstat().st_mode)
    text = path.read_text() if path.is_file() else None
    return kind, text, path.lstat().st_ino, path.exists() and not path.is_dir()


def follow_advice(done: Ended, run: Run) -> Ended:
    (command,) = re.findall(r"`langchain-wan (save [^`]+)`", done.stderr)
    return run(*shlex.split(command))


@IN_THE_WAY
def test_what_has_the_name_of_an_image_stays_and_one_line_says_where_the_image_is(
    put: Any, run: Run, server: FaultServer, tmp_path: Path
) -> None:
    target = tmp_path / "my images" / f"{RED}.png"
    target.parent.mkdir()
    put(tmp_path)(target)
    before = look_at(target)
    done = run("generate", "a fox", "--out", "my images")
    assert done.returncode == 1
    assert RED in done.stdout
    (line,) = done.stderr.splitlines()
    assert re.match(r"my images/img_\w+\.png can't be written: .* has this name\. It was charged \(\$0\.03\)\. ", line)
    assert follow_advice(done, run).stdout == f"{RED}.png\n"
    assert (tmp_path / f"{RED}.png").read_bytes() == PNG
    assert look_at(target) == before
    assert len(posts(server)) == 1


@pytest.mark.parametrize("put", [link, folder], ids=lambda put: put.__name__)
def test_a_line_whose_file_can_not_be_written_stops_no_other_and_a_later_run_writes_it(
    put: Any, run: Run, server: FaultServer, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\nc\n")
    target = tmp_path / "wan-images" / f"{RED}.png"
    target.parent.mkdir()
    put(tmp_path)(target)
    batch = ["generate", "--from", "prompts.txt", "--concurrency", "1"]
    done = run(*batch)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"line 1: wan-images/{RED}.png can't be written: ")
    assert "It was charged ($0.03)." in line
    assert "0 already done, 2 new, $0.09 this run, $0.09 in all; 1 failed: wan-images/contact-sheet.html" in done.stdout
    assert sorted(path.stem for path in target.parent.glob("img_*.png") if path != target) == sorted(
        [IMAGES["blue"], IMAGES["green"]]
    )
    assert follow_advice(done, run).returncode == 0
    target.rename(tmp_path / "moved away")
    assert "3 already done, 0 new, $0.00 this run" in run(*batch).stdout
    assert target.read_bytes() == PNG
    assert len(posts(server)) == 3


def test_resume_says_what_it_could_not_write_and_writes_the_others(sandbox: Sandbox, run: Run, tmp_path: Path) -> None:
    store = WanStore(tmp_path / "wan-images")
    client = WanClient(**access(sandbox, store=store, download_timeout=1e-9))
    for prompt in ("a fox", "a hare"):
        with pytest.raises(PaidButNotRetrievedError):
            client.generate(prompt)
    raw = next((tmp_path / "wan-images" / "raw").iterdir()).read_text()
    image = WanStore().add(httpx.get(re.findall(r'http[^"]+', raw)[0]).content)
    link(tmp_path)(tmp_path / "wan-images" / f"{image.id}.png")
    done = run("resume", env={**os.environ, "AISA_API_KEY": sandbox.api_key, "AISA_BASE_URL": sandbox.url})
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"wan-images/{image.id}.png can't be written: a symbolic link has this name. ")
    assert len(list((tmp_path / "wan-images").glob("img_*.png"))) == 2
    assert follow_advice(done, run).returncode == 0
    assert (tmp_path / f"{image.id}.png").read_bytes() == image.read()
    assert (tmp_path / "own.txt").read_text() == "a person's own"
    assert len(posts(sandbox)) == 2


@IN_THE_WAY
def test_the_sheet_replaces_nothing_but_a_sheet(put: Any, run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\n")
    page = tmp_path / "wan-images" / "contact-sheet.html"
    page.parent.mkdir()
    put(tmp_path)(page)
    before = look_at(page)
    done = run("generate", "--from", "prompts.txt")
    assert done.returncode == 0
    assert done.stdout.endswith(": wan-images/contact-sheet-2.html\n")
    assert look_at(page) == before
    second = page.with_name("contact-sheet-2.html")
    mine = second.read_text()
    assert run("generate", "--from", "prompts.txt").stdout.endswith(": wan-images/contact-sheet-2.html\n")
    second.write_text(mine.replace("<h1>", "<h1>My foxes: "))  # now it is a person's
    assert run("generate", "--from", "prompts.txt").stdout.endswith(": wan-images/contact-sheet-3.html\n")
    assert "My foxes" in second.read_text()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_are_for_their_owner_only_whatever_the_umask(umask: int, run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\n")
    assert run("generate", "--from", "prompts.txt", umask=umask).returncode == 0
    assert run("save", RED, "--to", "copies", umask=umask).returncode == 0
    for path in (*(tmp_path / "wan-images").rglob("*"), *(tmp_path / "copies").iterdir()):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert (tmp_path / "wan-images").stat().st_mode & 0o777 == 0o700


def test_a_sheet_that_a_full_disk_refuses_is_a_line(run: Run, server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("".join("&" * 4990 + f"{number}\n" for number in range(4)))
    batch = ["generate", "--from", "prompts.txt"]
    assert run(*batch).returncode == 0
    sheet = tmp_path / "wan-images" / "contact-sheet.html"
    before = sheet.read_bytes()
    done = run(*batch, preexec_fn=limit_files(len(before) // 2))
    assert done.returncode == 1
    assert "wan-images/contact-sheet.html can't be written: File too large. " in done.stderr
    assert "4 already done, 0 new" in done.stdout
    assert sheet.read_bytes() == before
    assert not list(sheet.parent.glob(".*.part"))
    assert len(posts(server)) == 4


@pytest.mark.parametrize("most", [500, 5_000, 60_000, 120_000])
def test_a_disk_that_is_full_at_any_moment_costs_no_second_payment(
    most: int, run: Run, server: FaultServer, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\nc\n")
    batch = ["generate", "--from", "prompts.txt", "--concurrency", "1"]
    run(*batch, preexec_fn=limit_files(most))
    run("resume")
    run(*batch)
    assert len(posts(server)) <= 3


@pytest.mark.parametrize("arguments", [["a fox"], ["--from", "prompts.txt"]], ids=["generate", "batch"])
@pytest.mark.parametrize("change", ["deleted", "moved", "read-only"])
def test_a_folder_that_breaks_during_a_call_leaves_the_image_or_a_line(
    change: str, arguments: list[str], tmp_path: Path
) -> None:
    released, folder = threading.Event(), tmp_path / "wan-images"
    (tmp_path / "prompts.txt").write_text("a fox\n\na hare\n")
    with FaultServer(reply(200, answer(data_uri()), when=released)) as server:
        environment = {**os.environ, "AISA_API_KEY": server.api_key, "AISA_BASE_URL": server.url}
        process = subprocess.Popen(
            [COMMAND, "generate", *arguments],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            while len(posts(server)) < len(arguments) and process.poll() is None:
                released.wait(0.05)
            with contextlib.ExitStack() as stack:
                if change == "read-only":
                    stack.enter_context(faults.read_only(folder))
                elif change == "moved":
                    folder.rename(tmp_path / "elsewhere")
                else:
                    shutil.rmtree(folder)
                released.set()
                _, stderr = process.communicate(timeout=120)
        assert len(posts(server)) == len(arguments)
    assert "Traceback" not in stderr
    assert ".py:" not in stderr
    assert (folder / f"{RED}.png").is_file() or stderr.count("charged") >= len(arguments)


@pytest.mark.parametrize("stream", ["full", "closed", "head"])
@pytest.mark.parametrize("arguments", [["a fox"], ["a fox", "--json"], ["--from", "prompts.txt"]], ids=" ".join)
def test_output_that_nobody_takes_loses_no_image(
    stream: str, arguments: list[str], run: Run, server: FaultServer, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\n")
    reader, writer = os.pipe()
    os.close(reader)
    options: dict[str, Any] = {"preexec_fn": lambda: os.close(1)} if stream == "closed" else {"stdout": writer}
    with Path("/dev/full").open("w") as full:
        done = run("generate", *arguments, **({"stdout": full} if stream == "full" else options))
    os.close(writer)
    count = 2 if "--from" in arguments else 1
    assert len(list((tmp_path / "wan-images").glob("img_*.png"))) == len(posts(server)) == count
    assert done.returncode == (0 if stream == "closed" else 1)
    expected = (
        "The output can't be written: No space left on device. What was made and billed: `langchain-wan history`.\n"
    )
    assert done.stderr == (expected if stream == "full" else "")


def test_messages_that_nobody_takes_stop_no_line(run: Run, server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a\nb\n")
    (tmp_path / "wan-images" / f"{RED}.png").mkdir(parents=True)
    with Path("/dev/full").open("w") as full:
        done = run("generate", "--from", "prompts.txt", stderr=full)
    assert "2 new" in done.stdout or "1 new" in done.stdout
    assert "1 failed" in done.stdout
    assert len(posts(server)) == 2


def test_a_history_whose_reader_went_away_is_silent(run: Run, tmp_path: Path) -> None:
    run("generate", "a fox")
    for arguments in (["history"], ["history", "--json"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        assert run(*arguments, stdout=writer).stderr == ""
        os.close(writer)


def test_completion_that_can_not_be_installed_is_a_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").mkdir()
    done = run("--install-completion", "bash", env={**os.environ, "HOME": str(tmp_path)})
    assert done.stderr == f"{tmp_path}/.bashrc can't be written: Is a directory.\n"


# In Python a path that somebody names is theirs; a name that is made of the id is not their choice.


@pytest.fixture
def image(tmp_path: Path) -> GeneratedImage:
    return WanStore(tmp_path / "store").add(PNG)


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def save(request: pytest.FixtureRequest) -> Callable[[GeneratedImage, Path], Path]:
    if request.param:
        return lambda image, path: asyncio.run(image.asave(path))
    return lambda image, path: image.save(path)


def test_save_replaces_a_file_that_is_named_and_keeps_its_mode_and_a_link(
    image: GeneratedImage, save: Callable[[GeneratedImage, Path], Path], tmp_path: Path
) -> None:
    target, latest = tmp_path / "fox.png", tmp_path / "latest.png"
    target.write_text("old")
    target.chmod(0o640)
    latest.symlink_to(target)
    assert save(image, latest) == latest
    assert latest.is_symlink()
    assert target.read_bytes() == PNG
    assert target.stat().st_mode & 0o777 == 0o640
    before = os.umask(0o027)
    new = save(image, tmp_path / "new.png")
    os.umask(before)
    assert new.stat().st_mode & 0o777 == 0o640


def test_save_leaves_a_file_whole_when_the_disk_is_full(
    image: GeneratedImage, save: Callable[[GeneratedImage, Path], Path], tmp_path: Path
) -> None:
    target = tmp_path / "fox.png"
    target.write_text("old")
    with faults.full_disk(100), pytest.raises(OSError, match="large"):
        save(image, target)
    assert target.read_text() == "old"
    assert not list(tmp_path.glob(".*"))


@IN_THE_WAY
def test_save_into_a_folder_replaces_nothing_but_the_image(
    put: Any, image: GeneratedImage, save: Callable[[GeneratedImage, Path], Path], tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    target = pictures / f"{image.id}.png"
    pictures.mkdir()
    save(image, pictures)
    assert save(image, pictures).read_bytes() == PNG  # it is there already
    target.unlink()
    put(tmp_path)(target)
    before = look_at(target)
    with pytest.raises(FileExistsError, match="has this name"):
        save(image, pictures)
    assert look_at(target) == before
