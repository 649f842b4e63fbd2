"""Signed URLs: when they expire, and which URL a shortened copy means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

_SIGNATURE = re.compile(
    r"(?:^|&)(?:x-(?:amz|oss|goog|cos)-|signature|sig|sign|expires|se|policy|token)[^=&]*=", re.IGNORECASE
)


class KnownUrls:
    """Names by URL, and the name of the URL that a model means.

    Models drop the signature of a URL, or break it. So the query is ignored if the model wrote none, or if the query
    of the known URL is a signature, as long as only one image matches. Any other query may be what tells two images
    apart.

    Args:
        known: URLs and the name of each.
    """

    def __init__(self, known: Iterable[tuple[str, str]]) -> None:
        self._exact: dict[str, str] = {}
        self._by_path: dict[str, set[str]] = {}
        self._signed: dict[str, set[str]] = {}
        for url, name in known:
            self._exact.setdefault(url, name)
            bare, query = _split(url)
            self._by_path.setdefault(bare, set()).add(name)
            if _SIGNATURE.search(query) is not None:
                self._signed.setdefault(bare, set()).add(name)

    def find(self, url: str) -> str | None:
        """Return the name of the known URL that is meant, or None."""
        if url in self._exact:
            return self._exact[url]
        bare, query = _split(url)
        matches = (self._signed if query else self._by_path).get(bare, set())
        return next(iter(matches)) if len(matches) == 1 else None


def _split(url: str) -> tuple[str, str]:
    bare, _, query = url.partition("#")[0].partition("?")
    return bare, query


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
