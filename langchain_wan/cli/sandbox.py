"""`langchain-wan sandbox`: run the fake service until Ctrl-C."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from langchain_wan.cli.output import err
from langchain_wan.sandbox.answers import FAULTS
from langchain_wan.settings import KEY_VARIABLE

FAULT_NAMES = f"Faults: none, {', '.join(FAULTS)}."


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="NUMBER", help="Port; 0 for any free port.")] = 8377,
    latency: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Seconds that each request takes.")] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Fault of the first paid request, or none; repeat it for the next requests."),
    ] = None,
) -> None:
    """Run a fake service on this machine until Ctrl-C."""
    from langchain_wan.sandbox.app import Sandbox

    faults = [None if name == "none" else name for name in fault or []]
    try:
        service = Sandbox(port=port, latency=latency, faults=faults)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from None
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
