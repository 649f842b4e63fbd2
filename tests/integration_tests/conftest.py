"""Fixtures of tests that make a whole call: an agent's tool, a conversation, a call whose traces are searched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from langchain_wan import WanImageTool
from langchain_wan.sandbox.app import Sandbox
from tests.support.conversations import Talk
from tests.support.fault_server import FaultServer
from tests.support.key_search import (
    LARGEST_TRACE,
    contains_key,
    error_texts,
    files_with_key,
    requests_with_key,
    run_text,
)
from tests.support.paid_call import Case
from tests.support.services import Generate, access


@pytest.fixture
def tool(sandbox: Sandbox) -> WanImageTool:
    return WanImageTool(**access(sandbox))


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def talk(request: pytest.FixtureRequest) -> Talk:
    """Say something to an agent, blocking and async."""

    def say(agent: Any, said: HumanMessage | str, config: RunnableConfig | None = None) -> dict[str, Any]:
        state = {"messages": [HumanMessage(said) if isinstance(said, str) else said]}
        done: dict[str, Any] = (
            asyncio.run(agent.ainvoke(state, config)) if request.param else agent.invoke(state, config)
        )
        return done

    return say


@pytest.fixture
def case(
    generate: Generate, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Case]:
    """A call, with logging at DEBUG and tracing on; afterwards the key is nowhere."""
    caplog.set_level(logging.DEBUG)
    FaultServer.started.clear()
    made = Case(generate, tmp_path)
    yield made
    traces = [run_text(run) for run in made.collector.traced_runs]
    shown = [text for error in made.raised for text in error_texts(error)]
    assert [text for text in (caplog.text, *capfd.readouterr(), *shown, *traces) if contains_key(text)] == []
    assert max(map(len, traces), default=0) < LARGEST_TRACE
    assert files_with_key(tmp_path) == []
    assert requests_with_key() == []
