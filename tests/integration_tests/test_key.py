"""The key is nowhere: not in what a service quotes, however it is written, and in no variable of a frame that fails."""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pydantic import SecretStr

from langchain_wan import ImageRequest, RetryPolicy, WanClient, WanConfigurationError, WanImageInput, WanStore, errors
from langchain_wan._call.names import Upload
from langchain_wan._call.references import Reference
from langchain_wan._call.steps import SendAll
from langchain_wan._net.key_removal import KeyRemoval
from langchain_wan._net.messages import WireRequest
from langchain_wan._services.answer import Answer, ImagePart
from langchain_wan._tool.conversation import ForeignImage
from langchain_wan.settings import WanSettings
from tests.support.certificates import tls, trust_authority
from tests.support.fault_server import KEY, FaultServer, Received, drop, raw, reply, reset, silence
from tests.support.images import data_uri, png
from tests.support.key_search import contains_key, error_texts
from tests.support.paid_call import Case
from tests.support.proxy_server import ProxyServer
from tests.support.services import Generate

ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)
PERCENT = "".join(f"%{ord(char):02x}" for char in KEY)
# How JSON text may spell the key; what stands between quotes.
SPELLINGS = {
    "plain": KEY,
    "escaped": ESCAPED,
    "escaped in part": "".join(char if index % 3 else f"\\u{ord(char):04X}" for index, char in enumerate(KEY)),
    "escaped twice": ESCAPED.replace("\\", "\\\\"),
    "escaped three times": ESCAPED.replace("\\", "\\\\\\\\"),
    "percent": PERCENT,
    "percent in upper case": PERCENT.upper().replace("%", "%25"),
    "of a URL": urllib.parse.quote(KEY, safe=""),
    "HTML": "".join(f"&#{ord(char)};" for char in KEY),
    "HTML in hex": "".join(f"&#x{ord(char):x};" for char in KEY),
    "hex": KEY.encode().hex(),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 of a header": base64.b64encode(f"Bearer {KEY}!".encode()).decode(),
    "base64 of a login": base64.b64encode(f"u:{KEY}".encode()).decode(),
    "after backslashes": f"C:\\\\\\\\{KEY}",
}
KINDS = {  # a status, and the body around a note
    "an answer": (200, f'{{"choices":[{{"message":{{"content":[{{"image":"{data_uri()}"}},{{"text":"%s"}}]}}}}]}}'),
    "no image": (200, '{"choices":[{"message":{"content":"%s"}}]}'),
    "an error in a 200": (200, '{"error":{"code":"odd","message":"%s"}}'),
    "a refusal": (401, '{"error":{"code":"invalid_api_key","message":"%s"}}'),
    "a code": (400, '{"error":{"code":"%s","message":"no"}}'),
    "a failure": (502, "<html>%s</html>"),
    "cut off": (200, '{"choices":[{"message":{"content":["%s'),
}


def fill(body: str, text: str, size: int) -> bytes:
    padding = "abcdefgh " * (size // 9)
    return (body % f"{padding}{text} {padding}").encode()


@pytest.mark.parametrize(
    ("spelling", "kind", "size"),
    [
        *((spelling, kind, 0) for spelling in ("plain", "escaped") for kind in KINDS),
        *((spelling, kind, 0) for spelling in SPELLINGS for kind in ("an answer", "a refusal")),
        *((spelling, kind, 2**20 + 2**19) for spelling in ("plain", "escaped") for kind in ("an answer", "cut off")),
    ],
)
def test_a_key_that_the_service_quotes_is_kept_and_shown_nowhere(
    spelling: str, kind: str, size: int, generate: Generate, tmp_path: Path
) -> None:
    status, body = KINDS[kind]
    text = SPELLINGS[spelling]
    store = WanStore(tmp_path / "store")
    with FaultServer(reply(status, fill(body, text, size), [("X-Request-Id", KEY)])) as server:
        client = WanClient(base_url=server.url, api_key=KEY, store=store)
        if kind == "an answer":
            result = generate(client, "a fox")
            assert result.images[0].read() == base64.b64decode(data_uri().partition(",")[2])
            shown: list[Any] = [result.model_dump_json()]
        else:
            with pytest.raises(errors.WanError) as caught:
                generate(client, "a fox")
            shown = [str(caught.value), repr(vars(caught.value)), json.dumps(errors.error_to_json(caught.value))]
    kept = [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]
    for found in (*shown, *kept):
        assert not contains_key(found)
        assert text not in (found if isinstance(found, str) else found.decode("latin-1"))


@pytest.mark.parametrize("key", ["AAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAA", "x", "AA"])
@pytest.mark.parametrize("form", ["data URI", "base64", "long data URI", "long base64", "with escaped slashes"])
def test_a_stand_in_for_a_key_breaks_no_image(key: str, form: str, generate: Generate) -> None:
    data = png("black", (3000, 3000) if "long" in form else (300, 300))
    data = data[:-12] + (70_000).to_bytes(4, "big") + b"teXt" + bytes(70_004) + data[-12:] if "long" in form else data
    text = base64.b64encode(data).decode()
    image = f"data:image/png;base64,{text}" if "URI" in form else text
    body = json.dumps({"choices": [{"message": {"content": [{"image": image}, {"text": f"the key is {key}"}]}}]})
    body = body.replace("/", "\\/") if "slashes" in form else body
    assert key in body
    with FaultServer(reply(200, body.encode())) as server:
        result = generate(WanClient(base_url=server.url, api_key=key, store=WanStore()), "a fox")
    assert result.images
    assert len(result.images[0].read()) == len(data)


@pytest.mark.parametrize("text", ['"', "\\", "\\" * 7, "%", "&", "s\\", '"data:', '"data:;', '"iVBORw0KGgo'])
def test_the_search_for_a_key_takes_time_in_proportion_to_an_answer(text: str) -> None:
    data = (text * (2**20 // len(text))).encode()  # if each character cost a look at all others, this would not end
    assert KeyRemoval(SecretStr(KEY)).remove(data) == data


@pytest.mark.parametrize("key", ["key/with+all=signs", 'quote"d\\key', "needle-in-a-key", "%percent%key", "&amp;-key;"])
def test_a_key_of_any_characters_is_removed_and_the_json_stays_json(key: str) -> None:
    removal = KeyRemoval(SecretStr(key))
    for before in ("", "\\", "\\\\", "\n", "%", "x"):
        for text in (json.dumps({"m": f"{before}{key}."}), json.dumps({"m": json.dumps(f"{before}{key}.")})):
            cleaned = removal.remove(text.encode())
            assert key not in json.loads(cleaned)["m"]
            assert "[key]" in json.loads(cleaned)["m"]


@contextmanager
def watched(*modules: str) -> Iterator[list[str]]:
    """Look into every frame of these modules in which an error is raised or passes."""
    found: list[str] = []

    def look(frame: FrameType, event: str, argument: Any) -> Any:
        if not str(frame.f_globals.get("__name__", "")).startswith(modules):
            return None
        if event == "exception":
            shown = {name: repr(value) for name, value in list(frame.f_locals.items())}
            found.extend(f"{frame.f_code.co_qualname}: {name}" for name, text in shown.items() if contains_key(text))
        return look

    before = sys.gettrace()
    threading.settrace(look)
    sys.settrace(look)
    try:
        yield found
    finally:
        sys.settrace(before)
        threading.settrace(None)


def refuse_late(connection: socket.socket) -> bool:
    connection.recv(1)
    reset(connection)
    return True


WAYS = {
    "refused": reply(401, b"{}"),
    "dropped": drop,
    "silent": silence(),
    "cut off": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
    "garbage": raw(b"\x00\x01\r\n\r\n"),
    "no image": reply(200, b"{}"),
    "busy": reply(429, b"{}"),
}
LIBRARIES = ("langchain_wan", "httpcore", "httpx", "h11", "anyio", "pydantic")


@pytest.mark.parametrize("way", [*WAYS, "reset"])
def test_no_frame_that_fails_has_the_key_in_a_variable(way: str, generate: Generate) -> None:
    with FaultServer(WAYS.get(way, drop), before_reading=refuse_late if way == "reset" else None) as server:
        client = WanClient(
            base_url=server.url, api_key=KEY, store=WanStore(), timeout=1, retry=RetryPolicy(attempts=2, initial=0.01)
        )
        with watched(*LIBRARIES) as found, pytest.raises(errors.WanError):
            generate(client, "a fox")
    assert found == []


def test_no_frame_has_the_key_or_the_password_of_a_proxy_in_a_variable(
    generate: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_authority(tmp_path, monkeypatch)
    login = SecretStr(f"person:{KEY}")
    for behave in (reply(407), drop, None):
        with (
            FaultServer(drop, wrap=tls("api.aisa.one")) as server,
            ProxyServer(server.port, behave=behave, authorization=_basic(login)) as proxy,
        ):
            address = proxy.url(login.get_secret_value())
            service: dict[str, Any] = {"base_url": "https://api.aisa.one/v1", "api_key": KEY, "proxy": address}
            client = WanClient(**service, store=WanStore(), timeout=2)
            with watched(*LIBRARIES) as found, pytest.raises(errors.WanError):
                generate(client, "a fox")
        assert found == []


def _basic(login: SecretStr) -> str:
    return "Basic " + base64.b64encode(login.get_secret_value().encode()).decode()


def test_no_frame_of_an_interrupted_request_has_the_key_in_a_variable(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain_wan._net import connections

    class Interrupted(BaseException):
        pass

    def interrupt(*args: Any) -> float:
        if args[-1].__name__ in ("ReadTimeout", "WriteTimeout"):
            raise Interrupted
        return 5.0

    monkeypatch.setattr(connections.Route, "limit", interrupt)
    with FaultServer() as server:
        client = WanClient(base_url=server.url, api_key=SecretStr(KEY), store=WanStore())
        with watched(*LIBRARIES) as found, pytest.raises(Interrupted) as caught:
            generate(client, "a fox")
    assert found == []
    assert not any(map(contains_key, error_texts(caught.value)))


@pytest.mark.parametrize("key", [f"{KEY} ", f"{KEY}é", f"{KEY}\n"])
@pytest.mark.parametrize("from_environment", [False, True])
def test_a_key_that_cannot_be_sent_is_in_no_variable(
    key: str, from_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AISA_API_KEY", key)
    with watched(*LIBRARIES) as found, pytest.raises(WanConfigurationError):
        WanSettings(api_key=None if from_environment else key).endpoint()
    assert found == []


@pytest.mark.parametrize(
    "wrong", [{"modle": KEY}, {"timeout": -1}, {"model": "none"}, {"proxy": f"u:{KEY}@x"}, {"api_key": [KEY]}]
)
def test_settings_that_are_refused_leave_the_key_in_no_variable(wrong: dict[str, Any]) -> None:
    with watched(*LIBRARIES) as found, pytest.raises((ValueError, TypeError)):
        WanClient(**{"api_key": KEY, **wrong})
    assert found == []


URL = "https://oss.example.com/a.png?Expires=1&Signature=canary"


@pytest.mark.parametrize(
    "value",
    [
        ImagePart(url=URL),
        Answer((ImagePart(url=URL),)),
        SendAll([URL], 1.0, lambda index, outcome: None),
        Reference(url=URL, fetch=URL),
        WireRequest("POST", "/x", URL.encode(), {"X": URL}),
        Upload("upload_1", url=URL),
        ForeignImage(0, 0, None, URL),
        ImageRequest(prompt="a fox", images=(URL,)),
        WanImageInput(prompt="a fox", images=(URL,)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_repr_shows_the_signature_of_a_url(value: Any) -> None:
    assert "canary" not in repr(value)
    assert "canary" not in str(value)


def test_no_log_shows_the_signature_of_a_url_or_a_key_in_a_header(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    def redirect(connection: socket.socket, request: Received) -> None:
        location = f"http://{request.headers['host']}/b.png?Signature=canary"
        reply(302, b"", [("Location", location)])(connection, request)

    def answer_with_url(connection: socket.socket, request: Received) -> None:
        url = f"http://{request.headers['host']}/a.png?Signature=canary"
        body = json.dumps({"choices": [{"message": {"content": [{"image": url}]}}]}).encode()
        reply(200, body, [("X-Key", KEY), ("Set-Cookie", f"key={KEY}")])(connection, request)

    with FaultServer(answer_with_url, files={"/a.png": redirect, "/b.png": reply(200, png())}) as server:
        assert case.generate(case.client(server.url), "a fox").images
    assert "receive_response_headers.complete" in caplog.text
    assert "canary" not in caplog.text.replace(KEY, "the key")
    assert KEY not in caplog.text
