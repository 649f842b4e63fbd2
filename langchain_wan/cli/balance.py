"""`langchain-wan balance`: what is left on the account."""

from __future__ import annotations

from langchain_wan.cli.output import report_errors
from langchain_wan.client import WanClient


def balance() -> None:
    """Print the dollars left on the account."""
    with report_errors():
        print(f"${WanClient().balance():.2f}")  # noqa: T201  the output of the command
