"""The images of one conversation: what people attached to it, what its tools made, and what each is called.

No message is trusted further than a person's words: a client may have posted all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_wan._call.names import AT_A_PRIVATE_ADDRESS, NOT_A_WEB_URL, ONLY_A_URL, UPLOAD, Upload
from langchain_wan._media import data_uri, decode, formats
from langchain_wan._media.blocks import block_source
from langchain_wan._net.addresses import RefusedAddressError, is_well_formed, parse_target
from langchain_wan._net.signed_urls import KnownUrls
from langchain_wan._storage.ids import IMAGE_ID, image_ids
from langchain_wan._tool.attached import AT, Attached, is_stored, store_source
from langchain_wan._tool.messages import Message, find_newest_human, read_messages
from langchain_wan._tool.uploads import Numbered
from langchain_wan.models import GeneratedImage

if TYPE_CHECKING:
    from langchain_wan.settings import ReferenceUrls
    from langchain_wan.store import WanStore

LISTED_NAMES = 12

REMEMBERED_DIGESTS = 1000

_digests: OrderedDict[str, str | None] = OrderedDict()  # of images by that of a source: each call reads the same
_WEB_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class ForeignImage:
    """An image that another tool or a model made, in the content of its message.

    Attributes:
        sha256: None for a URL.
        id: The id that it has or gets in the store; None for a URL.
    """

    message: int
    block: int
    sha256: str | None
    source: str | bytes = field(repr=False)
    id: str | None = None

    @property
    def name(self) -> str:
        """What it is called: an id, or a URL without its query."""
        return self.id or str(self.source).partition("?")[0]


class Conversation:
    """The image references of one conversation.

    Args:
        store: A view that knows only the images of the caller's scope.
        messages: The messages of the state, in any form; None where the caller does not see them.
        thread: Names the conversation in the store, which then remembers the numbers of its uploads.
        partial: Whether the messages are not all of the thread's, such as those of a sub-agent.
        only_visible: Whether an id may be used only if it stands in the messages.
        urls: What is done with images that were attached by URL.
    """

    def __init__(
        self,
        store: WanStore,
        messages: Sequence[Any] | None,
        thread: str | None,
        *,
        partial: bool = False,
        only_visible: bool = False,
        urls: ReferenceUrls = "pass",
    ) -> None:
        self._store, self._thread, self._partial = store, thread, partial
        self._only_visible, self._urls = only_visible, urls
        self._messages = None if messages is None else read_messages(messages)

    def uploads(self) -> list[Upload]:
        """Return the images that people attached, in the order of their numbers; those that are new are stored."""
        return [self._build_upload(numbered) for numbered in self._attached.all_numbers]

    def upload(self, name: str) -> Upload | None:
        """Return the upload with this name, stored again from its message if the store has dropped it."""
        meanings = self._attached.find_meanings(_read_number(name))
        if len(meanings) > 1:
            return Upload(name, problem=self._explain_meanings(name, meanings), is_ambiguous=True)
        if not meanings:
            return None
        upload = replace(self._build_upload(meanings[0]), name=name)
        source = self._attached.sources.get(meanings[0].digest)
        if upload.image_id is not None and source is not None:
            stored = self._store.get(upload.image_id)
            if stored is None or self._store.read(stored.sha256) is None:
                store_source(source, self._store)
        return upload

    def label(self, messages: Sequence[Any]) -> list[dict[int, str]]:
        """Return for each message the names of its images by the index of their block, which a model will now see.

        Args:
            messages: What the model sees of the conversation.
        """
        seen = read_messages(messages)
        labels = self._attached.label(seen)
        names = [
            {block: number.name for block, number in numbers.items() if self._build_upload(number).problem is None}
            for numbers in labels
        ]
        for image in _find_foreign(seen, self._store):
            names[image.message][image.block] = image.name
        return names

    def downloaded(self, name: str, image_id: str) -> None:
        """Record under which id an upload by URL is stored."""
        self._attached.locate(_read_number(name), image_id)

    def failed(self, name: str, problem: str) -> None:
        """Record why an upload can never be used."""
        self._attached.locate(_read_number(name), problem)

    def known(self, image_id: str) -> GeneratedImage | None:
        """Return the image with this id that may be used here, or None; one that another tool made is stored now."""
        stored = self._attached.store.get(image_id)  # what was attached is known by its id too
        if stored is not None and (not self._only_visible or image_id in self.visible_ids):
            return stored
        image = self._foreign_by_id.get(image_id)
        location = None if image is None else store_source(image.source, self._store)
        return self._store.get(location) if location is not None and is_stored(location) else None

    def carried(self, image_id: str) -> GeneratedImage | None:
        """Return what a tool message says of an image and its URL, or None; a client may have made it up."""
        return self._carried.get(image_id)

    def at_url(self, url: str) -> str | None:
        """Return the id, upload name or whole URL of what a URL shows in this conversation, or None."""
        return self._urls_here.find(url)

    def names(self) -> list[str]:
        """Return what may be used, the newest last, to be listed in a refusal: nothing of another conversation."""
        numbers = self._attached.all_numbers
        still_stored = self._find_digests([numbered.location for numbered in numbers])
        attached = [numbered for numbered in numbers if self._is_usable(numbered, still_stored)]
        stored = self._store._storage.catalog.names(self._store.scope, since=self._attached.started_at)
        visible = [name for name in self.visible_ids if name in self._carried or name in self._known]
        ids = [name for name in visible if name not in stored]
        ids += [name for name in stored if not self._only_visible or name in self.visible_ids]
        ids += [image.name for image in self._foreign]
        names = list(dict.fromkeys(self._find_name(numbered) for numbered in attached))[-LISTED_NAMES // 2 :]
        known = {*names, *(numbered.location for numbered in attached)}
        others = [name for name in dict.fromkeys(ids) if name not in known]
        return names + others[len(names) - LISTED_NAMES :]

    def unused(self, also: Sequence[str] = ()) -> list[Upload]:
        """Return what the newest human message brought and no call since then has used.

        Args:
            also: References that are being used now.
        """
        messages = self._messages or []
        newest = find_newest_human(messages)
        if newest is None:
            return []
        used = {*also}
        for message in messages[newest:]:
            for call in message.tool_calls:
                used |= set(_find_strings(call.get("args")))
        used |= {self.at_url(name) or name for name in used if name[:4].lower() == "http"}
        numbers = [_read_number(name) for name in used if UPLOAD.fullmatch(name)]
        images = used | {meaning.image for number in numbers for meaning in self._attached.find_meanings(number)}
        attached = zip(self._attached.attachments, self._attached.numbers, strict=True)
        brought = [numbered for attachment, numbered in attached if attachment.message == newest]
        return [self._build_upload(numbered) for numbered in brought if numbered.image not in images]

    def usable_ids(self) -> list[str]:
        """Return the ids in the messages whose image may be used here without a download, the oldest first."""
        return [image_id for image_id in self.visible_ids if image_id in self._known or image_id in self._foreign_by_id]

    @cached_property
    def visible_ids(self) -> dict[str, int]:
        """The ids that stand in the messages, each with the index of the message that had it first."""
        return find_image_ids(self._messages or ())

    @cached_property
    def _attached(self) -> Attached:
        return Attached(self._store, self._messages, self._thread, self._partial, self.visible_ids)

    @cached_property
    def _known(self) -> Mapping[str, str]:
        """The digests of the images whose ids stand in the messages, of those that this scope knows."""
        return self._find_digests([*self.visible_ids])

    def _find_digests(self, image_ids: Sequence[str]) -> Mapping[str, str]:
        return self._store._storage.catalog.digests(image_ids, self._store.scope)

    @cached_property
    def _urls_here(self) -> KnownUrls:
        known = [(image.url, image.id) for image in self._carried.values() if image.url is not None]
        for numbered in self._attached.all_numbers:
            source = self._attached.sources.get(numbered.digest) or self._build_upload(numbered).url
            if isinstance(source, str):
                known.append((source, self._find_name(numbered)))
        known += [(image.source, image.source) for image in self._foreign if isinstance(image.source, str)]
        return KnownUrls(known)

    @cached_property
    def _carried(self) -> dict[str, GeneratedImage]:
        if self._urls == "refuse":
            return {}
        now = datetime.now(UTC)
        images = (image for message in self._messages or () for image in message.made)
        return {
            image.id: image for image in images if image.url and (image.expires_at is None or image.expires_at > now)
        }

    @cached_property
    def _foreign(self) -> list[ForeignImage]:
        return _find_foreign(self._messages or (), self._store)

    @cached_property
    def _foreign_by_id(self) -> dict[str, ForeignImage]:
        return {image.id: image for image in self._foreign if image.id is not None}

    def _build_upload(self, numbered: Numbered) -> Upload:
        if is_stored(numbered.location):
            return Upload(numbered.name, image_id=numbered.location)
        if not numbered.location.startswith(AT):
            return Upload(numbered.name, problem=numbered.location)
        url = numbered.location.removeprefix(AT)
        problem = _judge_url(url, self._urls)
        return Upload(numbered.name, url=url) if problem is None else Upload(numbered.name, problem=problem)

    def _is_usable(self, numbered: Numbered, stored: Mapping[str, str]) -> bool:
        upload = self._build_upload(numbered)
        return upload.problem is None and (upload.image_id is None or upload.image_id in stored)

    def _find_name(self, numbered: Numbered) -> str:
        """Return the upload name of an image, or its id or URL where the name is ambiguous."""
        meanings = self._attached.find_meanings(numbered.number)
        return numbered.name if len(meanings) == 1 else numbered.location.removeprefix(AT)

    def _explain_meanings(self, name: str, meanings: Sequence[Numbered]) -> str:
        recorded = {numbered.image for numbered in self._attached.recorded if numbered.name == name}
        recorded |= {self._attached.told.get(_read_number(name), "")}
        choices = [
            f"{meaning.location.removeprefix(AT).partition('?')[0]} "
            + (
                f"(called {name} before)"
                if meaning.image in recorded
                else f"(image {_read_number(name)} of those that are attached now)"
            )
            for meaning in meanings
        ]
        return f"it can mean {' or '.join(choices)}; use the id"


def find_image_ids(messages: Sequence[Message]) -> dict[str, int]:
    """Return the ids that stand in messages, each with the index of the message that had it first."""
    ids: dict[str, int] = {}
    for index, message in enumerate(messages):
        named = [image.id for image in message.made]
        for name in (*named, *IMAGE_ID.findall(message.text)):
            ids.setdefault(name, index)
    return ids


def _find_foreign(messages: Sequence[Message], store: WanStore) -> list[ForeignImage]:
    images = []
    for index, message in enumerate(messages):
        if message.role not in {"ai", "tool"} or message.made:
            continue
        for block_index, block in message.image_blocks:
            source = block_source(block)
            sha256 = _identify(source)
            is_url = isinstance(source, str) and _WEB_URL.match(source) is not None and is_well_formed(source)
            if source and (sha256 is not None or is_url):
                images.append(ForeignImage(index, block_index, sha256, source))
    digests = dict.fromkeys(image.sha256 for image in images if image.sha256 is not None)
    owners = store._storage.catalog.digests([name for sha256 in digests for name in image_ids(sha256)], store.scope)
    names = {}
    for sha256 in digests:  # of two images with one short id, the second gets a longer one
        names[sha256] = next(name for name in image_ids(sha256) if owners.setdefault(name, sha256) == sha256)
    return [replace(image, id=None if image.sha256 is None else names[image.sha256]) for image in images]


def _read_number(name: str) -> int:
    return int(name.removeprefix("upload_"))


def _judge_url(url: str, urls: ReferenceUrls) -> str | None:
    if urls == "refuse":
        return ONLY_A_URL
    if not _WEB_URL.match(url):
        return NOT_A_WEB_URL
    if urls == "pass":  # the service fetches it, so that nothing else judges it
        try:
            parse_target(url)
        except RefusedAddressError:
            return AT_A_PRIVATE_ADDRESS
    return None


def _identify(source: str | bytes | None) -> str | None:
    """Return the digest that an image has when it is stored, or None for what contains no image."""
    if source is None or (isinstance(source, str) and source[:5].lower() != "data:"):
        return None
    digest = hashlib.sha256(source.encode(errors="replace") if isinstance(source, str) else source).hexdigest()
    if digest not in _digests:
        _digests[digest] = _read_digest(source)
        while len(_digests) > REMEMBERED_DIGESTS:
            _digests.popitem(last=False)
    return _digests.get(digest)


def _read_digest(source: str | bytes) -> str | None:
    try:
        data = data_uri.decode_data_uri(source) if isinstance(source, str) else source
        decode.inspect(data)
    except formats.ImageFileError:
        return None
    return hashlib.sha256(data).hexdigest()


def _find_strings(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:  # a client may nest as deep as it likes
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
