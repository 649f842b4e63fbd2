"""URLs with signatures: when they end, and which URL a shortened copy means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    pass


_SIGNATURE = re.compile(
    r"(?:^|&)(?:x-(?:amz|oss|goog|cos)-|signature|sig|sign|expires|se|policy|token)[^=&]*=", re.IGNORECASE
)


def same_url(url: str, known: Iterable[tuple[str, str]]) -> str | None:
    """Return the name of the known URL that a model means, or None.

    Models drop the signature of a URL, or break it: a query is ignored where the model gave none, or where the known
    one is a signature, if that leaves one picture. Otherwise a query may be what tells two pictures apart.

    Args:
        known: URLs and what each is called.
    """
    bare, _, query = url.partition("#")[0].partition("?")
    near: set[str] = set()
    for other, name in known:
        if other == url:
            return name
        known_bare, _, known_query = other.partition("#")[0].partition("?")
        if known_bare == bare and (not query or _SIGNATURE.search(known_query) is not None):
            near.add(name)
    return near.pop() if len(near) == 1 else None


def find_expiry(url: str) -> datetime | None:
    """Return when a signed URL ends, or None if it does not say."""
    try:
        query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    except ValueError:
        return None
    try:
        if "expires" in query:  # OSS: seconds since 1970
            return datetime.fromtimestamp(int(query["expires"]), UTC)
        for vendor in ("x-oss", "x-amz"):
            if f"{vendor}-expires" in query:
                signed = datetime.strptime(query[f"{vendor}-date"], "%Y%m%dT%H%M%S%z")
                return signed + timedelta(seconds=int(query[f"{vendor}-expires"]))
    except (ValueError, OverflowError, OSError, KeyError):
        return None
    return None
