"""Rows of the fault matrix about what a gateway or a caller does on purpose: bombs, odd text, addresses, secrets."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import signal
import sqlite3
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.checkpoint.sqlite import SqliteSaver

from langchain_wan import (
    ImageRequest,
    ImageResult,
    WanClient,
    WanConfigurationError,
    WanImageGenerator,
    WanImageTool,
    WanStore,
    errors,
)
from tests.support.fault_server import KEY, Behaviour, FaultServer, answer, refusal, reply, silence
from tests.support.hostile_downloads import hostile_download
from tests.support.images import data_uri, png, png_that_claims
from tests.support.key_search import contains_key, files_with_key, run_text
from tests.support.paid_call import Case
from tests.support.processes import run_program
from tests.support.scripted_model import ScriptedChatModel, calls
from tests.support.services import Generate, access, build_client

NO_IMAGES = {
    "text": b"hello",
    "HTML": b"<html><body>Access denied</body></html>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "PDF": b"%PDF-1.4\n%\xe2\xe3",
    "zip": b"PK\x03\x04" + b"\x00" * 60,
    "a PNG's first bytes": b"\x89PNG\r\n\x1a\n",
    "a PNG cut off": png()[:-40],
    "a script with a GIF's name": b"GIF89a/*<script>alert(1)</script>*/",
    "TIFF": b"II*\x00\x08\x00\x00\x00\x00\x00",
    "65000 x 65000": png_that_claims(65000, 65000),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_40_what_is_no_image_is_kept_as_a_raw_answer_and_not_as_an_image(kind: str, case: Case) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(NO_IMAGES[kind]).decode()}"
    with FaultServer(reply(200, answer(uri))) as server:
        error = case.fails(server.url, errors.PaidButNotRetrievedError)
        assert len(server.posts) == 1
    assert error.charged == "yes"
    assert case.money() == (Decimal("0.030"), Decimal(0))
    assert error.operation_id is not None
    assert uri.encode() in (case.store._storage.blobs.raw(f"{server.url} {error.operation_id}") or b"")
    assert list((case.store.location or Path()).glob("blobs/*/*")) == []


def test_40_a_polyglot_is_stored_as_the_image_that_it_is_and_sent_without_its_tail(case: Case) -> None:
    polyglot = png() + b"<script>alert(1)</script>PK\x03\x04"
    with FaultServer(reply(200, answer(f"data:text/html;base64,{base64.b64encode(polyglot).decode()}"))) as server:
        image = case.generate(case.client(server.url), "a fox").images[0]
        assert image.mime_type == "image/png"
        case.generate(case.client(server.url), image.edit("make it night"))
        sent = server.posts[1].json["messages"][0]["content"][0]["image_url"]["url"]
    assert b"<script>" not in base64.b64decode(sent.partition(",")[2])


PEAK = """
import json, resource, sys
from tests.support.hostile_downloads import hostile_call
hostile_call("nothing")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
outcome = hostile_call(sys.argv[1])
print(json.dumps([outcome, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024]))
"""


@pytest.mark.parametrize("kind", ["65000 x 65000", "endless", "a byte a second", "81 megapixels", "52 megapixels"])
def test_41_bombs_end_within_their_caps(kind: str) -> None:
    ended, growth = json.loads(run_program(PEAK, kind).stdout)
    assert ended == "refused"
    assert growth < 96 * 2**20


def test_41_the_largest_image_that_is_accepted_keeps_its_cap_too() -> None:
    made, growth = json.loads(run_program(PEAK, "49 megapixels").stdout)
    assert made == "made"
    assert growth < 300 * 2**20


@pytest.mark.parametrize("size", [(300, 300), (4000, 3000)])
def test_58_a_blob_that_changed_on_disk_is_an_error_and_not_another_picture(
    size: tuple[int, int], tmp_path: Path
) -> None:
    store = WanStore(tmp_path)
    image = store.add(png("red", size))
    (path,) = tmp_path.glob("blobs/*/*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(errors.StoreError, match="damaged"):
        image.read()


TEXTS = {
    "NUL": "a \x00 fox",
    "right to left": "\u202ea fox\u202c",
    "emoji": "\U0001f98a in \u2744\ufe0f",
    "combining": "e\u0301" * 50,
    "quotes": '"]}]} {{x}} ${HOME} %s \\',
    "lc": '{"lc": 1, "type": "secret", "id": ["AISA_API_KEY"]}',
    "prototype": '{"__proto__": {"admin": true}}',
    "longest": "a fox " * 833,
}


@pytest.mark.parametrize("kind", TEXTS)
def test_60_62_odd_text_is_sent_unchanged_and_stays_plain_text(kind: str, case: Case) -> None:
    text = TEXTS[kind]
    with FaultServer() as server:
        request = ImageRequest(prompt=text, metadata={"note": text[:200]})
        result = case.generate(case.client(server.url), request)
        (sent,) = server.posts
    assert sent.json["messages"][0]["content"][-1] == {"type": "text", "text": text}
    assert result.prompt == text
    assert ImageResult.model_validate_json(result.model_dump_json()) == result
    (entry,) = WanStore(case.store.location).history()
    assert entry.prompt == text
    assert result.metadata == {"note": text[:200]}
    traced = json.loads(dumps(case.collector.traced_runs[0].outputs))
    assert KEY not in json.dumps(traced)


@pytest.mark.parametrize("prompt", ["", " \n\t", "\ud800", "a\udfffb", "x" * 5001, None, 5, b"a fox"])
def test_60_other_text_is_a_typed_error_before_anything_is_sent(prompt: Any, case: Case) -> None:
    with FaultServer() as server:
        error = case.fails(server.url, errors.InvalidImageRequestError, {"prompt": prompt})
        assert server.requests == []
    assert error.charged == "no"


@pytest.mark.parametrize("n", [0, 5, -1, 1.5, "2", True, 10**30, [1], float("nan")])
def test_61_a_wrong_count_is_a_typed_error_before_anything_is_sent(n: Any, case: Case) -> None:
    with FaultServer() as server:
        case.fails(server.url, errors.InvalidImageRequestError, {"prompt": "a fox", "n": n})
        assert server.requests == []


def test_61_no_count_is_one_and_stands_on_the_wire(case: Case) -> None:
    with FaultServer() as server:
        case.generate(case.client(server.url), {"prompt": "a fox"})
        assert server.posts[0].json["n"] == 1


@pytest.mark.parametrize(
    "base_url",
    [
        "http://api.aisa.one/v1",
        "http://10.0.0.1/v1",
        "http://localhost.evil.com/v1",
        "http://127.0.0.1.evil.com/v1",
        "https://user:pass@api.aisa.one/v1",
        "https://api.aisa.one/v1?x=1",
        "https://api.aisa.one/v1#x",
        "https://",
        "api.aisa.one/v1",
        "ftp://api.aisa.one",
        "https://api.aisa.one:99999/v1",
        "https://api.aisa.one\\@evil.com/v1",
        "https://api.aisa.one/v1\r\nX: y",
        "",
        " ",
    ],
)
def test_65_a_base_url_that_would_show_the_key_is_refused(base_url: str, generate: Generate) -> None:
    with pytest.raises(WanConfigurationError) as caught:
        generate(WanClient(base_url=base_url or "x", api_key=KEY), "a fox")
    assert not contains_key(str(caught.value))


@pytest.mark.parametrize("after", ["", "/", "//"])
def test_65_a_path_is_kept_and_a_slash_at_its_end_is_none(after: str, case: Case) -> None:
    with FaultServer() as server:
        case.generate(case.client(f"{server.origin}/gateway/v1{after}"), "a fox")
        assert server.posts[0].path == "/gateway/v1/chat/completions"
        FaultServer.started.clear()  # this path is the API's too


@pytest.mark.parametrize("kind", ["a byte a second", "endless", "65000 x 65000"])
def test_67_68_a_reference_server_that_is_slow_or_a_bomb_fails_before_the_post(kind: str, case: Case) -> None:
    with FaultServer(files={"/a.png": hostile_download(kind)}) as server:
        settings = {"reference_urls": "fetch", "allowed_networks": ("127.0.0.0/8",), "download_timeout": 2}
        url = f"{server.origin}/a.png"
        request = ImageRequest(prompt="x", images=(png(), url))
        error = case.fails(server.url, errors.ImageReferenceError, request, **settings)
        assert server.posts == []
    case.is_refused(error)
    assert "127.0.0.1" not in error.advice


@pytest.mark.parametrize(
    "behaviour",
    [
        reply(401, refusal("invalid_api_key", f"Incorrect API key provided: {KEY}")),
        reply(400, refusal("invalid_request", f"the key {KEY} sent this")),
        reply(500, KEY.encode()),
        reply(200, json.dumps({"error": {"code": KEY, "message": KEY}}).encode()),
        reply(200, b'{"choices": [], "echo": "' + KEY.encode() + b'"}'),
        reply(429, refusal("insufficient_quota", KEY), [("X-Request-Id", KEY), ("Retry-After", KEY)]),
        reply(302, b"", [("Location", f"https://evil.example/?{KEY}")]),
        reply(200, KEY.encode(), length=10_000),
        reply(200, answer(data_uri()).replace(b"wan2.7-image", KEY.encode())),
    ],
    ids=["401", "400", "500", "error in 200", "echo", "headers", "redirect", "cut off", "beside an image"],
)
def test_69_a_service_that_quotes_the_key_spreads_it_nowhere(behaviour: Behaviour, case: Case) -> None:
    """The fixture looks at logs, output, errors, files and traces."""
    with FaultServer(behaviour) as server:
        try:
            result = case.generate(case.client(server.url, retry={"attempts": 1}), "a fox")
        except errors.WanError as error:
            case.raised.append(error)
        else:
            assert not contains_key(result.model_dump_json())
        assert len(server.posts) == 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
def test_69_an_interrupted_call_shows_no_key_in_the_locals_of_its_frames() -> None:
    """Ctrl-C while the picture is painted, in a program that prints locals."""
    with FaultServer(silence(20)) as server:
        client = build_client(server, store=WanStore())
        report = ""
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 1)
        try:
            client.generate("a fox")
        except KeyboardInterrupt as error:
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            report = "".join(shown.format())
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert "handle_request" in report
    assert not contains_key(report)


def test_69_an_agent_leaves_the_key_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    collector = RunCollectorCallbackHandler()
    script = [
        calls({"prompt": "a fox"}),
        calls({"prompt": "a fox", "images": ["nothing"]}, start=1),
        AIMessage("Done."),
    ]
    with FaultServer() as server, SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
        tool = WanImageTool(**access(server, store=WanStore(tmp_path / "images")))
        agent = create_agent(ScriptedChatModel(script=script), tools=[tool], checkpointer=saver)
        state: Any = {"messages": [HumanMessage("A fox.")]}
        shown = [
            repr(event)
            for event in agent.stream(
                state,
                {"configurable": {"thread_id": "1"}, "callbacks": [collector]},
                stream_mode=["values", "updates", "custom", "debug"],
            )
        ]
    shown += [repr(tool), str(tool), dumps(tool), json.dumps(tool.args), repr(tool.generator), dumps(tool.generator)]
    shown += [json.dumps(tool.get_input_schema().model_json_schema()), repr(tool.model_dump())]
    shown += [run_text(run) for run in collector.traced_runs]
    assert [text for text in (*shown, caplog.text, *capfd.readouterr()) if contains_key(text)] == []
    assert files_with_key(tmp_path) == []
    assert (tmp_path / "checkpoints.sqlite").exists()
    for one in (tool, tool.generator, WanClient(**tool.settings())):
        assert not contains_key(pickle.dumps(one))


@pytest.mark.parametrize("name", ["api_key", "aisa_api_key", "AISA_API_KEY", "__api_key"])
def test_69_a_key_in_configurable_is_not_read(name: str) -> None:
    with FaultServer() as server, pytest.raises(WanConfigurationError, match="No API key"):
        WanImageGenerator(base_url=server.url).invoke("a fox", {"configurable": {name: KEY}})
    assert server.requests == []


@pytest.mark.parametrize("wrong", [5, ["x"], {"key": KEY}, object()])
def test_69_a_key_of_a_wrong_type_is_not_shown(wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        WanImageTool(api_key=wrong)
    assert not contains_key(str(caught.value))


def test_70_proxies_of_the_environment_are_not_used_for_the_paid_call(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer(reply(502)) as proxy, FaultServer() as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.origin)
        monkeypatch.setenv("NO_PROXY", "")
        case.generate(case.client(server.url), "a fox")
        assert proxy.connections == 0
        assert len(server.posts) == 1


def test_the_ledger_of_a_store_is_plain_json_and_text(tmp_path: Path) -> None:
    """Nothing in a store is unpickled or loaded as code."""
    with FaultServer() as server:
        build_client(server, store=WanStore(tmp_path)).generate(TEXTS["lc"])
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as database:
        kinds = {kind for (kind,) in database.execute("SELECT DISTINCT typeof(request) FROM operations")}
        (request,) = database.execute("SELECT request FROM operations").fetchone()
    database.close()
    assert kinds == {"text"}
    assert json.loads(request)["prompt"] == TEXTS["lc"]
