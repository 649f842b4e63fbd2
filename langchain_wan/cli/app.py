"""The command `langchain-wan`: make and edit images from a terminal, and run the sandbox.

Exit codes: 0; 1 where the service, the budget or the store said no; 2 for a wrong command line.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from langchain_wan.budget import Budget
from langchain_wan.cli.output import describe_error, err, out, print_result, report_errors, save_image, show_spinner
from langchain_wan.client import WanClient
from langchain_wan.models import IMAGE_ID
from langchain_wan.runnables import build_request
from langchain_wan.settings import DEFAULT_MODEL, KEY_VARIABLE
from langchain_wan.store import WanStore

try:
    import typer
    from rich.table import Table
    from rich.text import Text
except ImportError as error:  # pragma: no cover  the message is all there is
    raise SystemExit("langchain-wan needs its extra: pip install 'langchain-wan[cli]'") from error

DEFAULT_FOLDER = Path("wan-images")
Folder = typer.Option("--out", help="Where images land; also the store.")

app = typer.Typer(help="Make and edit images with Wan 2.7.", no_args_is_help=True, add_completion=False)


def main() -> None:
    """Run the command line."""
    app()


def _version(shown: bool) -> None:
    if shown:
        print(version("langchain-wan"))  # noqa: T201  the output of the option
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Make and edit images with Wan 2.7."""


@app.command()
def generate(
    prompt: Annotated[str | None, typer.Argument(help="What to show, or how to change the images.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=4, help="How many images; each is charged.")] = 1,
    model: Annotated[str, typer.Option(help="wan2.7-image or wan2.7-image-pro.")] = DEFAULT_MODEL,
    image: Annotated[list[str] | None, typer.Option(help="A file, URL or id to edit; again for several.")] = None,
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Use the sandbox: placeholders, no cost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    file: Annotated[
        Path | None, typer.Option("--from", help="A prompt on each line, or .jsonl; again: the rest.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="With --from: calls at once.")] = 5,
    max_usd: Annotated[str | None, typer.Option(help="Dollars at most; with --from for all runs of the file.")] = None,
) -> None:
    """Make, edit or combine images."""
    if (prompt is None) == (file is None):
        raise typer.BadParameter("give a prompt, or a file with --from", param_hint="PROMPT")
    if file is not None and as_json:
        raise typer.BadParameter("a batch ends with a contact sheet, not with JSON", param_hint="--json")
    given = {"n": n, "model": model, "images": image or []}
    with report_errors(), ExitStack() as stack:
        settings = {"store": WanStore(folder), "budget": _budget(max_usd, file), **_service(sandbox, stack)}
        if file is not None:
            _generate_all(file, given, folder, {**settings, "max_concurrency": concurrency})
            return
        request = build_request({**given, "prompt": prompt, "images": [_source(i) for i in image or []]})
        with show_spinner(f"{model} is working"):
            result = WanClient(**settings).generate(request)
        files = [save_image(found, folder) for found in result.images]
    if as_json:
        shown = {**result.model_dump(mode="json"), "files": [str(file) for file in files]}
        print(json.dumps(shown, indent=2))  # noqa: T201  the output of the command
    else:
        print_result(result, files)


def _budget(max_usd: str | None, file: Path | None) -> Budget | None:
    if max_usd is None:
        return None
    # Named by the file: another run goes on counting.
    name = None if file is None else f"batch {file.absolute()}"
    try:
        return Budget(max_usd=max_usd, name=name)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-usd") from None


def _generate_all(file: Path, given: dict[str, Any], folder: Path, settings: dict[str, Any]) -> None:
    from langchain_wan.cli.batch import SHEET, read_lines, run_batch, spent_on

    if not file.is_file():
        raise typer.BadParameter(f"there is no file {file}", param_hint="--from")
    lines = read_lines(file, given, _source)
    found = run_batch(WanClient(**settings), lines, folder, file.name, err)
    for one in found:
        if one.error is not None:
            err.print(f"line {one.line.number}: {describe_error(one.error)}")
    failed = [one for one in found if one.error is not None]
    out.print(f"{len(found) - len(failed)} of {len(lines)} lines done, ${spent_on(found):f}: {folder / SHEET}")
    if failed:
        raise typer.Exit(1)


@app.command()
def history(
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
) -> None:
    """List what was made and paid: state, cost, images and the images that they were made from."""
    with report_errors():
        entries = WanStore(folder).history(limit) if folder.is_dir() else []
    if not entries:
        err.print(f"Nothing yet in {folder}.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("when", "state", "cost", "images", "from"):
        table.add_column(column, no_wrap=True)
    table.add_column("prompt", no_wrap=True, overflow="ellipsis")
    for entry in entries:
        when = entry.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        state = entry.state if entry.service.startswith("https:") else f"{entry.state} (sandbox)"
        images, parents = "\n".join(entry.images), "\n".join(entry.parents)
        table.add_row(when, state, f"${entry.cost_usd:f}", images, parents, Text(" ".join(entry.prompt.split())))
    out.print(table)


@app.command()
def resume(folder: Annotated[Path, Folder] = DEFAULT_FOLDER) -> None:
    """Fetch images that were paid for and not retrieved; pays nothing."""
    with report_errors():
        client = WanClient(store=WanStore(folder))
        results = client.resume()
        for result in results:
            print_result(result, [save_image(image, folder) for image in result.images])
        left = client.store.unfinished()
    if not results:
        err.print("There is nothing to fetch.")
    for entry in left:
        err.print(f"{entry.operation_id} is {entry.state}, ${entry.cost_usd:f}: {' '.join(entry.prompt.split())[:60]}")


@app.command()
def resolve(
    operation: Annotated[str, typer.Argument(help="As `history`, `resume` or the error names it.")],
    charged: Annotated[bool, typer.Option("--charged/--not-charged", help="What the account says.")],
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
) -> None:
    """Settle a call whose outcome is unknown, so that an equal one may be sent again."""
    try:
        with report_errors():
            WanStore(folder).resolve(operation, "charged" if charged else "not_charged")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="OPERATION") from None


@app.command()
def balance() -> None:
    """Print the dollars left on the account."""
    with report_errors():
        print(f"${WanClient().balance():.2f}")  # noqa: T201  the output of the command


@app.command("sandbox")
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8377,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that each generation takes.")] = 0,
) -> None:
    """Run the pretend service on this machine until Ctrl-C."""
    from langchain_wan.sandbox.app import Sandbox

    service = Sandbox(port=port, latency=latency)
    try:
        service.start()
    except OSError as error:
        err.print(f"The sandbox can't listen on port {port}: {error.strerror}. Try --port 0.")
        raise typer.Exit(1) from None
    try:
        print(f"export AISA_BASE_URL={service.url} {KEY_VARIABLE}={service.api_key}", flush=True)  # noqa: T201
        err.print("The sandbox draws placeholders and charges nothing. Ctrl-C ends it.")
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
    finally:
        service.stop()


def _service(sandbox: bool, stack: ExitStack) -> dict[str, Any]:
    """Return the settings of the real service, or of a sandbox where that is asked for or there is no key."""
    if not sandbox and os.environ.get(KEY_VARIABLE, "").strip():
        return {}
    from langchain_wan.sandbox.app import Sandbox

    if not sandbox:
        err.print(f"No {KEY_VARIABLE}: using the built-in sandbox; the pictures are placeholders.")
    service = stack.enter_context(Sandbox())
    return {"base_url": service.url, "api_key": service.api_key}


def _source(text: str) -> str | Path:
    # A person at a terminal may name files; ids, URLs and data URIs are told apart first.
    if IMAGE_ID.fullmatch(text) or text.lower().startswith(("http://", "https://", "data:")):
        return text
    path = Path(text).expanduser()
    if not path.is_file():
        raise typer.BadParameter(f"{text!r} is no file, no URL and no image id", param_hint="--image")
    return path
