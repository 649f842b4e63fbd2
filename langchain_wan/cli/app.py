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

import typer
from rich.table import Table
from rich.text import Text

from langchain_wan.budget import Budget
from langchain_wan.cli.output import err, out, print_result, report_errors, save_image, show_spinner
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER, name_store, to_shell_advice
from langchain_wan.client import WanClient
from langchain_wan.models import IMAGE_ID
from langchain_wan.runnables import build_request
from langchain_wan.settings import DEFAULT_MODEL, KEY_VARIABLE
from langchain_wan.store import WanStore

Folder = typer.Option("--out", help="Output folder, also the image store.")

app = typer.Typer(help="Make and edit images with Wan 2.7.", no_args_is_help=True, add_completion=False)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print(version("langchain-wan"))  # noqa: T201  the output of the option
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Make and edit images with Wan 2.7."""


@app.command()
def generate(
    prompt: Annotated[str | None, typer.Argument(help="Prompt: what to show, or how to change the images.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=4, help="Number of images; each is billed.")] = 1,
    model: Annotated[str, typer.Option(help="Model: wan2.7-image or wan2.7-image-pro.")] = DEFAULT_MODEL,
    image: Annotated[
        list[str] | None, typer.Option(help="Input image: file, URL or id; repeat it for several.")
    ] = None,
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Use the local sandbox: placeholders, no cost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    file: Annotated[
        Path | None,
        typer.Option("--from", help="File of requests: a prompt a line, or .jsonl. A second run makes the rest."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Number of calls at once, with --from.")] = 5,
    max_usd: Annotated[str | None, typer.Option(help="Limit in dollars; with --from for all runs of the file.")] = None,
) -> None:
    """Make, edit or combine images."""
    if (prompt is None) == (file is None):
        raise typer.BadParameter("Give a prompt, or a file with --from.", param_hint="PROMPT")
    if file is not None and as_json:
        raise typer.BadParameter("A batch writes a contact sheet; --json is for a single prompt.", param_hint="--json")
    fields = {"n": n, "model": model, "images": image or []}
    with report_errors(folder), ExitStack() as stack:
        settings = {
            "store": WanStore(folder),
            "budget": _build_budget(max_usd, file),
            **_choose_service(sandbox, stack),
        }
        if file is not None:
            _generate_all(file, fields, folder, {**settings, "max_concurrency": concurrency})
            return
        request = build_request({**fields, "prompt": prompt, "images": [_find_source(text) for text in image or []]})
        with show_spinner(f"{model} is working"):
            result = WanClient(**settings).generate(request)
        files = [save_image(image, folder) for image in result.images]
    if as_json:
        values = {**result.model_dump(mode="json"), "files": [str(file) for file in files]}
        print(json.dumps(values, indent=2))  # noqa: T201  the output of the command
    else:
        print_result(result, files)


def _build_budget(max_usd: str | None, file: Path | None) -> Budget | None:
    if max_usd is None:
        return None
    # Named by the file: another run goes on counting.
    name = None if file is None else f"batch {file.absolute()}"
    try:
        return Budget(max_usd=max_usd, name=name)
    except ValueError as error:
        raise typer.BadParameter(to_shell_advice(str(error), DEFAULT_FOLDER), param_hint="--max-usd") from None


def _generate_all(file: Path, fields: dict[str, Any], folder: Path, settings: dict[str, Any]) -> None:
    from langchain_wan.cli.batch import SHEET, run_batch, sum_cost
    from langchain_wan.cli.request_file import read_lines

    if not file.is_file():
        raise typer.BadParameter(f"No such file: {file}", param_hint="--from")
    lines = read_lines(file, fields, _find_source)
    results = run_batch(WanClient(**settings), lines, folder, file.name, err)
    errors = {result.line.number: result.error for result in results if result.error is not None}
    for number, error in errors.items():
        err.print(f"line {number}: {to_shell_advice(str(error), folder)}")
    out.print(f"{len(results) - len(errors)} of {len(lines)} lines done, ${sum_cost(results):f}: {folder / SHEET}")
    if errors:
        raise typer.Exit(1)


@app.command()
def history(
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
    limit: Annotated[int, typer.Option(min=1, help="Number of operations, newest first.")] = 20,
) -> None:
    """List paid calls, newest first: state, cost, images, and their input images."""
    with report_errors(folder):
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
    """Fetch paid images that are missing, at no cost."""
    with report_errors(folder):
        client = WanClient(store=WanStore(folder))
        results = client.resume()
        for result in results:
            print_result(result, [save_image(image, folder) for image in result.images])
        unfinished = client.store.unfinished()
    if not results:
        err.print("There is nothing to fetch.")
    for entry in unfinished:
        err.print(f"{entry.operation_id} is {entry.state}, ${entry.cost_usd:f}: {' '.join(entry.prompt.split())[:60]}")
    if any(entry.state == "uncertain" for entry in unfinished):
        step = f"`langchain-wan resolve ID --not-charged{name_store(folder)}` (or --charged)"
        err.print(f"Check the account for each uncertain call, then settle it: {step}.")


@app.command()
def resolve(
    operation: Annotated[str, typer.Argument(help="Operation id, as the error and `resume` print it.")],
    charged: Annotated[bool, typer.Option("--charged/--not-charged", help="Outcome that the account shows.")],
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
) -> None:
    """Settle a call whose outcome is unknown."""
    try:
        with report_errors(folder):
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
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free port.")] = 8377,
    latency: Annotated[float, typer.Option(min=0, help="Latency of each request in seconds.")] = 0,
) -> None:
    """Run a fake service on this machine until Ctrl-C."""
    from langchain_wan.sandbox.app import Sandbox

    service = Sandbox(port=port, latency=latency)
    try:
        service.start()
    except OSError as error:
        err.print(f"The sandbox can't listen on port {port}: {error.strerror}. Try --port 0.")
        raise typer.Exit(1) from None
    try:
        print(f"export AISA_BASE_URL={service.url} {KEY_VARIABLE}={service.api_key}", flush=True)  # noqa: T201
        err.print("The sandbox draws placeholder images and charges nothing. Ctrl-C stops it.")
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
    finally:
        service.stop()


def _choose_service(sandbox: bool, stack: ExitStack) -> dict[str, Any]:
    """Return the settings of the real service, or of a sandbox where that is asked for or there is no key."""
    if not sandbox and os.environ.get(KEY_VARIABLE, "").strip():
        return {}
    from langchain_wan.sandbox.app import Sandbox

    if not sandbox:
        err.print(f"No {KEY_VARIABLE}: using the local sandbox; the images are placeholders.")
    service = stack.enter_context(Sandbox())
    return {"base_url": service.url, "api_key": service.api_key}


def _find_source(text: str) -> str | Path:
    # A person at a terminal may name files; ids, URLs and data URIs are told apart first.
    if IMAGE_ID.fullmatch(text) or text.lower().startswith(("http://", "https://", "data:")):
        return text
    path = Path(text).expanduser()
    if not path.is_file():
        raise typer.BadParameter(f"No such file, URL or image id: {text}", param_hint="--image")
    return path
