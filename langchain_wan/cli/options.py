"""Options that several commands have."""

from __future__ import annotations

import typer

Folder = typer.Option("--out", "-o", metavar="FOLDER", help="Output folder, also the image store.")
ARGUMENTS = "langchain-wan arguments"  # the name of the whole command line in the context of a command
