"""The key, removed from what a service answers: a gateway that refuses a key may quote it, in any escaping."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from pydantic import SecretStr

from langchain_wan._media.large_json import find_long_strings
from langchain_wan._net.credentials import SecretBytes
from langchain_wan._net.decoding import ANSWER_CAP, to_plain
from langchain_wan._net.messages import Lost, Outcome, Reply

MIN_KEY = 8  # characters; a placeholder such as "x" occurs in every text
REMOVED = b"[key]"

# An image in base64 stays as it is: in 100 MB of it, a key such as "AAAAAAAA" occurs by chance.
_IMAGE_START = re.compile(
    rb'[dD][aA][tT][aA]:[^",;]{0,100}(?:;[^",;]{0,100}){0,3},|iVBORw0KGgo|\\?/9j\\?/|UklGR|R0lGOD|Qk[0-3]'
)
_IMAGE = re.compile(rb'(?<=")(?:%b)[A-Za-z0-9+/=\\]*(?=")' % _IMAGE_START.pattern)


class KeyRemoval:
    """Removes one key, in time that grows with the answer.

    What contains the key is an attribute, and no local variable that a report of an error could show.
    """

    def __init__(self, key: SecretStr) -> None:
        self._is_secret = len(key.get_secret_value()) >= MIN_KEY
        self._escaped = re.compile(_match_escaped(key))
        self._forms = list(_encode(key))

    def clean(self, outcome: Outcome) -> Outcome:
        """Return an outcome that contains no key."""
        if not self._is_secret:
            return outcome
        if isinstance(outcome, Reply):
            headers = {name: self.remove(value.encode()).decode() for name, value in outcome.headers.items()}
            return replace(outcome, headers=headers, body=self.remove(to_plain(outcome.body, ANSWER_CAP)))
        if isinstance(outcome, Lost) and outcome.received is not None:
            return replace(outcome, received=self.remove(to_plain(outcome.received, ANSWER_CAP)))
        return outcome

    def remove(self, data: bytes) -> bytes:
        """Return bytes whose texts contain no key."""
        pieces: list[bytes | memoryview] = []
        offset, is_changed = 0, False
        for start, end in (*_find_images(data), (len(data), len(data))):
            text = data[offset:start]
            cleaned = self._replace(text)
            is_changed = is_changed or cleaned != text
            pieces += [cleaned, memoryview(data)[start:end]]
            offset = end
        return b"".join(pieces) if is_changed else data

    def _replace(self, text: bytes) -> bytes:
        if any(mark in text for mark in (b"\\", b"%", b"&")):
            text = self._escaped.sub(REMOVED, text)
        for form in self._forms:
            text = text.replace(form, REMOVED)
        return text


@lru_cache(maxsize=8)
def find_key_removal(key: SecretStr) -> KeyRemoval:
    """Return what removes a key."""
    return KeyRemoval(key)


def _find_images(data: bytes) -> Iterator[tuple[int, int]]:
    offset = 0
    long = [(span.start, span.end) for span in find_long_strings(data) if _IMAGE_START.match(data, span.start)]
    for start, end in (*long, (len(data), len(data))):
        for image in _IMAGE.finditer(data, offset, start):
            yield image.span()
        yield start, end
        offset = end


def _match_escaped(key: SecretStr) -> bytes:
    r"""Return a pattern of the key whose characters may each be escaped, as `\u0073`, `\\u0073`, `%73` or `&#115;`.

    It begins with a character that the regular expression engine finds quickly. All backslashes before the key belong
    to it: one of them, left alone, would escape what replaces the key, and the answer would not be JSON any more.
    """
    first, *others = map(ord, key.get_secret_value())
    start = rb"[%b%%&\\](?:(?<!\\.)(?:(?<=%b)|(?<=%%)%b|(?<=&)%b)|(?<=\\)(?<!\\\\)%b)" % (
        re.escape(bytes([first])),
        re.escape(bytes([first])),
        _percent(first),
        _entity(first),
        _match_character(first),
    )
    return start + b"".join(map(_match_character, others))


def _match_character(code: int) -> bytes:
    return rb"\\*(?:%b|u00%b|%%%b|&%b)" % (re.escape(bytes([code])), _hex(code), _percent(code), _entity(code))


def _percent(code: int) -> bytes:
    return b"(?:25){0,4}" + _hex(code)


def _entity(code: int) -> bytes:
    return b"#(?:0{0,4}%d|[xX]0{0,4}%b);" % (code, _hex(code))


def _hex(code: int) -> bytes:
    return b"".join(b"[%b%b]" % (digit.encode(), digit.upper().encode()) for digit in f"{code:02x}")


def _encode(key: SecretStr) -> Iterator[SecretBytes]:
    """Give the key as it is, in hex, and in base64 at each of the three offsets that it can have in what is encoded."""
    data = SecretBytes(key.get_secret_value().encode())
    yield data
    yield SecretBytes(data.hex().encode())
    yield SecretBytes(data.hex().upper().encode())
    for offset in range(3):
        encoded = SecretBytes(base64.b64encode(b"\x00" * offset + data))
        whole = encoded[-(-offset * 4 // 3) : (offset + len(data)) * 4 // 3]  # what depends on the key alone
        yield SecretBytes(whole)
        yield SecretBytes(whole.translate(bytes.maketrans(b"+/", b"-_")))
