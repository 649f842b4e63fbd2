"""Images as HTML for a notebook: thumbnails inline, text escaped, no scripts, readable in dark and light."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_GALLERY = "display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start;font-family:system-ui,sans-serif"
_CARD = "margin:0;max-width:260px"
_IMAGE = "display:block;max-width:100%;border-radius:8px"
_CAPTION = "font-size:12px;opacity:.75;margin-top:4px;overflow-wrap:anywhere"


@dataclass(frozen=True)
class Card:
    """One image of a gallery: a PNG thumbnail, or None where the bytes are gone, and its caption."""

    png: bytes | None
    caption: str


def gallery(title: str, cards: Iterable[Card]) -> str:
    """Return a gallery as an HTML fragment."""
    figures = "".join(_figure(card) for card in cards)
    return (
        f'<div style="font-family:system-ui,sans-serif;margin-bottom:8px">{html.escape(title)}</div>'
        f'<div style="{_GALLERY}">{figures}</div>'
    )


def _figure(card: Card) -> str:
    caption = html.escape(card.caption)
    if card.png is None:
        shown = '<div style="padding:24px;border:1px dashed currentColor;opacity:.6">not stored</div>'
    else:
        data = base64.b64encode(card.png).decode()
        shown = f'<img alt="{caption}" src="data:image/png;base64,{data}" style="{_IMAGE}">'
    return f'<figure style="{_CARD}">{shown}<figcaption style="{_CAPTION}">{caption}</figcaption></figure>'
