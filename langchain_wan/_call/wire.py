"""Input images as they travel in a request: URLs, or bytes in base64; and the marks by which an answer repeats them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from langchain_wan._call.references import Reference
from langchain_wan._media.large_json import Whole
from langchain_wan._net.addresses import RefusedAddressError, parse_target
from langchain_wan._services.inputs import mark_bytes, mark_url

BASE64_BYTES = 3 * 2**18


def mark(references: Iterable[Reference]) -> list[str]:
    """Return the marks of the images, by which an answer that repeats one of them is known."""
    marks = []
    for reference in references:
        marks += [] if reference.data is None else [mark_bytes(reference.data)]
        marks += [] if reference.url is None else [mark_url(reference.url)]
    return marks


def to_wire(references: Sequence[Reference], *, as_urls: bool, now: datetime) -> list[str] | None:
    """Return a URL or data URI for each reference, or None if one has no usable URL where URLs are asked for."""
    texts: list[str] = []
    for reference in references:
        url = reference.usable_url(now)
        if reference.data is None or as_urls:
            if url is None:
                return None
            texts.append(url)
        else:
            texts.append(Whole(f"data:{reference.mime_type};base64,{_base64(reference.data)}"))
    return texts


def drop_internal_urls(references: Sequence[Reference], service: tuple[str, int] | None) -> list[Reference]:
    """Return the references without the URLs that only this network reaches, where the bytes are there.

    Args:
        service: Host and port of the service if it runs on this machine.
    """
    allowed = frozenset() if service is None else frozenset({service})
    return [
        replace(reference, url=None)
        if reference.data is not None and not _is_public(reference.url, allowed)
        else reference
        for reference in references
    ]


def _is_public(url: str | None, allowed: frozenset[tuple[str, int]]) -> bool:
    try:
        return url is not None and bool(parse_target(url, allowed=allowed))
    except RefusedAddressError:
        return False


def _base64(data: bytes) -> str:
    # In slices of whole groups of three bytes: one big call would hold the interpreter lock.
    pieces = (data[start : start + BASE64_BYTES] for start in range(0, len(data), BASE64_BYTES))
    return "".join([base64.b64encode(piece).decode() for piece in pieces])
