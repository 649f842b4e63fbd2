"""A paid answer whose image is base64 in another spelling is not lost."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from langchain_wan import WanClient, WanStore
from tests.support.fault_server import FaultServer, reply
from tests.support.images import PHOTOGRAPH, in_base64, png, to_data_uri
from tests.support.services import Generate, access

SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "plain": in_base64,
    "data URI": to_data_uri,
    "another label": lambda data: f"data:application/octet-stream;base64,{in_base64(data)}",
    "safe for URLs": lambda data: base64.urlsafe_b64encode(data).decode(),
    "without padding": lambda data: in_base64(data).rstrip("="),
    "safe for URLs, without padding": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "in lines": lambda data: base64.encodebytes(data).decode(),
    "in lines of a mail": lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
    "between blanks": lambda data: f" {in_base64(data)} ",
    "percent-encoded": lambda data: to_data_uri(data).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
}


@pytest.mark.parametrize("escaped", [False, True], ids=["", "escaped slashes"])
@pytest.mark.parametrize(
    "data", [png(), PHOTOGRAPH, PHOTOGRAPH + b"x", PHOTOGRAPH + b"xx"], ids=["short", "0", "1", "2"]
)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_it_is_stored_as_it_was_sent(spelling: str, data: bytes, escaped: bool, generate: Generate) -> None:
    content = [{"type": "image", "image": SPELLINGS[spelling](data)}]
    body = json.dumps({"choices": [{"message": {"content": content}}]})
    with FaultServer(reply(200, (body.replace("/", "\\/") if escaped else body).encode())) as server:
        result = generate(WanClient(**access(server, store=WanStore())), "a fox")
        assert result.images[0].read() == data
        assert len(server.posts) == 1
