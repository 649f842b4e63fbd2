"""What a store tells: the history of its operations, and how an image came to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from langchain_wan._media import html
from langchain_wan._storage.money import per_image, to_usd
from langchain_wan._storage.states import State
from langchain_wan._text.amounts import format_usd
from langchain_wan._text.control_characters import escape_line

if TYPE_CHECKING:
    from langchain_wan._storage.operations import Operation
    from langchain_wan.models import GeneratedImage

LONGEST_PROMPT = 100  # of a line of text
LARGEST, DEEPEST = 500, 100  # images, and generations, of a lineage


@dataclass(frozen=True)
class Lineage:
    """An image and where it comes from; text as `str`, thumbnails in a notebook.

    Attributes:
        id: The image; `image` is None where it was deleted.
        prompt: What it was made by; None where it was not made here but stored.
        cost_usd: Dollars for this image: its share of the call that made it.
        parents: What it was made from. An image that several were made from is one object.
        is_cut: Whether it has a lineage that is not here, since the whole is too long.
    """

    id: str
    image: GeneratedImage | None = field(repr=False)
    prompt: str | None = None
    model: str | None = None
    cost_usd: Decimal | None = None
    parents: tuple[Lineage, ...] = ()
    is_cut: bool = False

    def __repr__(self) -> str:
        return f"Lineage({self.id!r}, {len(self.parents)} parents)"

    def __str__(self) -> str:
        return "\n".join(self._lines(set()))

    def _lines(self, seen: set[str]) -> Iterator[str]:
        if self._is_repeated(seen):
            yield f"{self.id} (see above)"
            return
        yield f"{self.id} {self._made()}"
        for index, parent in enumerate(self.parents):
            last = index == len(self.parents) - 1
            first, *others = parent._lines(seen)
            yield f"{'`-- ' if last else '|-- '}{first}"
            yield from (f"{'    ' if last else '|   '}{line}" for line in others)

    def _is_repeated(self, seen: set[str]) -> bool:
        """Say whether its parents were shown before, and note that they are shown now."""
        if not self.parents:
            return False
        is_repeated = self.id in seen
        seen.add(self.id)
        return is_repeated

    def _made(self) -> str:
        if self.prompt is None:
            return self._origin()
        prompt = " ".join(self.prompt.split())
        prompt = prompt if len(prompt) <= LONGEST_PROMPT else f"{prompt[: LONGEST_PROMPT - 3]}..."
        return escape_line(f"{prompt} ({self._price()})")

    def _origin(self) -> str:
        return "(older images are not shown)" if self.is_cut else "(stored)"

    def _price(self) -> str:
        return f"{self.model}, {format_usd(self.cost_usd or Decimal(0))}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002  IPython's own
        printer.text(str(self))

    def _repr_html_(self) -> str:
        return html.tree(self._branch(set()))

    def _branch(self, seen: set[str]) -> html.Branch:
        if self._is_repeated(seen):
            return html.Branch(html.Card(None, self.id, text="(see above)", note="see above"))
        preview, note = (None, "not stored") if self.image is None else self.image._preview(192)
        details = "" if self.prompt is None else self._price()
        card = html.Card(preview, self.id, details, text=self.prompt or self._origin(), note=note)
        return html.Branch(card, [parent._branch(seen) for parent in self.parents])


def trace_lineage(
    image_id: str,
    find_maker: Callable[[str], Operation | None],
    find_image: Callable[[str], GeneratedImage | None],
) -> Lineage:
    """Return an image with what it was made from: each image once, and no more than a person could read.

    An edit that gave back the very bytes that went in ends there.
    """
    built: dict[str, Lineage] = {}
    makers: dict[str, Operation | None] = {}
    path = [image_id]
    while path:
        current = path[-1]
        if current not in makers:
            makers[current] = find_maker(current)
        maker = makers[current]
        parents = [] if maker is None else maker.request["parents"]
        waiting = next((parent for parent in parents if parent not in built and parent not in path), None)
        if waiting is not None and len(path) < DEEPEST and len(makers) < LARGEST:
            path.append(waiting)
            continue
        known = tuple(
            built.get(parent) or Lineage(parent, find_image(parent), is_cut=parent not in path) for parent in parents
        )
        built[current] = _build_lineage(current, find_image(current), maker, known)
        path.pop()
    return built[image_id]


def _build_lineage(
    image_id: str, image: GeneratedImage | None, maker: Operation | None, parents: tuple[Lineage, ...]
) -> Lineage:
    if maker is None:
        return Lineage(image_id, image)
    request, result = maker.request, maker.result or {}
    count = len(result.get("images", ())) + len(result.get("failures", ()))
    cost = per_image(to_usd(maker.cost_nano), count)
    return Lineage(image_id, image, request["prompt"], request["model"], cost, parents)


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
