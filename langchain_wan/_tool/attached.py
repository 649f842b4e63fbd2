"""The images that people attached to a conversation, stored and numbered; the store remembers their numbers."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_wan._call.names import ASK_TO_ATTACH, NOT_A_WEB_URL, ONLY_A_FILE_ID
from langchain_wan._media import data_uri, decode, formats
from langchain_wan._media.blocks import block_source
from langchain_wan._net.addresses import is_well_formed
from langchain_wan._storage.ids import ID_PATTERN, IMAGE_ID
from langchain_wan._text.logs import logger
from langchain_wan._tool.messages import Message
from langchain_wan._tool.uploads import Attachment, Numbered, find_meanings, number_attachments

if TYPE_CHECKING:
    from langchain_wan._storage.catalog import Catalog
    from langchain_wan.store import WanStore

Source = str | bytes | None


MAX_UPLOADS = 9_999  # the last that has a name
SEEN_MESSAGES = 100  # the newest message ids by which a conversation is recognised
AT = "at "  # before a URL, which a client writes: it must not be taken for an id

_TOLD = re.compile(rf"^upload_([1-9][0-9]{{0,3}}) is ({ID_PATTERN})\.$", re.MULTILINE)


@dataclass
class Attached:
    """The attached images of one conversation.

    Attributes:
        store: A view that knows only the images of the caller's scope.
        messages: None where the caller does not see them: what the store remembers is all that is known.
        thread: Names the conversation in the store; None where nothing is remembered.
        partial: Whether the messages are not all of the thread's, such as those of a sub-agent.
        visible_ids: The image ids that stand in the messages.
    """

    store: WanStore = field(repr=False)
    messages: Sequence[Message] | None = field(repr=False)
    thread: str | None
    partial: bool
    visible_ids: Mapping[str, int]
    started_at: float = 0.0
    recorded: list[Numbered] = field(default_factory=list)
    numbers: list[Numbered] = field(default_factory=list)
    _meanings: dict[int, dict[str, Numbered]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Read what the store remembers, and number what is new."""
        if self.thread is not None:
            self.recorded = [Numbered(*row) for row in self._catalog.uploads(self.thread)]
        known = {numbered.digest: numbered.location for numbered in self.recorded}
        locations = {
            digest: known.get(digest) or store_source(source, self.store) for digest, source in self.sources.items()
        }
        self.attachments = [
            Attachment(message, block, digest, locations[digest]) for message, block, digest, _ in self._blocks
        ]
        self._recognise()
        self.numbers = number_attachments(self.attachments, self.recorded, self.told)
        self._record()

    @cached_property
    def sources(self) -> dict[str, Source]:
        """What the image blocks contain, by digest."""
        return {digest: source for _, _, digest, source in self._blocks}

    @cached_property
    def told(self) -> dict[int, str]:
        """Image ids by number, as tool messages that still stand say."""
        texts = (message.text for message in self.messages or () if message.role == "tool")
        told = {int(number): image_id for text in texts for number, image_id in _TOLD.findall(text)}
        known = self._catalog.digests([*told.values()], self.store.scope)
        return {number: image_id for number, image_id in told.items() if image_id in known}

    @property
    def all_numbers(self) -> list[Numbered]:
        """Every number that an image has, in order, those of blocks that are gone among them."""
        numbers = {numbered.number: numbered for numbered in (*self.recorded, *self.numbers)}
        return [numbers[number] for number in sorted(numbers)]

    def find_meanings(self, number: int) -> list[Numbered]:
        """Return the images that `upload_<number>` can mean."""
        if self._meanings is None:
            self._meanings = find_meanings(self.numbers, self.recorded, self.told)
        return list(self._meanings.get(number, {}).values())

    def locate(self, number: int, location: str) -> None:
        """Record where an image is now: its id in the store, or why it can't be used."""
        digests = {meaning.digest for meaning in self.find_meanings(number)}

        def move(numbered: Numbered) -> Numbered:
            return replace(numbered, location=location) if numbered.digest in digests else numbered

        self.numbers, self.recorded = list(map(move, self.numbers)), list(map(move, self.recorded))
        self._meanings = None
        for digest in digests if self.thread is not None else ():
            self._catalog.locate_upload(str(self.thread), digest, location)

    def label(self, messages: Sequence[Message]) -> list[dict[int, Numbered]]:
        """Return the numbers of the images of messages by the index of their block.

        It is recorded that a model sees them, so that it means them and does not count.
        """
        free: dict[str, deque[Numbered]] = {}
        for numbered in self.all_numbers:
            free.setdefault(numbered.digest, deque()).append(numbered)
        labels: list[dict[int, Numbered]] = [{} for _ in messages]
        for message, block, digest, _ in _find_blocks(messages):
            if free.get(digest):
                labels[message][block] = free[digest].popleft()
        numbers = {numbered.number for label in labels for numbered in label.values()}
        self.numbers = [
            replace(numbered, labelled=numbered.labelled or numbered.number in numbers) for numbered in self.numbers
        ]
        self._meanings = None
        self._record()
        return labels

    @property
    def _catalog(self) -> Catalog:
        return self.store._storage.catalog

    @cached_property
    def _blocks(self) -> list[tuple[int, int, str, Source]]:
        return _find_blocks(self.messages or ())[:MAX_UPLOADS]

    def _record(self) -> None:
        known = {(numbered.number, numbered.labelled) for numbered in self.recorded}
        new = [numbered for numbered in self.numbers if (numbered.number, numbered.labelled) not in known]
        if self.thread is not None and new:
            rows = [(numbered.number, numbered.digest, numbered.location, numbered.labelled) for numbered in new]
            self._catalog.record_uploads(self.thread, rows)

    def _recognise(self) -> None:
        """Begin anew where these messages contain nothing of what the store remembers under this thread id."""
        if self.thread is None:
            return
        began, seen = self._catalog.conversation(self.thread)
        self.started_at = began or 0.0
        if self.messages is None or (self.partial and not self.attachments):
            return
        if not self._continues(began, seen):
            self.recorded, seen = [], []
            self.started_at = time.time()
            self._catalog.begin_conversation(self.thread, self.started_at)
        ids = [message.id for message in self.messages if message.is_human and message.id]
        if began is None or not set(ids) <= set(seen):
            newest = [*(message_id for message_id in seen if message_id not in ids), *ids][-SEEN_MESSAGES:]
            self._catalog.record_seen(self.thread, newest)

    def _continues(self, began: float | None, seen: Sequence[str]) -> bool:
        if any(message.inserted or message.id in seen for message in self.messages or ()):
            return True  # what middleware inserted, such as a summary, stands for what is gone
        images = {numbered.image for numbered in self.recorded}
        if any(attachment.image in images for attachment in self.attachments):
            return True
        if self._catalog.digests([*self.visible_ids], self.store.scope):
            return True
        is_empty = not self.recorded and not seen
        return is_empty and (began is None or not self._catalog.names(self.store.scope, since=began, limit=1))


def store_source(source: Source, store: WanStore) -> str:
    """Return the location of an upload: an id under which it is stored, a marked URL, or why it can't be used."""
    if source is None:
        return ONLY_A_FILE_ID
    if isinstance(source, str) and source[:5].lower() != "data:":
        return AT + source if is_well_formed(source) else NOT_A_WEB_URL
    try:
        data = data_uri.decode_data_uri(source) if isinstance(source, str) else source
        picture = decode.inspect(data)
    except formats.ImageFileError as error:
        logger.warning("an attached image can't be used: %s. %s", error.problem, error.remedy)
        return f"it can't be read ({error.problem}): {ASK_TO_ATTACH}, as PNG or JPEG"
    return store._storage.keep(data, picture).id


def is_stored(location: str) -> bool:
    """Say whether a location is the id of a stored image."""
    return IMAGE_ID.fullmatch(location) is not None


def _find_blocks(messages: Sequence[Message]) -> list[tuple[int, int, str, Source]]:
    """Return message, block, digest and source of each image that a person attached."""
    return [
        (index, block_index, _digest(block, source), source)
        for index, message in enumerate(messages)
        if message.is_human
        for block_index, block in message.image_blocks
        for source in (block_source(block),)
    ]


def _digest(block: Mapping[str, Any], source: Source) -> str:
    if source is None:
        text = f"file {block.get('file_id') or block.get('source')}"
    elif isinstance(source, bytes):
        text = base64.b64encode(source).decode()
    else:  # of a data URI what follows the comma: front ends label the same image differently
        text = source.partition(",")[2] if source[:5].lower() == "data:" else source
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
