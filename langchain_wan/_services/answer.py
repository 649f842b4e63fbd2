"""What a service answered, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class ImagePart:
    """One image of an answer: a URL, or base64 text (bare or as a data URI), or neither."""

    url: str | None = None
    data: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Answer:
    """What a generation answered; `model` as the service names it."""

    parts: tuple[ImagePart, ...]
    notes: tuple[str, ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    model: str | None = None
