"""One paid call against a faulty server, and what its money, its store and its errors must say."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_wan import Budget, ImageResult, RetryPolicy, WanClient, WanImageGenerator, WanStore, errors
from tests.support.fault_server import KEY

QUICK = RetryPolicy(initial=0.01, max_backoff=0.02)
PRICE = Decimal("0.030")
ZERO = Decimal(0)


class Traced:
    """Stands in for a client: the call goes through a chain that is traced."""

    def __init__(self, client: WanClient, collector: RunCollectorCallbackHandler) -> None:
        self._generator = WanImageGenerator(**client.settings())
        self._config: RunnableConfig = {"callbacks": [collector]}

    def generate(self, request: Any) -> ImageResult:
        return self._generator.invoke(request, self._config)

    async def agenerate(self, request: Any) -> ImageResult:
        return await self._generator.ainvoke(request, self._config)


class Case:
    """One call against one server, with a budget and a store on disk, and what is to be seen afterwards."""

    def __init__(self, generate: Callable[..., ImageResult], folder: Path) -> None:
        self.collector = RunCollectorCallbackHandler()
        self.generate: Callable[..., ImageResult] = lambda client, request: generate(
            Traced(client, self.collector), request
        )
        self.raised: list[BaseException] = []
        self.budget = Budget(max_usd=1)
        self.store = WanStore(folder / "store")

    def client(self, url: str, **settings: Any) -> WanClient:
        given = {"retry": QUICK, "timeout": 5, "store": self.store, "budget": self.budget, **settings}
        return WanClient(base_url=url, api_key=KEY, **given)

    def fails(self, url: str, kind: type[errors.WanError], request: Any = "a fox", **settings: Any) -> errors.WanError:
        with pytest.raises(kind) as caught:
            self.generate(self.client(url, **settings), request)
        assert type(caught.value) is kind
        self.raised.append(caught.value)
        return caught.value

    def money(self) -> tuple[Decimal, Decimal]:
        return self.budget.spent_usd, self.budget.held_usd

    def states(self) -> list[str]:
        return [entry.state for entry in self.store.history()]

    def is_refused(self, error: errors.WanError) -> None:
        assert error.charged == "no"
        assert self.money() == (ZERO, ZERO)
        assert self.states() in ([], ["refused"])

    def is_uncertain(self, error: errors.WanError) -> None:
        assert error.charged == "maybe"
        assert not error.is_retryable
        assert error.max_cost_usd == PRICE
        assert self.money() == (ZERO, PRICE)
        assert self.states() == ["uncertain"]
        assert [entry.operation_id for entry in self.store.unfinished()] == [error.operation_id]

    def is_paid(self, cost: Decimal = PRICE) -> None:
        assert self.money() == (cost, ZERO)
        assert self.states() == ["done"]
