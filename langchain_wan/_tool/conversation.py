"""The images of one conversation: what people attached to it, and what its messages carry.

Nothing here trusts a message further than a person's words: a client may have posted all of them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from langchain_wan._call.names import ONLY_A_FILE_ID, ONLY_A_URL, Upload
from langchain_wan._media import data_uri, decode, formats
from langchain_wan._media.blocks import block_source, find_text, is_image_block
from langchain_wan._net.addresses import is_well_formed
from langchain_wan._net.signed_urls import same_url
from langchain_wan.models import IMAGE_ID, GeneratedImage

if TYPE_CHECKING:
    from langchain_wan.store import WanStore

SHOWN_NAMES = 12

_AT = "at "  # before a URL, which a client writes: it is not to be taken for an id


class Conversation:
    """The names that images have in one conversation.

    Args:
        store: A view that knows only the images of the caller's scope.
        messages: The messages of the state.
        thread: Names the conversation where it lasts: its uploads keep their numbers when messages are trimmed, and
            are shared with sub-agents. None counts those that are there.
        only_shown: Whether an id may be named only if it stands in the messages.
        urls: Whether a picture may be attached by URL.
    """

    def __init__(
        self,
        store: WanStore,
        messages: Sequence[Any],
        thread: str | None,
        *,
        only_shown: bool = False,
        urls: bool = True,
    ) -> None:
        self._store, self._messages, self._thread = store, messages, thread
        self._only_shown, self._urls = only_shown, urls

    def uploads(self) -> list[Upload]:
        """Return the pictures that people attached, in order; those that are new are stored."""
        return list(self._uploads.values())

    def upload(self, name: str) -> Upload | None:
        """Return the upload with this name, stored again from its message if the store has dropped it."""
        digest, found = next(((key, one) for key, one in self._uploads.items() if one.name == name), ("", None))
        if found is not None and found.image_id is not None:
            stored = self._store.get(found.image_id)
            if (stored is None or self._store.read(stored.sha256) is None) and digest in self._sources:
                _place(self._sources[digest], self._store)
        return found

    def upload_of(self, block: Mapping[str, Any]) -> Upload | None:
        """Return the upload that an image block of a message became."""
        return self._uploads.get(_digest(block))

    def downloaded(self, name: str, image_id: str) -> None:
        """Note under which id an upload is stored whose URL was downloaded."""
        for digest, upload in self._uploads.items():
            if upload.name == name:
                self._uploads[digest] = replace(upload, url=None, image_id=image_id)
                if self._thread is not None:
                    self._store._storage.catalog.place_upload(self._thread, digest, image_id)

    def known(self, image_id: str) -> GeneratedImage | None:
        """Return the image with this id that the scope knows and that may be named here, or None."""
        self.uploads()  # what was attached is known by its id too
        stored = self._store.get(image_id)
        return stored if not self._only_shown or image_id in self.shown else None

    def carried(self, image_id: str) -> str | None:
        """Return the URL of an image that a tool message carries, or None; a client may have made both up."""
        image = self._carried.get(image_id)
        return None if image is None else image.url

    def at_url(self, url: str) -> str | None:
        """Return the id or name of what a URL shows in this conversation, or None."""
        shown = [(image.url, image.id) for image in self._carried.values() if image.url is not None]
        for digest, upload in self._uploads.items():
            source = self._sources.get(digest) or upload.url
            if isinstance(source, str):
                shown.append((source, upload.name))
        return same_url(url, shown)

    def names(self) -> list[str]:
        """Return what may be named, the newest last, to be listed in a refusal."""
        attached = [one for one in self.uploads() if one.problem is None and self._is_there(one)]
        became = {one.image_id for one in attached}
        stored = self._store._storage.catalog.names(self._store.scope)
        ids = [name for name in stored if not self._only_shown or name in self.shown]
        ids += [name for name in self._carried if name not in ids]
        names = [one.name for one in attached][-SHOWN_NAMES // 2 :]
        return names + [name for name in ids if name not in became][len(names) - SHOWN_NAMES :]

    def unused(self, also: Sequence[str] = ()) -> list[Upload]:
        """Return what the newest message of a person brought and no call since then has named.

        Args:
            also: Names that are being used now.
        """
        newest = find_newest_human(self._messages)
        if newest is None:
            return []
        used = {*also}
        for message in self._messages[newest:]:
            for call in getattr(message, "tool_calls", None) or ():
                used |= set(_strings(call.get("args")))
        used |= {self.at_url(name) or name for name in used if name[:4].lower() == "http"}
        brought = [self.upload_of(block) for block in _image_blocks(self._messages[newest])]
        return [one for one in brought if one is not None and not used & {one.name, one.image_id}]

    @cached_property
    def shown(self) -> dict[str, int]:
        """The ids that stand in the messages, each with the place of the message that had it first."""
        return find_shown_ids(self._messages)

    @cached_property
    def _carried(self) -> dict[str, GeneratedImage]:
        now = datetime.now(UTC)
        found = (image for message in self._messages for image in _images_of(message))
        return {
            image.id: image for image in found if image.url and (image.expires_at is None or image.expires_at > now)
        }

    @cached_property
    def _sources(self) -> dict[str, str | bytes | None]:
        blocks = [block for message in self._messages if is_human(message) for block in _image_blocks(message)]
        return {_digest(block): block_source(block) for block in blocks}

    @cached_property
    def _uploads(self) -> dict[str, Upload]:  # by digest
        known = {} if self._thread is None else self._store._storage.catalog.uploads(self._thread)
        new = {digest: _place(source, self._store) for digest, source in self._sources.items() if digest not in known}
        if self._thread is None:
            known = {digest: (number, where) for number, (digest, where) in enumerate(new.items(), 1)}
        elif new:
            known = self._store._storage.catalog.add_uploads(self._thread, new)
        return {digest: _upload(number, where, urls=self._urls) for digest, (number, where) in known.items()}

    def _is_there(self, upload: Upload) -> bool:
        return upload.image_id is None or self._store.get(upload.image_id) is not None


def find_shown_ids(messages: Sequence[Any]) -> dict[str, int]:
    """Return the ids that stand in messages, each with the place of the message that had it first."""
    found: dict[str, int] = {}
    for place, message in enumerate(messages):
        ids = [image.id for image in _images_of(message)]
        for image_id in (*ids, *IMAGE_ID.findall(find_text(getattr(message, "content", "")))):
            found.setdefault(image_id, place)
    return found


def is_human(message: Any) -> bool:
    """Say whether a person wrote a message; what middleware inserts, such as a summary, nobody said."""
    return getattr(message, "type", None) == "human" and "lc_source" not in message.additional_kwargs


def find_newest_human(messages: Sequence[Any]) -> int | None:
    """Return the place of the newest message that a person wrote."""
    return next((place for place in range(len(messages) - 1, -1, -1) if is_human(messages[place])), None)


def _image_blocks(message: Any) -> list[Mapping[str, Any]]:
    content = getattr(message, "content", None)
    return [block for block in content if is_image_block(block)] if isinstance(content, list) else []


def _digest(block: Mapping[str, Any]) -> str:
    source = block_source(block)
    if source is None:
        text = f"file {block.get('file_id') or block.get('source')}"
    elif isinstance(source, bytes):
        text = base64.b64encode(source).decode()
    else:  # of a data URI what follows the comma: the same picture has other words before it in other front ends
        text = source.partition(",")[2] if source[:5].lower() == "data:" else source
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _place(source: str | bytes | None, store: WanStore) -> str:
    """Return what the store keeps of an upload: an id, a URL marked as one, or why it can't be used."""
    if source is None:
        return ONLY_A_FILE_ID
    if isinstance(source, str) and source[:5].lower() != "data:":
        return _AT + source if is_well_formed(source) else "it is no plain URL"
    try:
        data = data_uri.decode_data_uri(source) if isinstance(source, str) else source
        picture = decode.inspect(data)
    except formats.NotAnImageError as error:
        return f"it can't be read: {error}"
    return store._storage.keep(data, picture).id


def _upload(number: int, where: str, *, urls: bool) -> Upload:
    name = f"upload_{number}"
    if where.startswith(_AT):
        return Upload(name, url=where.removeprefix(_AT)) if urls else Upload(name, problem=ONLY_A_URL)
    return Upload(name, image_id=where) if IMAGE_ID.fullmatch(where) else Upload(name, problem=where)


def _images_of(message: Any) -> Iterator[GeneratedImage]:
    artifact = getattr(message, "artifact", None)
    images = artifact.get("images") if isinstance(artifact, Mapping) else None
    for facts in images if isinstance(images, list) else ():
        try:
            yield GeneratedImage.model_validate(facts)
        except ValidationError:
            continue


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for one in value.values() for text in _strings(one))
    elif isinstance(value, list | tuple):
        yield from (text for one in value for text in _strings(one))
