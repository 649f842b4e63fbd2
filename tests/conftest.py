"""Fixtures of all tests: a sandbox, a clean environment, and each call once blocking and once async."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from langchain_wan._call import delivery, lessons, reports
from langchain_wan.client import WanClient
from langchain_wan.models import ImageResult
from langchain_wan.requests import ImageRequest
from langchain_wan.store import WanStore
from tests.support.examples import load_quick_profile
from tests.support.images import draw_plainly

if TYPE_CHECKING:
    from langchain_wan.sandbox.app import Sandbox

load_quick_profile()  # before test modules are imported; the option --hypothesis-profile comes after it


@pytest.fixture(autouse=True)
def clean_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with no key, an empty default store, and no memory of what a service refuses."""
    tracing = ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2")
    for name in ("AISA_API_KEY", "AISA_BASE_URL", *tracing, "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(WanStore, "_default", None)
    monkeypatch.setattr(lessons, "_urls_only", {})


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again at once."""
    monkeypatch.setattr(delivery, "FIRST_DOWNLOAD_WAIT", 0.01)
    monkeypatch.setattr(reports, "INTERVAL", 60)  # a slow machine has no heartbeats among the stages of a test


@pytest.fixture(autouse=True)
def plain_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox makes plain pictures, except for the tests that are about what it draws: drawing takes long."""
    if request.node.get_closest_marker("drawn") is None:
        monkeypatch.setattr("langchain_wan.sandbox.drawing.draw", draw_plainly)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    from langchain_wan.sandbox.app import Sandbox

    with Sandbox() as service:
        yield service


@pytest.fixture
def service(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sandbox:
    """A sandbox that the environment names, in a folder of the test's own: as a person at a terminal has it."""
    monkeypatch.setenv("AISA_API_KEY", sandbox.api_key)
    monkeypatch.setenv("AISA_BASE_URL", sandbox.url)
    monkeypatch.chdir(tmp_path)
    return sandbox


def _blocking(client: WanClient, request: ImageRequest | str, **kwargs: Any) -> ImageResult:
    return client.generate(request, **kwargs)


def _async(client: WanClient, request: ImageRequest | str, **kwargs: Any) -> ImageResult:
    return asyncio.run(client.agenerate(request, **kwargs))


@pytest.fixture(params=[_blocking, _async], ids=["blocking", "async"])
def generate(request: pytest.FixtureRequest) -> Callable[..., ImageResult]:
    """Make images through the blocking and through the async driver."""
    function: Callable[..., ImageResult] = request.param
    return function


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> WanStore:
    return WanStore() if request.param == "memory" else WanStore(tmp_path)
