"""Bodies of answers, decoded without unpacking more than a cap allows."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from itertools import accumulate

from langchain_wan._net.messages import Lost, Outcome, Reply, is_success

CHUNK = 2**20  # bytes that are unpacked at once


def decode_reply(status: int, headers: Mapping[str, str], body: bytes, cap: int) -> Outcome:
    """Return a complete answer, its gzip decoded to at most `cap` bytes; `Lost` if that cannot be done."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return Reply(status, headers, body)
    problem = "its encoding is unknown"
    if encoding in {"gzip", "x-gzip"}:
        try:
            # Its size is measured first: a gzip bomb is refused without ever being in memory.
            if any(size > cap for size in accumulate(map(len, _unpack(body)))):
                problem = f"unpacked, it is larger than {cap // 2**20} MiB"
            else:
                return Reply(status, headers, b"".join(_unpack(body)))
        except (zlib.error, EOFError):
            problem = "its gzip data is damaged"
    # Only an answer that may have been billed is worth keeping.
    return Lost("read", f"the answer can't be decoded: {problem}", body if is_success(status) else None)


def _unpack(body: bytes) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)  # gzip
    rest = body
    while not decoder.eof:
        chunk = decoder.decompress(rest, CHUNK)
        rest = decoder.unconsumed_tail
        if not chunk and not rest and not decoder.eof:
            raise EOFError
        yield chunk
