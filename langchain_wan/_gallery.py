"""Images as HTML, for a notebook or a file: thumbnails inline, text escaped, no scripts, readable in dark and light."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_FONT = "font-family:system-ui,sans-serif"
_GALLERY = f"display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start;{_FONT}"
_CARD = "margin:0;max-width:260px"
_SMALL_CARD = "margin:0;width:140px"
_IMAGE = "display:block;max-width:100%;border-radius:8px"
_CAPTION = "font-size:12px;opacity:.75;margin-top:4px;overflow-wrap:anywhere"
_GONE = "padding:8px 12px;border:1px dashed currentColor;border-radius:8px;opacity:.6;font-size:12px"
_PARENTS = "display:flex;flex-wrap:wrap;gap:4px;margin-top:4px;align-items:center;font-size:12px;opacity:.9"
_PARENT = "height:40px;border-radius:4px;vertical-align:middle"
_TREE = f"display:flex;gap:12px;align-items:flex-start;{_FONT}"
_BRANCHES = "border-left:2px solid rgba(128,128,128,.5);padding-left:12px;display:flex;flex-direction:column;gap:12px"


@dataclass(frozen=True)
class Card:
    """One image: a PNG or JPEG thumbnail, or None where the bytes are gone; what stands below it, line by line.

    Attributes:
        parents: Thumbnails and ids of the images that it was made from.
    """

    picture: bytes | None
    caption: str
    details: str = ""
    parents: Sequence[tuple[bytes | None, str]] = ()


@dataclass(frozen=True)
class Branch:
    """An image and the images that it was made from."""

    card: Card
    parents: Sequence[Branch] = ()


def gallery(title: str, cards: Iterable[Card]) -> str:
    """Return a gallery as an HTML fragment."""
    figures = "".join(figure(card, _CARD) for card in cards)
    return (
        f'<div style="{_FONT};margin-bottom:8px;overflow-wrap:anywhere">{html.escape(title)}</div>'
        f'<div style="{_GALLERY}">{figures}</div>'
    )


def tree(branch: Branch) -> str:
    """Return an image with what it was made from at its right, as an HTML fragment."""
    card = figure(branch.card, _SMALL_CARD)
    parents = "".join(tree(parent) for parent in branch.parents)
    branches = f'<div style="{_BRANCHES}">{parents}</div>' if parents else ""
    return f'<div style="{_TREE}">{card}{branches}</div>'


def figure(card: Card, style: str) -> str:
    """Return one image with its caption as an HTML fragment."""
    lines = "".join(f"<div>{html.escape(line)}</div>" for line in (card.caption, card.details) if line)
    parents = "".join(_picture(data, name, _PARENT) for data, name in card.parents)
    made_from = f'<div style="{_PARENTS}">from {parents}</div>' if parents else ""
    return (
        f'<figure style="{style}">{_picture(card.picture, card.caption, _IMAGE)}'
        f'<figcaption style="{_CAPTION}">{lines}{made_from}</figcaption></figure>'
    )


def _picture(data: bytes | None, text: str, style: str) -> str:
    shown = html.escape(text)
    if data is None:
        return f'<div title="{shown}" style="{_GONE}">not stored</div>'
    return f'<img alt="{shown}" title="{shown}" src="{inline(data)}" style="{style}">'


def inline(data: bytes) -> str:
    """Return a PNG or JPEG as the source of a picture on a page."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
