"""`langchain-wan generate`: make images of one prompt, or of a file of them."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from langchain_wan._services.catalog import price_usd
from langchain_wan.budget import Budget
from langchain_wan.cli.batch import Batch, generate_batch, report_problems
from langchain_wan.cli.calls import AbandonedError, Calls
from langchain_wan.cli.files import save_result
from langchain_wan.cli.in_flight import print_abandoned, print_waiting
from langchain_wan.cli.options import ARGUMENTS, Folder
from langchain_wan.cli.output import err, print_result, report_errors, show_spinner
from langchain_wan.cli.request_file import STANDARD_INPUT, read_file
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER
from langchain_wan.cli.sources import build_finder
from langchain_wan.cli.streams import stdout
from langchain_wan.client import WanClient
from langchain_wan.errors import WanError
from langchain_wan.requests import ImageRequest
from langchain_wan.runnables import build_request
from langchain_wan.settings import DEFAULT_MODEL, KEY_VARIABLE
from langchain_wan.store import WanStore


def generate(
    context: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="What to show or to change; - reads standard input.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=4, metavar="NUMBER", help="Number of images; each is billed.")] = 1,
    model: Annotated[str, typer.Option(metavar="NAME", help="Model: wan2.7-image or wan2.7-image-pro.")] = (
        DEFAULT_MODEL
    ),
    image: Annotated[
        list[str] | None, typer.Option(metavar="IMAGE", help="Input image: file, URL or id; repeat it for several.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="SIZE", help="Size, such as 2K, 16:9 or 1280*720.")] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Seed; the same seed gives similar images.")
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="What not to show.")] = None,
    folder: Annotated[Path, Folder] = DEFAULT_FOLDER,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Use the local sandbox: placeholders, no cost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="File with a prompt on each line, or .jsonl. A second run makes the rest."
        ),
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the batch, instead of the path of the file.")
    ] = None,
    redo: Annotated[
        list[int] | None,
        typer.Option(metavar="LINE", help="Line of the file to pay for once more; repeat it for several."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="With --from: number of calls at once.")
    ] = 5,
    max_usd: Annotated[
        str | None,
        typer.Option(metavar="DOLLARS", help="Spending limit; with --from, for all runs of the file together."),
    ] = None,
) -> None:
    """Make, edit or combine images."""
    if context.args:
        raise typer.BadParameter(_explain_extra_words([prompt or "", *context.args]), param_hint="PROMPT")
    if (prompt is None) == (file is None):
        raise typer.BadParameter("Give either a prompt or --from FILE.", param_hint="PROMPT")
    if file is not None and as_json:
        raise typer.BadParameter("A batch writes a contact sheet; --json is for a single prompt.", param_hint="--json")
    if file is None and (batch is not None or redo):
        raise typer.BadParameter("This option needs --from FILE.", param_hint="--batch" if batch else "--redo")
    fields: dict[str, Any] = {"n": n, "model": model, "images": image or []}
    optional = {"size": size, "seed": seed, "negative_prompt": negative_prompt}
    fields |= {name: value for name, value in optional.items() if value is not None}
    with report_errors(folder), ExitStack() as stack:
        limit, connect = _build_budget(max_usd), partial(_choose_service, sandbox, stack)
        if file is not None:
            arguments = context.meta[ARGUMENTS]
            generate_batch(Batch(file, batch, fields, folder, redo or [], concurrency, limit, arguments), connect)
            return
        if prompt == STANDARD_INPUT:
            with report_problems(folder):
                prompt = read_file(Path(STANDARD_INPUT)).text.strip()
        images = [build_finder(folder)(source) for source in image or []]
        request = build_request({**fields, "prompt": prompt, "images": images})
        price_usd(model)
        _generate_one(request, WanClient(store=WanStore(folder), budget=limit, **connect()), folder, as_json)


def _explain_extra_words(words: Sequence[str]) -> str:
    if all(Path(word).is_file() for word in words[1:]):
        return "Repeat --image before each input image."
    return f"Put a prompt of several words in quotes: {shlex.quote(' '.join(words))}"


def _generate_one(request: ImageRequest, client: WanClient, folder: Path, as_json: bool) -> None:
    calls = Calls(client, lambda _: print_waiting("the call"))
    try:
        with show_spinner(f"{request.model} is working"):
            (call,) = [*calls.run([request]), *filter(None, [calls.over_budget])]
    except AbandonedError as error:
        print_abandoned(client, error, folder, lambda _: "the call")
        raise typer.Exit(130) from None
    if call.result is None:
        raise cast("WanError", call.error)
    saved = save_result(call.result, folder)
    if as_json:
        files = [None if file is None else str(file) for file in saved.files]
        print(json.dumps({**call.result.model_dump(mode="json"), "files": files}, indent=2), file=stdout)
    else:
        print_result(call.result, saved.files)
    if saved.error is not None:
        raise saved.error
    if calls.interrupted:
        raise typer.Exit(130)


def _build_budget(max_usd: str | None) -> Budget | None:
    try:
        return None if max_usd is None else Budget(max_usd=max_usd)
    except ValueError as error:
        raise typer.BadParameter(str(error).removeprefix("max_usd "), param_hint="--max-usd") from None


def _choose_service(sandbox: bool, stack: ExitStack) -> dict[str, Any]:
    """Return the settings of the real service, or of a sandbox where that is asked for or there is no key."""
    if not sandbox and os.environ.get(KEY_VARIABLE, "").strip():
        return {}
    from langchain_wan.sandbox.app import Sandbox

    if not sandbox:
        err.print(f"No {KEY_VARIABLE}: using the local sandbox; the images are placeholders.")
    service = stack.enter_context(Sandbox())
    return {"base_url": service.url, "api_key": service.api_key}
