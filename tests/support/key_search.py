"""Everything that a call leaves behind, searched for the key: logs, output, errors with their locals, files, traces."""

from __future__ import annotations

import base64
import json
import pickle
import traceback
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.load import dumps

from langchain_wan.errors import WanError
from tests.support.fault_server import KEY, FaultServer

# As it is, and as encoders would hide it from a search.
FORMS = [
    KEY.encode(),
    base64.b64encode(KEY.encode()).rstrip(b"="),
    urllib.parse.quote(KEY, safe="").encode(),
    KEY[::-1].encode(),
    KEY.encode().hex().encode(),
]
LARGEST_TRACE = 50_000  # bytes


def contains_key(found: str | bytes) -> bool:
    """Say whether the key stands in it, in any form."""
    data = found.encode(errors="surrogatepass") if isinstance(found, str) else found
    return any(form in data for form in FORMS)


def error_texts(error: BaseException) -> Iterator[str | bytes]:
    """All that a logger, a crash reporter or another process may show of an error."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    yield from report.format(chain=True)
    yield from (repr(error), str(error), repr(error.args), repr(vars(error)), *getattr(error, "__notes__", ()))
    if isinstance(error, WanError):
        yield pickle.dumps(error)


def run_text(run: Any) -> str:
    """What a tracer uploads of a run and the runs within it."""
    own = {"inputs": run.inputs, "outputs": run.outputs, "extra": run.extra, "events": run.events, "error": run.error}
    return dumps(own) + "".join(map(run_text, run.child_runs))


def files_with_key(folder: Path) -> list[Path]:
    """The files of a folder that hold the key."""
    return [path for path in folder.rglob("*") if path.is_file() and contains_key(path.read_bytes())]


def requests_with_key() -> list[Any]:
    """Requests that carried the key to anything but the API."""
    received = [request for server in FaultServer.started for request in server.requests]
    stray = [request for request in received if not request.path.startswith("/v1/")]
    sent = [(request, json.dumps(dict(request.headers)).encode() + request.body) for request in stray]
    in_bodies = [request for request in received if contains_key(request.body) or contains_key(request.path)]
    return [request for request, data in sent if contains_key(data)] + in_bodies
