"""The command `langchain-wan`."""

from langchain_wan.cli.app import main

__all__ = ["main"]
