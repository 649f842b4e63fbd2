"""Many at once: one payment for an operation, and budgets that hold exactly."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from langchain_wan import Budget, ImageRequest, WanStore, errors
from tests.support.fault_server import KEY, FaultServer, answer, reply
from tests.support.images import data_uri
from tests.support.processes import Program
from tests.support.services import build_client

RACER = """
import sys
from langchain_wan import ImageRequest, WanStore, WanClient
client = WanClient(base_url=sys.argv[1], api_key=sys.argv[2], store=WanStore(sys.argv[3]))
order = list(range(20)); order = order[int(sys.argv[4]) :] + order[: int(sys.argv[4])]
for number in order:
    result = client.generate(ImageRequest(prompt=f"fox {number}", operation_id=f"operation {number}"))
    assert result.images[0].read()
"""


def test_sixteen_processes_race_on_twenty_operations_and_pay_twenty(tmp_path: Path) -> None:
    with FaultServer(reply(200, answer(data_uri()), after=0.02)) as server:
        with ExitStack() as stack:
            racers = [Program(RACER, server.url, KEY, tmp_path / "store", number) for number in range(16)]
            for racer in racers:
                stack.enter_context(racer)
            ends = [racer.wait(300) for racer in racers]
        assert [end.stderr for end in ends if end.returncode] == []
        assert len(server.posts) == 20


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_threads_that_race_on_one_operation_pay_once(kind: str, tmp_path: Path) -> None:
    store = WanStore() if kind == "memory" else WanStore(tmp_path)
    with FaultServer(reply(200, answer(data_uri()), after=0.2)) as server:
        client = build_client(server, store=store)
        results: list[Any] = []

        def call() -> None:
            results.append(client.generate(ImageRequest(prompt="a fox", operation_id="mine")))

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.posts) == 1
    assert sorted(result.replayed for result in results) == [False] + [True] * 7


@pytest.mark.parametrize("name", [None, "team"])
def test_forty_callers_on_a_budget_for_four_images_pay_four(name: str | None) -> None:
    budget = Budget(max_images=4, name=name)
    with FaultServer(reply(200, answer(data_uri()), after=0.05)) as server:
        client = build_client(server, budget=budget, store=WanStore(), max_concurrency=40)
        ends: list[str] = []

        def call(number: int) -> None:
            try:
                client.generate(f"fox {number}")
            except errors.BudgetExceededError:
                ends.append("refused")
            else:
                ends.append("paid")

        async def acall(number: int) -> None:
            try:
                await client.agenerate(f"wolf {number}")
            except errors.BudgetExceededError:
                ends.append("refused")
            else:
                ends.append("paid")

        async def several() -> None:
            await asyncio.gather(*(acall(number) for number in range(20)))

        threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        asyncio.run(several())
        for thread in threads:
            thread.join()
        assert len(server.posts) == 4
    assert sorted(ends) == ["paid"] * 4 + ["refused"] * 36
    assert budget.spent_usd == Decimal("0.120")
    assert budget.held_usd == 0


def test_a_thousand_threads_and_tasks_on_several_loops_never_pass_the_limit() -> None:
    budget = Budget(max_usd="1.00", max_images=500)
    price = Decimal("0.03")
    held: list[Any] = []

    def reserve() -> None:
        try:
            held.append(budget.reserve(price, 1))
        except errors.BudgetExceededError:
            return

    def in_a_loop() -> None:
        async def several() -> None:
            await asyncio.gather(*(asyncio.to_thread(reserve) if n % 2 else quick() for n in range(100)))

        async def quick() -> None:
            reserve()

        asyncio.run(several())

    threads = [threading.Thread(target=reserve) for _ in range(600)] + [
        threading.Thread(target=in_a_loop) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 33
    assert budget.held_usd == 33 * price
    for number, hold in enumerate(held):
        if number % 3 == 0:
            budget.release(hold)
        else:
            budget.settle(hold, price, 1)
    assert budget.held_usd == 0
    assert budget.spent_usd == 22 * price
