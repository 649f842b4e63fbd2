"""`langchain-wan balance`: what is left on the account."""

from __future__ import annotations

from langchain_wan.cli.output import out, report_errors
from langchain_wan.client import WanClient


def balance() -> None:
    """Print the dollars left on the account."""
    with report_errors():
        out.print(f"${WanClient().balance():.2f}", highlight=False)
