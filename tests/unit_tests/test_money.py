"""Money: exact in whatever decimal context a caller has, and by one clock."""

from __future__ import annotations

import decimal
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from langchain_wan import Budget, ImageRequest, WanClient, WanStore, errors, price_usd
from langchain_wan._storage.operations import Limit
from tests.support.claims import SERVICE, claim
from tests.support.fault_server import FaultServer, answer, drop, reply
from tests.support.faults import Clock
from tests.support.images import data_uri
from tests.support.services import Generate, build_client

DAY = 86_400
ZERO = Decimal(0)


@pytest.fixture(params=["two digits", "inexact traps", "rounds down"])
def odd_context(request: pytest.FixtureRequest) -> Iterator[None]:
    context = decimal.Context(prec=28 if request.param == "inexact traps" else 2)
    if request.param == "inexact traps":
        context.traps[decimal.Inexact] = True
    context.rounding = decimal.ROUND_DOWN
    with decimal.localcontext(context):
        yield


@pytest.mark.usefixtures("odd_context")
@pytest.mark.parametrize("name", [None, "team"])
def test_a_budget_is_exact_whatever_the_callers_decimal_context_is(name: str | None, generate: Generate) -> None:
    with FaultServer(reply(200, answer(data_uri()))) as server:
        budget = Budget(max_usd="10.05", name=name)
        prices = {"wan2.7-image": Decimal("3.53")}
        client = build_client(server, store=WanStore(), budget=budget, prices=prices)
        for number in range(2):
            assert generate(client, f"{number}").cost_usd == Decimal("3.53")
        with pytest.raises(
            errors.BudgetExceededError, match=r"limit \$10.05: \$7.06 spent, \$0.00 reserved, \$2.99 left"
        ):
            generate(client, "one more")
        assert (budget.spent_usd, budget.held_usd) == (Decimal("7.06"), ZERO)
        assert budget.remaining_usd == Decimal("2.99")
        assert len(server.posts) == 2


@pytest.mark.usefixtures("odd_context")
def test_prices_and_results_are_exact_too(tmp_path: Path) -> None:
    assert price_usd("wan2.7-image", 3, prices={"wan2.7-image": Decimal("1.234")}) == Decimal("3.702")
    with FaultServer(reply(200, answer(data_uri("red"), data_uri("blue"), data_uri("green")))) as server:
        client = build_client(server, store=WanStore(tmp_path), prices={"wan2.7-image": Decimal("1.234")})
        result = client.generate(ImageRequest(prompt="a fox", n=3))
        assert result.cost_usd == Decimal("3.702")
        assert "$3.702" in str(result)
        assert [entry.cost_usd for entry in client.store.history()] == [Decimal("3.702")]
        assert client.store.lineage(result[0].id).cost_usd == Decimal("1.234")
        assert "$1.234" in result._repr_html_()


# Windows


def test_what_is_reserved_counts_whatever_its_age(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = Clock(monkeypatch)
    budget = Budget(max_usd="0.05", name="team", window=timedelta(days=1))
    with FaultServer(drop) as server:
        client = build_client(server, store=WanStore(tmp_path), budget=budget)
        with pytest.raises(errors.PaymentUncertainError):
            client.generate("a fox")
        clock.move(2 * DAY)
        assert (budget.spent_usd, budget.held_usd) == (ZERO, Decimal("0.03"))
        with pytest.raises(errors.BudgetExceededError):
            client.generate("a wolf")
        (entry,) = client.store.unfinished()
        client.store.resolve(entry.operation_id, "charged")
        assert budget.spent_usd == Decimal("0.03")  # it counts from now on
        clock.move(DAY - 60)
        assert budget.spent_usd == Decimal("0.03")
        clock.move(120)
        assert budget.spent_usd == ZERO
        assert len(server.posts) == 1


def test_what_was_settled_is_not_settled_later_by_a_resume(store: WanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    ledger, limit = store._storage.ledger, Limit("team", window=DAY)
    ledger.claim(claim(limit=limit))
    ledger.transition(SERVICE, "one", "partial", cost_nano=5, images=1)
    clock.move(DAY - 10)
    ledger.transition(SERVICE, "one", "done", cost_nano=5, images=1)
    assert ledger.read_spending(limit) == (5, 0, 1)
    clock.move(20)
    assert ledger.read_spending(limit) == (0, 0, 0)


def test_a_clock_that_is_set_back_or_forward_frees_nothing_that_is_reserved(
    store: WanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    ledger, limit = store._storage.ledger, Limit("team", max_images=2, window=60)
    assert ledger.claim(claim(limit=limit)).outcome == "claimed"
    for seconds in (-10 * DAY, 20 * DAY, -DAY):
        clock.move(seconds)
        assert ledger.claim(claim("two", limit=limit)).outcome == "over_budget"


# Bounds


@pytest.mark.parametrize("limits", [{"max_usd": "1e10"}, {"max_usd": Decimal("1e400")}, {"max_images": 2**63}])
def test_a_budget_that_no_ledger_could_count_is_refused(limits: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="max_"):
        Budget(**limits)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("price", ["10001", "1e30", "nan", "-1"])
def test_a_price_that_no_ledger_could_count_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match="price"):
        WanClient(prices={"wan2.7-image": Decimal(price)})


def test_the_largest_budget_and_price_are_counted(tmp_path: Path) -> None:
    with FaultServer(reply(200, answer(data_uri()))) as server:
        budget = Budget(max_usd=10**9, max_images=2**63 - 1, name="team")
        prices = {"wan2.7-image": Decimal(10_000)}
        build_client(server, store=WanStore(tmp_path), budget=budget, prices=prices).generate("a fox")
        assert budget.spent_usd == 10_000
