"""What fails before a request is written sends nothing, reserves nothing, and shows no password."""

from __future__ import annotations

import base64
import pickle
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.load import dumps
from pydantic import SecretStr

from langchain_wan import (
    ImageRequest,
    RetryPolicy,
    WanClient,
    WanConfigurationError,
    WanImageGenerator,
    WanImageTool,
    WanStore,
    errors,
)
from langchain_wan._net.proxy import parse_proxy
from langchain_wan.settings import WanSettings
from tests.support.certificates import server_context, tls, trust_authority
from tests.support.fault_server import KEY, FaultServer, Received, answer, drop, raw, reply, silence
from tests.support.images import data_uri, png
from tests.support.key_search import error_texts
from tests.support.paid_call import ZERO, Case
from tests.support.proxy_server import ProxyServer
from tests.support.thread_limit import forbid_threads

GOOD = reply(200, answer(data_uri()))
USER = "person:canary%40word"  # "canary@word"
PASSWORDS = ("canary", base64.b64encode(b"person:canary@word").decode())
COLOURS = {"a": "red", "b": "green", "c": "blue"}
ONCE = RetryPolicy(attempts=1)


def is_clean(texts: Any) -> bool:
    return not any(password in str(text) for text in texts for password in PASSWORDS)


@pytest.mark.parametrize(
    "variables",
    [
        {"SSL_CERT_FILE": "nope"},
        {"SSL_CERT_FILE": "text"},
        {"SSL_CERT_DIR": "nope"},
        {"SSL_CERT_DIR": "text"},
        {"SSLKEYLOGFILE": "nope/keys"},
        {"SSLKEYLOGFILE": "."},
    ],
)
def test_71_certificates_that_cannot_be_read_are_told_before_anything_is_reserved(
    variables: dict[str, str], case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").write_text("no certificate")
    wrap = tls("127.0.0.1")
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    with FaultServer(GOOD, wrap=wrap) as server:
        with pytest.raises(WanConfigurationError, match=next(iter(variables))):
            case.generate(case.client(server.url), "a fox")
        assert server.connections == 0
    assert case.states() == []
    assert case.money() == (ZERO, ZERO)


def test_certificates_that_vanish_between_two_attempts_leave_nothing_uncertain(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: socket.socket, request: Received) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nope"))
        reply(429, b"", [("Retry-After", "0")])(connection, request)

    trust_authority(tmp_path, monkeypatch)
    with FaultServer(refuse, wrap=tls("127.0.0.1")) as server:
        error = case.fails(server.url, errors.NotSentError)
        assert len(server.posts) == 1
    assert "SSL_CERT_FILE" in str(error)
    case.is_refused(error)


@pytest.mark.parametrize(
    "proxy",
    [
        *(f"{USER}@proxy.example.com:3128", f"socks5://{USER}@proxy.example.com", f"http://{USER}@"),
        *(f"http://{USER}@proxy.example.com:99999", f"http://{USER}@proxy.example.com:31 28", f"//{USER}@host:1"),
        *(f"http://{USER}@proxy.example.com/path?x=1", f"http://{USER}@pröxy.example.com", "", "proxy.example.com"),
    ],
)
@pytest.mark.parametrize("kind", [WanSettings, WanClient, WanImageGenerator, WanImageTool])
def test_a_proxy_that_cannot_be_used_is_refused_by_the_settings_without_being_shown(
    proxy: str, kind: type[WanSettings]
) -> None:
    with pytest.raises(ValueError, match="proxy must be") as caught:
        kind(proxy=proxy)
    del proxy
    assert is_clean([str(caught.value), repr(caught.value), caught.value.errors(), caught.value.json()])  # type: ignore[attr-defined]  # pydantic's
    frames = [text for text in error_texts(caught.value) if "test_before_the_socket" not in str(text)]
    assert is_clean(frames)


def test_a_proxy_that_is_put_into_settings_unchecked_sends_nothing(case: Case) -> None:
    with FaultServer(GOOD) as server:
        client = case.client(server.url).model_copy(update={"proxy": f"{USER}@proxy.example.com"})
        with pytest.raises(WanConfigurationError, match="proxy must be") as caught:
            client.generate("a fox")
        assert server.connections == 0
    assert is_clean([str(caught.value)])
    assert case.states() == []


@pytest.mark.parametrize("kind", [WanClient, WanImageGenerator, WanImageTool])
def test_the_password_of_a_proxy_is_as_secret_as_the_key(kind: type[WanSettings]) -> None:
    made = kind(proxy=f"http://{USER}@proxy.example.com:3128", api_key=KEY)
    shown = [repr(made), str(made), made.model_dump(), made.model_dump_json(include={"proxy", "api_key"}), vars(made)]
    assert is_clean([*shown, made.settings(), dumps(made), pickle.dumps(made), made.endpoint()])
    assert KEY not in str(shown)
    back = pickle.loads(pickle.dumps(made))  # noqa: S301  our own
    assert parse_proxy(back.proxy) == parse_proxy("http://proxy.example.com:3128")  # it asks for the password
    assert parse_proxy(made.proxy) == made.endpoint().proxy


@pytest.mark.parametrize("wrong", [{"modle": KEY}, {"api_keys": KEY}, {"timeout": KEY}, {"api_key": [KEY]}])
@pytest.mark.parametrize("kind", [WanSettings, WanClient, WanImageGenerator, WanImageTool])
def test_no_error_of_the_settings_shows_a_key(wrong: dict[str, Any], kind: type[WanSettings]) -> None:
    settings = {"api_key": KEY, **wrong}
    with pytest.raises((ValueError, TypeError)) as caught:
        kind(**settings)
    shown = [str(caught.value), repr(caught.value)]
    if isinstance(caught.value, ValueError):
        shown += [str(caught.value.errors()), caught.value.json()]  # type: ignore[attr-defined]  # pydantic's
    assert KEY not in str(shown)


@pytest.mark.parametrize("encrypted", [False, True], ids=["http proxy", "https proxy"])
def test_a_paid_request_goes_through_a_proxy_that_asks_for_a_password(
    encrypted: bool, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_authority(tmp_path, monkeypatch)
    wrap = tls("127.0.0.1") if encrypted else None
    with (
        FaultServer(GOOD, wrap=tls("api.aisa.one")) as server,
        ProxyServer(server.port, authorization=f"Basic {PASSWORDS[1]}", wrap=wrap) as proxy,
    ):
        assert case.generate(case.client("https://api.aisa.one/v1", proxy=proxy.url(USER)), "a fox").images
        assert [request.path for request in proxy.requests] == ["api.aisa.one:443"]
        assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in str(proxy.requests)
    case.is_paid()


@pytest.mark.parametrize(
    "behave",
    [reply(407), reply(502), drop, raw(b"HTTP/1.1"), raw(b"garbage\r\n\r\n"), silence()],
    ids=["407", "502", "closed", "cut off", "garbage", "silence"],
)
def test_5_a_proxy_that_fails_leaves_nothing_uncertain_and_shows_no_password(
    behave: Any, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with ProxyServer(1, behave=behave) as proxy:
        url = SecretStr(proxy.url(USER))  # since this frame is searched too
        error = case.fails("https://api.aisa.one/v1", errors.NotSentError, proxy=url, retry=ONCE, timeout=1)
        assert len(proxy.requests) == 1
    assert is_clean([*error_texts(error), caplog.text])
    case.is_refused(error)


def test_a_proxy_with_a_certificate_of_nobody_is_not_sent(case: Case) -> None:
    with ProxyServer(1, wrap=tls("127.0.0.1")) as proxy:
        error = case.fails("https://api.aisa.one/v1", errors.NotSentError, proxy=proxy.url(USER), retry=ONCE)
        assert proxy.requests == []
    assert "certificate" in str(error)
    case.is_refused(error)


@pytest.mark.parametrize("encrypted", [False, True])
def test_70_a_service_on_this_machine_is_not_reached_through_a_proxy(
    encrypted: bool, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_authority(tmp_path, monkeypatch)
    with (
        FaultServer(GOOD, wrap=tls("127.0.0.1") if encrypted else None) as server,
        ProxyServer(server.port) as proxy,
    ):
        assert case.generate(case.client(server.url, proxy=proxy.url()), "a fox").images
        assert proxy.requests == []
        assert len(server.posts) == 1


def test_72_without_another_thread_a_name_is_not_resolved_and_nothing_is_uncertain(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_threads(monkeypatch)
    with FaultServer(GOOD) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        error = case.fails(url, errors.NotSentError, retry=ONCE)
        assert server.connections == 0
    case.is_refused(error)


def test_72_without_another_thread_a_call_is_made_once_and_so_is_each_download(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_urls(connection: socket.socket, request: Received) -> None:
        urls = [f"http://{request.headers['host']}/{name}.png" for name in COLOURS]
        reply(200, answer(*urls))(connection, request)

    forbid_threads(monkeypatch)
    with FaultServer(
        with_urls, files={f"/{name}.png": reply(200, png(colour)) for name, colour in COLOURS.items()}
    ) as server:
        assert len(case.generate(case.client(server.url), ImageRequest(prompt="a fox", n=3)).images) == 3
        assert [request.method for request in server.requests] == ["POST", "GET", "GET", "GET"]


def test_a_download_that_is_not_an_image_is_not_fetched_twice(case: Case) -> None:
    files = {"/a.png": reply(200, png()), "/b.png": reply(200, b"no image"), "/c.png": reply(200, png("green"))}
    with FaultServer(GOOD, files=files) as server:
        urls = tuple(f"{server.origin}{path}" for path in files)
        request = ImageRequest(prompt="a fox", images=urls)
        error = case.fails(
            server.url, errors.ImageReferenceError, request, reference_urls="fetch", allowed_networks=["127.0.0.0/8"]
        )
        fetched = [received.path for received in server.requests]
    assert "/b.png" in fetched
    assert len(fetched) == len(set(fetched))
    assert "images[1]" in str(error)


def ask_for_a_certificate(version: ssl.TLSVersion) -> Callable[[socket.socket], socket.socket]:
    context = server_context("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version

    def wrap(connection: socket.socket) -> socket.socket:
        wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        try:
            wrapped.do_handshake()
        except ssl.SSLError:
            with socket.socket(
                fileno=wrapped.detach()
            ) as plain:  # unread bytes would reset the connection, not the alert
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(2**16):
                    pass
            raise
        return wrapped

    return wrap


def test_73_an_alert_after_the_handshake_is_uncertain_in_blocking_and_async_code(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_authority(tmp_path, monkeypatch)
    with FaultServer(GOOD, wrap=ask_for_a_certificate(ssl.TLSVersion.TLSv1_3)) as server:
        error = case.fails(server.url, errors.PaymentUncertainError)
        assert server.connections == 1
    assert "the TLS connection broke (tlsv13 alert certificate required)" in str(error)
    case.is_uncertain(error)


def test_an_alert_in_the_handshake_is_not_sent_in_blocking_and_async_code(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_authority(tmp_path, monkeypatch)
    with FaultServer(GOOD, wrap=ask_for_a_certificate(ssl.TLSVersion.TLSv1_2)) as server:
        error = case.fails(server.url, errors.NotSentError, retry=ONCE)
    assert "alert" in str(error)
    case.is_refused(error)


def test_what_breaks_before_the_request_is_written_is_not_sent_whatever_it_is(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    case.is_refused(case.fails("https://api.nowhere.example/v1", errors.NotSentError, retry=ONCE))


def test_a_balance_is_not_asked_for_without_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nope"))
    with pytest.raises(errors.NotSentError, match="SSL_CERT_FILE"):
        WanClient(api_key=KEY, store=WanStore()).balance()
