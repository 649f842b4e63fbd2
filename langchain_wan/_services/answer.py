"""What a service answered, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_NOTES = 20
SURPLUS = 3  # images more than were asked for that are taken and billed: a service that ignores `n` makes four


@dataclass(frozen=True)
class ImagePart:
    """One image of an answer: a URL, or base64 text (bare or in a data URI), or the file itself, or nothing."""

    url: str | None = field(default=None, repr=False)  # it may be signed
    data: str | None = field(default=None, repr=False)
    content: bytes | None = field(default=None, repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether the image was announced, and perhaps billed, but is missing."""
        return self.url is None and self.data is None and self.content is None


@dataclass(frozen=True)
class Answer:
    """The answer to a generation.

    Attributes:
        parts: Its images, in order.
        notes: Texts that came with them.
        usage: What the service counted.
        request_id: The service's id of the request.
        model: The model's name as the service writes it.
    """

    parts: tuple[ImagePart, ...]
    notes: tuple[str, ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        """Keep as many notes as a person reads; each is short already."""
        object.__setattr__(self, "notes", self.notes[:MAX_NOTES])

    def is_too_much(self, asked: int) -> bool:
        """Say whether it has so many more images than were asked for that it can't be believed."""
        return len(self.parts) > asked + SURPLUS
