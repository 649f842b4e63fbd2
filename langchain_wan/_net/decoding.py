"""Bodies of answers, decoded without unpacking more than a cap allows."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from itertools import accumulate

from langchain_wan._net.messages import Lost, Outcome, Reply, is_success

CHUNK = 2**20  # bytes that are unpacked at once
GZIP_START = b"\x1f\x8b"
MAX_PACKINGS = 3
# What an answer or an image begins with that is not packed, whatever its headers say.
_PLAIN = re.compile(rb"\s*(?:[{\[]|data:)|\x89PNG|\xff\xd8\xff|RIFF")


class UnpackError(ValueError):
    """A body can't be unpacked; the text says why, as a clause."""


def decode_reply(status: int, headers: Mapping[str, str], body: bytes, cap: int) -> Outcome:
    """Return a complete answer, its gzip decoded to at most `cap` bytes; `Lost` if that cannot be done."""
    names = re.findall(r"[^\s,]+", headers.get("content-encoding", "").lower())
    packings = [name for name in names if name != "identity"]
    if not packings or _PLAIN.match(body):
        return Reply(status, headers, body)
    try:
        return Reply(status, headers, _decode(body, packings, cap))
    except UnpackError as error:
        # Only an answer that may have been billed is worth keeping.
        return Lost("read", f"the answer can't be decoded: {error}", body if is_success(status) else None)


def _decode(body: bytes, packings: list[str], cap: int) -> bytes:
    if len(packings) > MAX_PACKINGS or not {"gzip", "x-gzip"}.issuperset(packings):
        raise UnpackError("its encoding is unknown")
    for _ in packings:
        body = unpack_gzip(body, cap)
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


def _unpack(body: bytes) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)  # gzip
    rest = body
    while not decoder.eof:
        chunk = decoder.decompress(rest, CHUNK)
        rest = decoder.unconsumed_tail
        if not chunk and not rest and not decoder.eof:
            raise EOFError
        yield chunk
