"""Bodies of answers, decoded without unpacking more than a cap allows."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import accumulate

from langchain_wan._net.messages import Lost, Outcome, Reply, is_success

CHUNK = 2**20  # bytes that are unpacked at once
SLICE = 2**16  # bytes that are given to the decoder at once
ANSWER_CAP = 256 * 2**20  # bytes; four 4K images in base64 can be more than 100 MB
REFUSAL_CAP = 2**20  # bytes that are read of an answer that is not a success
GZIP_START = b"\x1f\x8b"
MAX_PACKINGS = 3
# What an answer or an image begins with that is not packed, whatever its headers say.
_PLAIN = re.compile(rb"\s*(?:[{\[]|data:)|\x89PNG|\xff\xd8\xff|RIFF")


class UnpackError(ValueError):
    """A body can't be unpacked; the text says why, as a clause."""


def decode_reply(status: int, headers: Mapping[str, str], body: bytes, cap: int) -> Outcome:
    """Return an answer, its gzip decoded to at most `cap` bytes; `Lost` if that cannot be done.

    Of an answer that is not a success, the first `REFUSAL_CAP` bytes are enough.
    """
    names = re.findall(r"[^\s,]+", headers.get("content-encoding", "").lower())
    packings = [name for name in names if name != "identity"]
    if not packings or _PLAIN.match(body):
        return Reply(status, headers, body)
    unpack = partial(unpack_gzip, cap=cap) if is_success(status) else _unpack_start
    try:
        return Reply(status, headers, _decode(body, packings, unpack))
    except UnpackError as error:
        # Only an answer that may have been billed is worth keeping.
        return Lost("read", f"the answer can't be decoded: {error}", body if is_success(status) else None)


def to_plain(body: bytes, cap: int) -> bytes:
    """Return a body in UTF-8, without the gzip that its headers did not name; as it is if that cannot be done."""
    for _ in range(MAX_PACKINGS):
        if not body.startswith(GZIP_START):
            break
        try:
            body = unpack_gzip(body, cap)
        except UnpackError:
            break
    encoding = json.detect_encoding(body)
    if encoding.startswith("utf-8"):
        return body
    try:
        return body.decode(encoding).encode()
    except UnicodeError:
        return body


def _decode(body: bytes, packings: list[str], unpack: Callable[[bytes], bytes]) -> bytes:
    if len(packings) > MAX_PACKINGS or not {"gzip", "x-gzip"}.issuperset(packings):
        raise UnpackError("its encoding is unknown")
    for _ in packings:
        body = unpack(body)
    return body


def unpack_gzip(body: bytes, cap: int) -> bytes:
    """Return what gzip data unpacks to.

    Raises:
        UnpackError: It is damaged, or unpacks to more than `cap` bytes.
    """
    try:
        # Its size is measured first: a gzip bomb is refused without ever being in memory.
        if any(size > cap for size in accumulate(map(len, _unpack(body)))):
            raise UnpackError(f"unpacked, it is larger than {cap // 2**20} MiB")
        return b"".join(_unpack(body))
    except (zlib.error, EOFError):
        raise UnpackError("its gzip data is damaged") from None


def _unpack_start(body: bytes) -> bytes:
    start = bytearray()
    try:
        for chunk in _unpack(body):
            start += chunk
            if len(start) >= REFUSAL_CAP:
                break
    except EOFError:
        if len(body) < REFUSAL_CAP:  # it was not cut off here
            raise UnpackError("its gzip data is damaged") from None
    except zlib.error:
        raise UnpackError("its gzip data is damaged") from None
    return bytes(start[:REFUSAL_CAP])


def _unpack(body: bytes) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)  # gzip
    # In slices: what the decoder does not take at once, it copies.
    for start in range(0, len(body), SLICE):
        rest = body[start : start + SLICE]
        while rest and not decoder.eof:
            yield decoder.decompress(rest, CHUNK)
            rest = decoder.unconsumed_tail
        if decoder.eof:
            return
    while chunk := decoder.decompress(b"", CHUNK):
        yield chunk
    if not decoder.eof:
        raise EOFError
