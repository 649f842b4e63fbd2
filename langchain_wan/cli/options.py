"""Options that several commands have."""

from __future__ import annotations

import typer

Folder = typer.Option("--out", help="Output folder, also the image store.")
