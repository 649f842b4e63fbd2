"""Signed URLs: when they expire, and which URL a shortened copy means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

_SIGNATURE = re.compile(
    r"(?:^|&)(?:x-(?:amz|oss|goog|cos)-|signature|sig|sign|expires|se|policy|token)[^=&]*=", re.IGNORECASE
)


def same_url(url: str, known: Iterable[tuple[str, str]]) -> str | None:
    """Return the name of the known URL that a model means, or None.

    Models drop the signature of a URL, or break it. So the query is ignored if the model wrote none, or if the query
    of the known URL is a signature, as long as only one image matches. Any other query may be what tells two images
    apart.

    Args:
        known: URLs and the name of each.
    """
    bare, _, query = url.partition("#")[0].partition("?")
    matches: set[str] = set()
    for other, name in known:
        if other == url:
            return name
        known_bare, _, known_query = other.partition("#")[0].partition("?")
        if known_bare == bare and (not query or _SIGNATURE.search(known_query) is not None):
            matches.add(name)
    return matches.pop() if len(matches) == 1 else None


def find_expiry(url: str) -> datetime | None:
    """Return when a signed URL expires, or None if it does not say."""
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
