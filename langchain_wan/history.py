"""What a store tells: the history of its operations, and how an image came to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from langchain_wan._media import html
from langchain_wan._storage.money import EXACT
from langchain_wan._storage.states import State
from langchain_wan._text.control_characters import escape_line

if TYPE_CHECKING:
    from langchain_wan.models import GeneratedImage

LONGEST_PROMPT = 100  # of a line of text


@dataclass(frozen=True)
class Lineage:
    """An image and where it comes from; text as `str`, thumbnails in a notebook.

    Attributes:
        id: The image; `image` is None where it was deleted.
        prompt: What it was made by; None where it was not made here but stored.
        cost_usd: Dollars for this image: its share of the call that made it.
        parents: What it was made from.
    """

    id: str
    image: GeneratedImage | None = field(repr=False)
    prompt: str | None = None
    model: str | None = None
    cost_usd: Decimal | None = None
    parents: tuple[Lineage, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.id} {self._made()}"
        for index, parent in enumerate(self.parents):
            last = index == len(self.parents) - 1
            first, *others = parent._lines()
            yield f"{'`-- ' if last else '|-- '}{first}"
            yield from (f"{'    ' if last else '|   '}{line}" for line in others)

    def _made(self) -> str:
        if self.prompt is None:
            return "(stored)"
        prompt = " ".join(self.prompt.split())
        prompt = prompt if len(prompt) <= LONGEST_PROMPT else f"{prompt[: LONGEST_PROMPT - 3]}..."
        return escape_line(f"{prompt} ({self._price()})")

    def _price(self) -> str:
        return f"{self.model}, ${(self.cost_usd or Decimal(0)).normalize(EXACT):f}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002  IPython's own
        printer.text(str(self))

    def _repr_html_(self) -> str:
        return html.tree(self._branch())

    def _branch(self) -> html.Branch:
        preview, note = (None, "not stored") if self.image is None else self.image._preview(192)
        details = "" if self.prompt is None else self._price()
        card = html.Card(preview, self.id, details, text=self.prompt or "(stored)", note=note)
        return html.Branch(card, [parent._branch() for parent in self.parents])


@dataclass(frozen=True)
class HistoryEntry:
    """One operation of a store, as `history` lists it.

    Attributes:
        service: The address that answered.
        state: `done`, `partial` (images are missing), `uncertain`, `refused`, `charged`, or while its process
            runs `claimed`, `sending` or `paid`.
        cost_usd: Dollars charged; what may have been charged at most, until that is known.
        images: Ids of the images made.
        parents: Ids of the input images.
        is_sandbox: Whether the sandbox answered, which charges nothing.
    """

    operation_id: str
    service: str
    state: State
    model: str
    prompt: str
    n: int
    cost_usd: Decimal
    images: list[str]
    parents: list[str]
    created_at: datetime
    is_sandbox: bool = False
