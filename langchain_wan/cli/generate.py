"""`langchain-wan generate`: make images of one prompt, or of a file of them."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from langchain_wan._storage.ids import IMAGE_ID
from langchain_wan.budget import Budget
from langchain_wan.cli.options import Folder
from langchain_wan.cli.output import err, out, print_result, report_errors, save_image, show_spinner
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER, to_shell_advice
from langchain_wan.client import WanClient
from langchain_wan.runnables import build_request
from langchain_wan.settings import DEFAULT_MODEL, KEY_VARIABLE
from langchain_wan.store import WanStore


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
