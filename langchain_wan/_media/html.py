"""Images as HTML, for a notebook or a file: thumbnails inline, text escaped, no scripts, readable in dark and light."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from langchain_wan._text.control_characters import escape_text

_FONT = "font-family:system-ui,sans-serif"
_GALLERY = f"display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start;{_FONT}"
_CARD = "margin:0;max-width:260px"
_IMAGE = "display:block;max-width:100%;border-radius:8px"
_TITLE = f"{_FONT};margin-bottom:8px"
_CAPTION = "font-size:12px;opacity:.75;margin-top:4px;overflow-wrap:anywhere"
# A prompt has up to 5,000 characters: three lines are shown, and all of it beside the pointer.
_CLAMPED = "display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:3;overflow:hidden;overflow-wrap:anywhere"
_GONE = "padding:8px 12px;border:1px dashed currentColor;border-radius:8px;opacity:.6;font-size:12px"
_PARENTS = "display:flex;flex-wrap:wrap;gap:4px;margin-top:4px;align-items:center;font-size:12px;opacity:.9"
_PARENT = "height:40px;border-radius:4px;vertical-align:middle"
# The picture keeps its width, the text takes what is left: also on a phone.
_ROW = "display:flex;gap:12px;align-items:flex-start;margin:0"
_THUMBNAIL = "flex:none;width:96px;box-sizing:border-box"
_BESIDE = "flex:1;min-width:0;max-width:480px;font-size:13px;overflow-wrap:anywhere"
_FROM = "margin:6px 0;font-size:12px;opacity:.75"
_BRANCHES = "border-left:2px solid rgba(128,128,128,.5);padding-left:12px;display:flex;flex-direction:column;gap:12px"


@dataclass(frozen=True)
class Card:
    """One image, and what stands below it, line by line.

    Attributes:
        picture: A PNG or JPEG thumbnail, or None where there is none.
        parents: Thumbnails and ids of the images that it was made from.
        note: Shown instead of a picture that is missing.
        text: Text that may be long, such as a prompt.
    """

    picture: bytes | None
    caption: str
    details: str = ""
    parents: Sequence[tuple[bytes | None, str]] = ()
    note: str = "not stored"
    text: str = ""


@dataclass(frozen=True)
class Branch:
    """An image and the images that it was made from."""

    card: Card
    parents: Sequence[Branch] = ()


def gallery(prompt: str, cards: Iterable[Card], details: str = "") -> str:
    """Return a gallery as an HTML fragment."""
    figures = "".join(_figure(card) for card in cards)
    title = f'{_clamped(prompt)}<div style="{_CAPTION}">{_escape(details)}</div>'
    return f'<div style="{_TITLE}">{title}</div><div style="{_GALLERY}">{figures}</div>'


def tree(branch: Branch) -> str:
    """Return an image with what it was made from below it, as an HTML fragment.

    A line of edits is one column; only several parents of one image are indented.
    """
    rows = [_row(branch.card)]
    while len(branch.parents) == 1:
        (branch,) = branch.parents
        rows.append(_row(branch.card))
    if branch.parents:
        parents = "".join(tree(parent) for parent in branch.parents)
        rows.append(f'<div style="{_BRANCHES}">{parents}</div>')
    content = f'<div style="{_FROM}">made from</div>'.join(rows)
    return f'<div style="{_FONT}">{content}</div>'


def _figure(card: Card) -> str:
    lines = "".join(f"<div>{_escape(line)}</div>" for line in (card.caption, card.details) if line)
    parents = "".join(_picture(data, name, _PARENT, "not stored") for data, name in card.parents)
    made_from = f'<div style="{_PARENTS}">from {parents}</div>' if parents else ""
    return (
        f'<figure style="{_CARD}">{_picture(card.picture, card.caption, _IMAGE, card.note)}'
        f'<figcaption style="{_CAPTION}">{lines}{made_from}</figcaption></figure>'
    )


def _row(card: Card) -> str:
    details = f'<div style="{_CAPTION}">{_escape(" · ".join(filter(None, (card.caption, card.details))))}</div>'
    picture = _picture(card.picture, card.caption, f"{_IMAGE};{_THUMBNAIL}", card.note, f"{_GONE};{_THUMBNAIL}")
    return (
        f'<figure style="{_ROW}">{picture}'
        f'<figcaption style="{_BESIDE}">{_clamped(card.text)}{details}</figcaption></figure>'
    )


def _clamped(text: str) -> str:
    label = _escape(text)
    return f'<div title="{label}" style="{_CLAMPED}">{label}</div>' if text else ""


def _picture(data: bytes | None, text: str, style: str, note: str, style_of_note: str = _GONE) -> str:
    label = _escape(text)
    if data is None:
        return f'<div title="{label}" style="{style_of_note}">{_escape(note)}</div>'
    return f'<img alt="{label}" title="{label}" src="{inline(data)}" style="{style}">'


def _escape(text: str) -> str:
    return html.escape(escape_text(text))


def inline(data: bytes) -> str:
    """Return a PNG or JPEG as the source of a picture on a page."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


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
.prompt {{ display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden }}
.prompt:focus {{ -webkit-line-clamp: none; outline: none }} /* a tap shows all of it */
.from {{ display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin-top: 4px }}
.from img {{ width: auto; height: 44px; border-radius: 4px }}
small, .from, .none {{ color: var(--muted); font-size: 13px }}
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
        note: Shown instead of a picture that was not made.
        parents: Small pictures, or None, and ids of the images that it was made from.
    """

    prompt: str
    details: str
    preview: bytes | None = None
    file: str = ""
    note: str = ""
    parents: Sequence[tuple[bytes | None, str]] = ()


def contact_sheet(title: str, summary: str, pictures: Iterable[Picture]) -> str:
    """Return the page."""
    figures = "\n".join(_sheet_figure(picture) for picture in pictures)
    return PAGE.format(title=_escape(title), summary=_escape(summary), figures=figures)


def _sheet_figure(picture: Picture) -> str:
    prompt, details = _escape(picture.prompt), _escape(picture.details)
    if picture.preview is None:
        content = f'<div class="none">{_escape(picture.note)}</div>'
    else:
        image = f'<img loading="lazy" alt="{prompt}" src="{inline(picture.preview)}">'
        content = f'<a href="{_escape(picture.file)}">{image}</a>'
    parents = "".join(_sheet_parent(data, _escape(name)) for data, name in picture.parents)
    made_from = f'<div class="from">from {parents}</div>' if parents else ""
    text = f'<div class="prompt" tabindex="0" title="{prompt}">{prompt}</div><small>{details}</small>'
    return f"<figure>{content}<figcaption>{text}{made_from}</figcaption></figure>"


def _sheet_parent(data: bytes | None, label: str) -> str:
    return label if data is None else f'<img alt="{label}" title="{label}" src="{inline(data)}">'
