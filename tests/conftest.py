"""Fixtures of all tests: a sandbox, a clean environment, and each call once blocking and once async."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from langchain_wan._call import attempts
from langchain_wan.client import WanClient
from langchain_wan.models import ImageResult
from langchain_wan.requests import ImageRequest
from langchain_wan.store import WanStore

if TYPE_CHECKING:
    from langchain_wan.sandbox.app import Sandbox


@pytest.fixture(autouse=True)
def clean_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with no key, an empty default store, and no memory of what a service refuses."""
    for name in ("AISA_API_KEY", "AISA_BASE_URL", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(WanStore, "_default", None)
    monkeypatch.setattr(attempts, "_urls_only", set())


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
