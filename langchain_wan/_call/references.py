"""What a caller or a model names as an input image, turned into bytes or a URL for the wire.

Strict patterns tell what a string is; it never opens a file. A refusal says which input was meant and what may be used
instead. It reveals nothing of other conversations, nor of what answers at an address.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langchain_wan._call.names import ASK_TO_ATTACH, ONLY_A_FILE_ID, UPLOAD, ImageNames
from langchain_wan._media import decode, encode, formats
from langchain_wan._net.addresses import RefusedAddressError, is_well_formed, parse_target
from langchain_wan._net.messages import Lost, NotSent, Outcome, Reply
from langchain_wan._storage.ids import IMAGE_ID, belongs_to
from langchain_wan._storage.sources import read_source
from langchain_wan._storage.storage import Storage
from langchain_wan._text.control_characters import escape_line
from langchain_wan.errors import ImageReferenceError, StoreError, WanError
from langchain_wan.models import GeneratedImage
from langchain_wan.requests import InlineImage, describe_source
from langchain_wan.settings import ReferenceUrls

MAX_MODEL_DATA_URI = 64_000  # characters: a model that writes more invents it
MAX_TOTAL_BYTES = 24_000_000

LONGEST_LABEL = 60

# What a model reads. One text for every URL: it must not learn what answers where.
NOT_HERE = "no image of this conversation has this name"
NOT_A_REFERENCE = "it is not an image id, an upload name or a URL"
UNUSABLE_URL = "this URL can't be used"
UNUSABLE_DATA = "it is not an image that can be read"
NO_DOWNLOAD = "it could not be downloaded"

NEXT_STEP = "Pass an id of this store, a Path, bytes, or a public URL."
FOR_FILE = "For a file, use Path({name!r})."

_URL_START = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class Reference:
    """One input image, ready for the wire: bytes, or a URL, or both.

    Attributes:
        image_id: The id that the image has in the store; None for a URL that is only handed on.
        fetch: A URL that must be downloaded first.
        of_service: Whether the service itself answered that URL, as the store recorded it. A URL that a message says
            obeys the rules for a caller's URLs.
        sha256: The digest that the download must have.
        upload: The name of the upload that it is.
        label: What errors call it.
        enlarged: How it was made larger, as a clause; empty where it was not.
    """

    data: bytes | None = field(default=None, repr=False)
    mime_type: str = ""
    url: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    image_id: str | None = None
    fetch: str | None = field(default=None, repr=False)
    of_service: bool = False
    sha256: str | None = None
    upload: str | None = None
    label: str = ""
    enlarged: str = ""

    def usable_url(self, now: datetime) -> str | None:
        """Return the URL if the service can still fetch it."""
        if self.url is None or (self.expires_at is not None and self.expires_at <= now):
            return None
        return self.url


@dataclass(frozen=True)
class Naming:
    """Who names the images, and what may be named.

    Attributes:
        storage: A view that knows only the images of the caller's scope.
        urls: What is done with http(s) URLs.
        by_model: Whether a language model wrote the strings.
        conversation: What is called so in a conversation; None means every id that the store's view knows.
        label: What errors call the input that is being resolved.
    """

    storage: Storage
    urls: ReferenceUrls = "pass"
    by_model: bool = False
    conversation: ImageNames | None = None
    label: str = "An input image"

    def known(self, image_id: str) -> GeneratedImage | None:
        """Return the image with this id that may be named, or None."""
        return self.storage.get(image_id) if self.conversation is None else self.conversation.known(image_id)


def resolve(sources: Iterable[Any], naming: Naming) -> list[Reference]:
    """Resolve input images in order; a `Reference` with `fetch` must still be downloaded.

    Raises:
        ImageReferenceError: One of them is unknown, refused or unreadable.
    """
    labelled = [(source, _label(index, source)) for index, source in enumerate(sources)]
    return [replace(_resolve(source, replace(naming, label=label)), label=label) for source, label in labelled]


def from_download(reference: Reference, outcome: Outcome, naming: Naming) -> Reference:
    """Return a reference whose URL was downloaded.

    Raises:
        ImageReferenceError: There are no bytes, they are not an image, or another image than was meant. The model is
            told the same for each, and for a URL that may not be dialled: it must not learn what answers where.
    """
    naming = replace(naming, label=reference.label or naming.label)
    problem = _find_problem(outcome)
    if problem is not None:
        raise _refuse_download(reference, naming, *problem)
    data = outcome.body if isinstance(outcome, Reply) else b""
    if reference.sha256 is not None:
        # A client can post messages that name any id beside any URL: only the bytes say which image it is.
        if hashlib.sha256(data).hexdigest() != reference.sha256:
            raise _refuse(naming, f"the URL of {reference.image_id} shows something else", "unknown", NOT_HERE)
        return replace(_from_bytes(data, naming, url=reference.fetch), label=reference.label)
    try:
        downloaded = _from_bytes(data, naming, url=reference.fetch)
    except ImageReferenceError as error:
        raise _refuse_download(reference, naming, f"what its URL shows: {error.__cause__}", lasting=True) from error
    if reference.upload is not None and naming.conversation is not None and downloaded.image_id is not None:
        naming.conversation.downloaded(reference.upload, downloaded.image_id)
    return replace(downloaded, label=reference.label)


def _find_problem(outcome: Outcome) -> tuple[str, bool] | None:
    """Return why a download has no bytes and whether it stays so, or None."""
    if not isinstance(outcome, Reply):
        lasting = isinstance(outcome, NotSent) and not outcome.transient
        is_late = isinstance(outcome, Lost) and outcome.is_late
        reason = "it took longer than the setting `download_timeout`" if is_late else outcome.reason
        return f"its URL could not be downloaded: {reason}", lasting
    if outcome.status == 200:  # noqa: PLR2004  OK
        return None
    lasting = outcome.status < 500 and outcome.status != 429  # noqa: PLR2004  what a server may answer otherwise later
    return f"its URL answered HTTP {outcome.status}", lasting


def _refuse_download(reference: Reference, naming: Naming, why: str, lasting: bool) -> ImageReferenceError:
    if reference.upload is None or naming.conversation is None:
        for_model = UNUSABLE_URL if reference.sha256 is None else NOT_HERE
        return _refuse(naming, why, "unreadable", for_model, instead_of=reference.image_id)
    if lasting:
        naming.conversation.failed(reference.upload, f"{NO_DOWNLOAD}: {ASK_TO_ATTACH}")
    then = ASK_TO_ATTACH if lasting else "try again later"
    return _refuse(naming, why, "unreadable", f"{NO_DOWNLOAD}: {then}", instead_of=reference.upload)


def fit(references: Sequence[Reference]) -> list[Reference]:
    """Return the references with their bytes in the form that may be sent, within the limits of one request.

    Raises:
        ImageReferenceError: An image breaks a rule and can't be made to fit.
    """
    formed = [_wire_form(reference, encode.MAX_WIRE_BYTES) for reference in references]
    if sum(len(reference.data or b"") for reference in formed) > MAX_TOTAL_BYTES:
        share = MAX_TOTAL_BYTES // len(formed)
        formed = [_wire_form(reference, share) for reference in formed]
    return formed


def name_refused(failure: WanError, references: Sequence[Reference]) -> None:
    """Say in an error which of the input images can be meant: those that were sent as URLs."""
    labels = [reference.label for reference in references if reference.label]
    if labels:
        failure.what += f" Sent as URL: {', '.join(labels)}."
        short = ", ".join(map(_shorten, labels))
        failure.advice = f"The service could not load the URL of {short}. Use another image, or tell the user."


def _resolve(source: Any, naming: Naming) -> Reference:
    if isinstance(source, str):
        return _named(source, naming)
    if isinstance(source, GeneratedImage):
        return _from_passed(source, naming)
    if naming.by_model and isinstance(source, InlineImage) and len(source.content) > MAX_MODEL_DATA_URI:
        raise _refuse(naming, "a data URI written by the model is too long", "too_large", UNUSABLE_DATA)
    try:
        data = read_source(source)
    except formats.ImageFileError as error:
        raise _refuse(naming, error.problem, "unreadable", UNUSABLE_DATA, next_step=error.remedy) from error
    return _from_bytes(data, naming)


def _named(name: str, naming: Naming) -> Reference:
    if UPLOAD.fullmatch(name):
        return _from_upload(name, naming)
    if IMAGE_ID.fullmatch(name):
        return _from_id(name, naming)
    if not _URL_START.match(name) or not is_well_formed(name):
        next_step = NEXT_STEP if naming.by_model else FOR_FILE.format(name=name.removeprefix("file://"))
        why = "it is not an id, a data URI or an http(s) URL"
        raise _refuse(naming, why, "unknown", NOT_A_REFERENCE, next_step=next_step)
    # Models drop the signature of a URL that they copy: the stored bytes are meant, and never expire.
    stored = naming.storage.find_by_url(name)
    if stored is not None and naming.known(stored.id) is not None:
        return _from_stored(stored, naming)
    meant = None if naming.conversation is None else naming.conversation.at_url(name)
    return _from_url(meant or name, naming) if meant is None or _URL_START.match(meant) else _named(meant, naming)


def _from_id(name: str, naming: Naming) -> Reference:
    stored = naming.known(name)
    if stored is not None:
        return _from_stored(stored, naming)
    # A new process, and a store in memory: the messages still say where the image is. They say nothing of who may
    # see what is stored here, so that it is downloaded even where its bytes are known.
    image = None if naming.conversation is None else naming.conversation.carried(name)
    if image is None or not _may_be_fetched(image, naming):
        raise _refuse(naming, f"no image is called {name} here", "unknown", NOT_HERE)
    return Reference(fetch=image.url, image_id=name, sha256=image.sha256)


def _from_upload(name: str, naming: Naming) -> Reference:
    upload = None if naming.conversation is None else naming.conversation.upload(name)
    if upload is None:
        raise _refuse(naming, f"no image is called {name} here", "unknown", NOT_HERE)
    if upload.problem is not None:
        reason = "file_id" if upload.problem == ONLY_A_FILE_ID else "unreadable"
        raise _refuse(naming, upload.problem, "ambiguous" if upload.is_ambiguous else reason, upload.problem)
    if upload.url is not None:
        return replace(_from_url(upload.url, naming), upload=name)
    stored = naming.storage.get(upload.image_id or "")
    if stored is None:
        raise _refuse(naming, "it was deleted", "unknown", f"it was deleted: {ASK_TO_ATTACH}", instead_of=name)
    return replace(_from_stored(stored, naming), upload=name)


def _from_url(url: str, naming: Naming) -> Reference:
    if naming.urls == "refuse":
        raise _refuse(naming, "URLs are not accepted", "refused", UNUSABLE_URL)
    if naming.urls == "fetch":
        return Reference(fetch=url)  # the guard judges it, and what it redirects to
    try:
        parse_target(url)
    except RefusedAddressError as error:
        raise _refuse(naming, str(error), "refused", UNUSABLE_URL) from error
    return Reference(url=url)


def _from_passed(image: GeneratedImage, naming: Naming) -> Reference:
    """Return an image object that code passed.

    One that belongs to a store is its bytes. One that was read from JSON belongs to none, and may be made up: it is the
    image of that digest in this scope, else what its URL shows, by the rules for a caller's URLs.
    """
    stored = naming.storage.get(image.id)
    if stored is not None and stored.sha256 != image.sha256:
        stored = None
    knows_all = not naming.storage.scope
    data = None if stored is None and not knows_all else naming.storage.read(image.sha256)
    if data is None and (image._source is not None or knows_all):
        with suppress(StoreError):
            data = image.read()  # it may live in another store, or hold its bytes
    if data is not None:
        facts = image if stored is None else stored
        url = None if stored is None and naming.urls == "refuse" else facts.url
        return Reference(data, facts.mime_type, url, facts.expires_at, image.id)
    if stored is not None:
        return _from_stored(stored, naming)
    if not _may_be_fetched(image, naming):
        raise _refuse_gone(image, naming)
    return Reference(fetch=image.url, image_id=image.id, sha256=image.sha256)


def _may_be_fetched(image: GeneratedImage, naming: Naming) -> bool:
    """Say whether an image may be fetched from the URL that a message or JSON says; a client may have written both."""
    is_usable = image.url is not None and not _has_expired(image) and belongs_to(image.id, image.sha256)
    return is_usable and naming.urls != "refuse"


def _from_stored(image: GeneratedImage, naming: Naming) -> Reference:
    data = naming.storage.read(image.sha256)
    if data is not None:
        return Reference(data, image.mime_type, image.url, image.expires_at, image.id)
    if image.url is None or _has_expired(image):
        raise _refuse_gone(image, naming)
    return Reference(fetch=image.url, of_service=True, image_id=image.id, sha256=image.sha256)


def _has_expired(image: GeneratedImage) -> bool:
    return image.expires_at is not None and image.expires_at <= datetime.now(UTC)


def _refuse_gone(image: GeneratedImage, naming: Naming) -> ImageReferenceError:
    why = f"the bytes of {image.id} are not stored any more"
    return _refuse(naming, why, "gone", "it is not stored any more", instead_of=image.id)


def _from_bytes(data: bytes, naming: Naming, url: str | None = None) -> Reference:
    try:
        info = decode.inspect(data)
    except formats.ImageFileError as error:
        raise _refuse(naming, error.problem, "unreadable", UNUSABLE_DATA, next_step=error.remedy) from error
    stored = naming.storage.keep(data, info)
    return Reference(data, info.mime_type, url, None, stored.id)


def _wire_form(reference: Reference, max_bytes: int) -> Reference:
    if reference.data is None:
        return reference
    try:
        form = encode.wire_form(reference.data, max_bytes=max_bytes)
    except formats.ImageFileError as error:
        text = f"{reference.label or 'An input image'} can't be used as an input image: {error.problem}."
        advice = f"{text} {error.advice}".rstrip()
        raise ImageReferenceError(text, reason="unfit", next_step=error.remedy, advice=advice) from error
    enlarged = form.enlarged or reference.enlarged
    return replace(reference, data=form.data, mime_type=form.mime_type, enlarged=enlarged)


def describe_enlarged(references: Iterable[Reference]) -> list[str]:
    """Return a sentence about each input image that was made larger."""
    rule = f"the service takes no side below {encode.MIN_WIRE_SIDE}"
    enlarged = [(image.upload or image.image_id or image.label, image.enlarged) for image in references]
    return [f"{name} was enlarged {how}: {rule}." for name, how in enlarged if how]


def _label(index: int, source: Any) -> str:
    """Return what errors call an input: an upload name, or its position and value."""
    name = describe_source(source)
    if UPLOAD.fullmatch(name):
        return name
    if isinstance(source, Path):
        path = escape_line(str(source))
        return f"images[{index}] ({'...' if len(path) > LONGEST_LABEL else ''}{path[-LONGEST_LABEL:]})"
    name = "".join(char for char in name.partition("?")[0] if char.isprintable())
    return f"images[{index}] ({name[:LONGEST_LABEL]}{'...' if len(name) > LONGEST_LABEL else ''})"


def _shorten(label: str) -> str:
    # Ids and URLs are not repeated to a model: it could take what a refusal contains for what it may use.
    position, _, value = label.partition(" (")
    is_reference = IMAGE_ID.search(value) is not None or _URL_START.match(value) is not None
    return position if is_reference else label


def _refuse(
    naming: Naming, why: str, reason: str, for_model: str, *, instead_of: str | None = None, next_step: str = NEXT_STEP
) -> ImageReferenceError:
    """Return the error of an input that can't be used.

    Args:
        why: For the operator.
        for_model: The same for everything that a model must not tell apart.
        instead_of: A name that is not offered.
    """
    names = [] if naming.conversation is None else naming.conversation.names()
    names = [name for name in names if name != instead_of]
    listed = f" You can use: {', '.join(names)}." if names else ""
    return ImageReferenceError(
        f"{naming.label} can't be used: {why}.",
        reason=reason,
        next_step=next_step,
        advice=f"{_shorten(naming.label)}: {for_model}.{listed}",
    )
