"""`langchain-wan resume`: fetch what was paid for and is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from langchain_wan.cli.options import Folder
from langchain_wan.cli.output import err, print_result, report_errors, save_image
from langchain_wan.cli.shell_advice import DEFAULT_FOLDER, name_store
from langchain_wan.client import WanClient
from langchain_wan.store import WanStore


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
