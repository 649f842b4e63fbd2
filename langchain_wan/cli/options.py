"""Options that several commands have."""

from __future__ import annotations

import typer

Folder = typer.Option("--out", "-o", metavar="FOLDER", help="Output folder, also the image store.")
