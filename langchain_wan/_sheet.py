"""A contact sheet: a page of pictures with their prompts, ids and costs, that opens from the disk."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

from langchain_wan._gallery import inline

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --muted: color-mix(in srgb, currentColor 65%, transparent) }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1200px; padding: 24px 16px }}
h1 {{ font-size: 22px; margin: 0 0 4px }}
p {{ margin: 0 0 20px; color: var(--muted) }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 220px), 1fr)); gap: 20px 16px }}
figure {{ margin: 0 }}
img {{ display: block; width: 100%; border-radius: 8px }}
figcaption {{ margin-top: 6px; overflow-wrap: anywhere }}
small, .none {{ color: var(--muted); font-size: 13px }}
.none {{ border: 1px dashed; border-radius: 8px; padding: 24px 12px; text-align: center }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{summary}</p>
<main>
{figures}
</main>
</body>
</html>
"""


@dataclass(frozen=True)
class Picture:
    """One picture of a sheet, or why there is none.

    Attributes:
        preview: A small JPEG or PNG, or None.
        file: The name of its file beside the sheet.
        note: What stands in place of a picture that did not come.
    """

    prompt: str
    details: str
    preview: bytes | None = None
    file: str = ""
    note: str = ""


def contact_sheet(title: str, summary: str, pictures: Iterable[Picture]) -> str:
    """Return the page."""
    figures = "\n".join(_figure(picture) for picture in pictures)
    return PAGE.format(title=html.escape(title), summary=html.escape(summary), figures=figures)


def _figure(picture: Picture) -> str:
    prompt, details = html.escape(picture.prompt), html.escape(picture.details)
    if picture.preview is None:
        shown = f'<div class="none">{html.escape(picture.note)}</div>'
    else:
        image = f'<img loading="lazy" alt="{prompt}" src="{inline(picture.preview)}">'
        shown = f'<a href="{html.escape(picture.file)}">{image}</a>'
    return f"<figure>{shown}<figcaption>{prompt}<br><small>{details}</small></figcaption></figure>"
