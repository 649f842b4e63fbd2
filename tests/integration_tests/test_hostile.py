"""Hostile arguments from whoever talks to the agent, and hostile answers from whoever runs the gateway.

Each group of hostile input goes through a tool as a model's reference, passed on or downloaded, and through the
service as the URL of a result. Connections are checked at the socket.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage

from langchain_wan import Budget, ImageRequest, RetryPolicy, WanImageTool, WanStore, errors
from langchain_wan._net.addresses import parse_target
from tests.support.fake_network import HOSTILE_NAMES, METADATA, NAT64, PUBLIC_BY_NAT64, REBINDS, Network, network
from tests.support.fault_server import FaultServer, Received, answer, reply
from tests.support.hostile_input import HOSTILE, HOSTILE_REDIRECTS
from tests.support.images import data_uri, png
from tests.support.services import access, build_client

ONCE = RetryPolicy(attempts=1)
# What a model reads depends on what it wrote, never on what answers at an address.
REFUSAL = re.compile(
    r"(images\[[01]\](?: \([^\n]{0,63}\))?|upload_[0-9]+): (it is not an image id, an upload name or a URL"
    r"|this URL can't be used|it is not an image that can be read|no image of this conversation has this name)\."
)
ASYNC = pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "async"])


class Endpoint:
    """A fault server that answers with the image that a test names, and redirects to where it says."""

    def __init__(self) -> None:
        self.result: str = data_uri()
        self.location = "/again"
        files = {
            "/a.png": reply(200, png("green")),
            "/missing.png": reply(404),
            "/hop": self._redirect,
            "/again": self._redirect,
        }
        self.server = FaultServer(self._answer, files=files)

    def _answer(self, connection: socket.socket, request: Received) -> None:
        reply(200, answer(self.result))(connection, request)

    def _redirect(self, connection: socket.socket, request: Received) -> None:
        reply(302, b"", [("Location", self.location)])(connection, request)


@pytest.fixture(scope="module")
def service() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    with endpoint.server:
        yield endpoint


@pytest.fixture
def net(service: Endpoint) -> Iterator[Network]:
    service.result = data_uri()
    with network(service.server.port) as seen:
        yield seen


def tool_for(service: Endpoint, **settings: Any) -> WanImageTool:
    defaults: dict[str, Any] = {"retry": ONCE, "store": WanStore(), "budget": Budget(max_usd=1)}
    return WanImageTool(**access(service.server, **{**defaults, **settings}))


def call(tool: WanImageTool, images: list[str], asynchronous: bool) -> ToolMessage:
    request = {"type": "tool_call", "id": "c1", "name": "wan_image", "args": {"prompt": "x", "images": images}}
    message: ToolMessage = asyncio.run(tool.ainvoke(request)) if asynchronous else tool.invoke(request)
    return message


def test_the_list_is_long_enough() -> None:
    assert sum(map(len, HOSTILE.values())) + len(HOSTILE_REDIRECTS) >= 300


# Hostile as a URL of the service; a model's argument is read as a person would: nothing, or the URL without the space.
HARMLESS_AS_ARGUMENTS = {"", "null", " https://example.com"}

# "pass" checks the text only: what a name resolves to is checked when somebody connects to it.
REFERENCES = [
    (group, mode)
    for group in HOSTILE
    for mode in ("pass", "fetch", "refuse")
    if (group, mode) != ("names that resolve to internal addresses", "pass")
]


@ASYNC
@pytest.mark.parametrize(("group", "mode"), REFERENCES)
def test_a_models_reference(group: str, mode: Any, asynchronous: bool, service: Endpoint, net: Network) -> None:
    """Refused by its form, as the second of two: nothing is sent or reserved, no internal host is reached."""
    tool = tool_for(service, reference_urls=mode)
    budget: Any = tool.budget
    good = tool.store.add(png(), scope=tool._own_scope)
    before = len(service.server.requests)
    wrong = []
    for hostile in (text for text in HOSTILE[group] if text not in HARMLESS_AS_ARGUMENTS):
        message = call(tool, [good.id, hostile], asynchronous)
        if message.status != "error" or REFUSAL.fullmatch(str(message.content)) is None:
            wrong.append((hostile, message.content))
        if message.artifact["error"]["charged"] != "no" or message.artifact["error"]["type"] != "ImageReferenceError":
            wrong.append((hostile, message.artifact))
    assert wrong == []
    assert service.server.requests[before:] == []
    assert net.forbidden() == []
    assert (budget.spent_usd, budget.held_usd) == (0, 0)
    assert tool.store.history() == []


@ASYNC
@pytest.mark.parametrize("group", [name for name in HOSTILE if name not in ("paths", "ids", "data URIs")])
def test_a_result_url_of_the_gateway(group: str, asynchronous: bool, service: Endpoint, net: Network) -> None:
    """The image is billed and lost, and the error says so: no internal host is reached, the cost counts once."""
    wrong: list[Any] = []
    for number, hostile in enumerate(url for url in HOSTILE[group] if not url.startswith("data:")):
        budget = Budget(max_usd=1)
        client = build_client(service.server, retry=ONCE, store=WanStore(), budget=budget)
        service.result = hostile
        request = ImageRequest(prompt=f"{number}")
        before = len(service.server.requests)
        try:
            asyncio.run(client.agenerate(request)) if asynchronous else client.generate(request)
        except (errors.PaidButNotRetrievedError, errors.UnreadableAnswerError) as error:
            if hostile and len(hostile) > 3 and hostile in str(error):
                wrong.append((hostile, str(error)))
        else:
            wrong.append((hostile, "let through"))
        if budget.spent_usd + budget.held_usd != Decimal("0.030"):
            wrong.append((hostile, budget))
        wrong += [(hostile, request) for request in service.server.requests[before + 1 :]]
    assert wrong == []
    assert net.forbidden() == []


@ASYNC
@pytest.mark.parametrize("location", HOSTILE_REDIRECTS)
def test_a_redirect(location: str, asynchronous: bool, service: Endpoint, net: Network) -> None:
    service.location = location
    refused = call(tool_for(service, reference_urls="fetch"), ["http://public.com/hop"], asynchronous)
    assert refused.content == "images[0]: this URL can't be used."
    service.result = "http://public.com/hop"
    client = build_client(service.server, store=WanStore(), download_timeout=5)
    with pytest.raises(errors.PaidButNotRetrievedError):
        asyncio.run(client.agenerate("x")) if asynchronous else client.generate("x")
    assert net.forbidden() == []


@ASYNC
def test_public_urls_are_accepted(asynchronous: bool, service: Endpoint, net: Network) -> None:
    tool = tool_for(service, reference_urls="fetch", scope="store")
    service.location = "http://sub.public.com/a.png"
    for url in ("http://public.com/a.png", "http://public.com:80/a.png?x=1#top", "http://bücher.de/a.png"):
        assert call(tool, [url], asynchronous).status == "success", url
        service.result = url
        assert call(tool, [], asynchronous).status == "success", url
    assert call(tool, ["http://public.com/hop"], asynchronous).status == "success"
    assert {request.headers["host"] for request in service.server.requests if request.path == "/a.png?x=1"} <= {
        "public.com",
        "public.com:80",
    }
    assert net.forbidden() == []


@ASYNC
def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(
    asynchronous: bool, service: Endpoint, net: Network
) -> None:
    tool = tool_for(service, reference_urls="fetch", scope="store")
    assert call(tool, [f"http://{REBINDS}/a.png"], asynchronous).status == "success"
    assert net.looked_up.count(REBINDS) == 1
    assert call(tool, [f"http://{REBINDS}/a.png?again"], asynchronous).status == "error"
    assert net.forbidden() == []


def has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this system has no IPv6")
@ASYNC
def test_a_network_without_ipv4_reaches_public_hosts_through_nat64(
    asynchronous: bool, service: Endpoint, net: Network
) -> None:
    tool = tool_for(service, reference_urls="fetch", scope="store")
    for url in (f"http://{NAT64}/a.png", f"http://[{PUBLIC_BY_NAT64}]/a.png"):
        assert call(tool, [url], asynchronous).status == "success", url
        service.result = url
        assert call(tool, [], asynchronous).status == "success", url
    assert call(tool, ["http://[64:ff9b::10.0.0.1]/a.png"], asynchronous).status == "error"
    assert (PUBLIC_BY_NAT64, 80) in net.dialled
    assert net.forbidden() == []


@ASYNC
def test_proxies_of_the_environment_are_not_used(
    asynchronous: bool, service: Endpoint, net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    tool = tool_for(service, reference_urls="fetch")
    assert call(tool, ["http://public.com/a.png"], asynchronous).status == "success"
    assert call(tool, [f"http://{METADATA}/"], asynchronous).status == "error"
    assert net.forbidden() == []


@ASYNC
def test_internal_networks_can_be_allowed_with_their_names_and_ports(asynchronous: bool, service: Endpoint) -> None:
    port = service.server.port
    own = f"http://localhost:{port}/a.png"
    for networks, status in (((), "error"), (("10.0.0.0/8",), "error"), (("127.0.0.0/8", "::1/128"), "success")):
        tool = tool_for(service, reference_urls="fetch", allowed_networks=networks)
        assert call(tool, [own], asynchronous).status == status
        assert call(tool, [own.replace("localhost", "127.0.0.1")], asynchronous).status == status
    # A port of a public address that web servers do not use stays refused, whatever else is allowed.
    with network(port) as seen:
        tool = tool_for(service, reference_urls="fetch", allowed_networks=("10.0.0.0/8",))
        assert call(tool, ["http://public.com:6379/a.png"], asynchronous).status == "error"
        assert seen.dialled == []


def test_a_refusal_depends_on_what_the_model_wrote_and_reveals_nothing(
    service: Endpoint, net: Network, tmp_path: Path
) -> None:
    """A poisoned page tells the model to pass these, one after the other."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    tool = tool_for(service, reference_urls="fetch")
    foreign = tool.store.add(png(), scope="another user")
    poisoned = [
        "/etc/passwd",
        str(secret),
        "file:///etc/passwd",
        f"file://{secret}",
        f"http://{METADATA}/latest/meta-data/",
        f"http://127.0.0.1:{service.server.port + 1}/",
        "http://nowhere.evil.com/",
        "http://public.com/missing.png",
        foreign.id,
        "img_0000000000000",
        "upload_1",
    ]
    messages = [call(tool, [reference], asynchronous=False) for reference in poisoned]
    reasons = [str(message.content).rpartition(": ")[2] for message in messages]
    assert reasons == [
        *["it is not an image id, an upload name or a URL."] * 4,
        *["this URL can't be used."] * 4,
        *["no image of this conversation has this name."] * 3,
    ]
    assert all(REFUSAL.fullmatch(str(message.content)) for message in messages)
    reported = [
        {name: value for name, value in message.artifact["error"].items() if name != "operation_id"}
        for message in messages
    ]
    assert len({json.dumps(error) for error in reported}) == 1


def test_a_refusal_reads_no_file(
    service: Endpoint, net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real_open = open

    def watched(file: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(str(file))
        return real_open(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", watched)
    monkeypatch.setattr("io.open", watched)
    (tmp_path / "photo.png").write_bytes(png())
    monkeypatch.chdir(tmp_path)
    tool = tool_for(service)
    for path in [*HOSTILE["paths"], str(tmp_path / "photo.png")]:
        call(tool, [path], asynchronous=False)
    assert opened == [str(tmp_path / "photo.png")] or opened == []


def test_the_rules_for_text_accept_each_hostile_name() -> None:
    """Otherwise the tests at the socket would only test the rules for text again."""
    for url in HOSTILE_NAMES:
        assert parse_target(url).host


def test_logs_contain_neither_queries_nor_addresses(
    service: Endpoint, net: Network, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tool = tool_for(service, reference_urls="fetch")
    call(tool, ["http://public.com/a.png?Signature=sig-canary"], asynchronous=False)
    call(tool, ["http://metadata.evil.com/a.png?Signature=sig-canary"], asynchronous=False)
    assert "sig-canary" not in caplog.text
    assert METADATA not in caplog.text
