"""What images cost, and how much may be spent: held before a call, settled after it, exact under concurrency."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from langchain_wan._call.flow import generation
from langchain_wan._call.job import Call, Job
from langchain_wan._call.steps import Notify, Send, Sleep, Work
from langchain_wan._media.encode import encode_png
from langchain_wan._net.messages import Reply
from langchain_wan._services.catalog import PRICES_USD, price_usd
from langchain_wan.budget import Budget
from langchain_wan.client import WanClient
from langchain_wan.errors import BudgetExceededError, InvalidImageRequestError
from langchain_wan.models import ImageResult
from langchain_wan.requests import ImageRequest
from langchain_wan.store import WanStore

PRICE, ZERO, ONE = Decimal("0.030"), Decimal(0), Decimal(1)


# Prices


@pytest.mark.parametrize(
    ("model", "n", "price"),
    [
        ("wan2.7-image", 1, "0.030"),
        ("wan2.7-image", 2, "0.060"),
        ("wan2.7-image", 4, "0.120"),
        ("wan2.7-image-pro", 1, "0.075"),
        ("wan2.7-image-pro", 4, "0.300"),
        ("wan2.7-image", 0, "0"),
    ],
)
def test_a_price_is_exact_dollars(model: str, n: int, price: str) -> None:
    found = price_usd(model, n)
    assert isinstance(found, Decimal)
    assert found == Decimal(price)


def test_one_image_is_the_default() -> None:
    assert price_usd("wan2.7-image") == PRICE


def test_own_prices_stand_over_the_table_and_add_to_it() -> None:
    prices = {"wan2.7-image": Decimal("0.01"), "wan3-image": Decimal("0.5")}
    assert price_usd("wan2.7-image", 2, prices=prices) == Decimal("0.02")
    assert price_usd("wan3-image", 2, prices=prices) == Decimal("1.0")
    assert price_usd("wan2.7-image-pro", prices=prices) == Decimal("0.075")
    assert PRICES_USD["wan2.7-image"] == PRICE


@pytest.mark.parametrize(
    "model", ["", "wan2.7", "WAN2.7-IMAGE", "aisa/wan2.7-image", "wan2.6-t2v", "dall-e-3", "x" * 999]
)
def test_a_model_without_a_price_is_refused_and_the_text_says_how_to_give_one(model: str) -> None:
    with pytest.raises(InvalidImageRequestError) as caught:
        price_usd(model)
    text = str(caught.value)
    assert "wan2.7-image, wan2.7-image-pro" in text
    assert "prices={" in text
    assert "Nothing was charged." in text
    assert len(text) < 500
    assert len(caught.value.advice) <= 200


@pytest.mark.parametrize(
    ("model", "route"),
    [
        ("gemini-3-pro-image-preview", "POST /v1beta/models/{model}:generateContent"),
        ("Gemini-2.5-flash-image", "POST /v1beta/models/{model}:generateContent"),
        ("google/gemini-2.5-flash-image", "POST /v1beta/models/{model}:generateContent"),
        ("nano-banana-pro", "POST /v1beta/models/{model}:generateContent"),
        ("seedream-4-5-251128", "POST /v1/images/generations"),
        ("doubao-seedream-4.0", "POST /v1/images/generations"),
        ("SeeDream-5", "POST /v1/images/generations"),
    ],
)
def test_models_of_other_families_are_told_their_route(model: str, route: str) -> None:
    with pytest.raises(InvalidImageRequestError) as caught:
        price_usd(model)
    assert route in str(caught.value)
    assert "does not call" in str(caught.value)
    assert "/v1" not in caught.value.advice
    assert len(caught.value.advice) <= 200


def test_a_price_makes_any_model_usable() -> None:
    assert price_usd("seedream-4-5", prices={"seedream-4-5": Decimal("0.04")}) == Decimal("0.04")


@given(st.text(st.characters(), max_size=80))
def test_any_name_has_a_price_or_a_refusal_that_can_be_shown(model: str) -> None:
    with pytest.raises(InvalidImageRequestError) as caught:
        price_usd(model)
    str(caught.value).encode()
    assert "\n" not in str(caught.value)


# Limits


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"name": "team"},
        {"max_usd": -1},
        {"max_usd": "-0.01"},
        {"max_usd": "nan"},
        {"max_usd": float("nan")},
        {"max_usd": "inf"},
        {"max_usd": float("inf")},
        {"max_usd": "ten"},
        {"max_usd": ""},
        {"max_usd": True},
        {"max_images": -1},
        {"max_usd": 1, "window": timedelta(days=1)},
        {"max_usd": 1, "name": "team", "window": timedelta(0)},
        {"max_usd": 1, "name": "team", "window": timedelta(seconds=-1)},
    ],
    ids=str,
)
def test_a_budget_that_limits_nothing_or_makes_no_sense_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  each has its own text
        Budget(**limits)


@pytest.mark.parametrize("images", [1.5, True, "5", float("nan"), Decimal(5)])
def test_a_number_of_images_is_a_whole_number(images: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Budget(max_images=images)


@pytest.mark.parametrize("amount", [Decimal("0.1"), 0.1, "0.1"])
def test_dollars_are_exact_however_they_are_written(amount: Decimal | float | str) -> None:
    budget = Budget(max_usd=amount)
    assert budget.max_usd == Decimal("0.1")
    assert budget.remaining_usd == Decimal("0.1")


def test_three_dimes_fit_thirty_cents() -> None:
    budget = Budget(max_usd=0.3)
    for _ in range(3):
        budget.reserve(Decimal("0.1"), 1)
    assert budget.remaining_usd == 0


@pytest.mark.parametrize("budget", [Budget(max_usd=0), Budget(max_images=0)])
def test_a_budget_of_nothing_allows_nothing(budget: Budget) -> None:
    with pytest.raises(BudgetExceededError):
        budget.reserve(PRICE, 1)


def test_a_call_that_fits_exactly_is_allowed_and_the_next_is_not() -> None:
    budget = Budget(max_usd="0.06")
    budget.reserve(Decimal("0.060"), 2)
    with pytest.raises(BudgetExceededError):
        budget.reserve(Decimal("0.000001"), 1)


def test_images_are_limited_apart_from_money() -> None:
    budget = Budget(max_images=3)
    budget.reserve(Decimal(1_000), 2)
    with pytest.raises(BudgetExceededError):
        budget.reserve(Decimal(0), 2)
    budget.reserve(Decimal(0), 1)
    assert budget.remaining_usd is None
    assert budget.held_usd == 1_000


def test_both_limits_hold_at_once() -> None:
    budget = Budget(max_usd=1, max_images=2)
    with pytest.raises(BudgetExceededError):
        budget.reserve(Decimal("1.01"), 1)
    with pytest.raises(BudgetExceededError):
        budget.reserve(Decimal("0.01"), 3)
    assert (budget.held_usd, budget.spent_usd, budget.remaining_usd) == (ZERO, ZERO, ONE)


def test_a_refused_call_holds_nothing() -> None:
    budget = Budget(max_usd=1, max_images=10)
    with pytest.raises(BudgetExceededError):
        budget.reserve(Decimal(2), 1)
    budget.reserve(Decimal(1), 10)
    assert budget.held_usd == 1


# A call's life


def test_a_hold_is_settled_to_what_was_made() -> None:
    budget = Budget(max_usd=1, max_images=4)
    hold = budget.reserve(Decimal("0.12"), 4)
    assert (budget.spent_usd, budget.held_usd, budget.remaining_usd) == (ZERO, Decimal("0.12"), Decimal("0.88"))
    budget.settle(hold, Decimal("0.09"), 3)
    assert (budget.spent_usd, budget.held_usd, budget.remaining_usd) == (Decimal("0.09"), ZERO, Decimal("0.91"))
    budget.reserve(PRICE, 1)
    with pytest.raises(BudgetExceededError):
        budget.reserve(Decimal(0), 1)


def test_a_released_hold_leaves_no_trace() -> None:
    budget = Budget(max_usd=1, max_images=4)
    budget.release(budget.reserve(Decimal("0.12"), 4))
    assert (budget.spent_usd, budget.held_usd, budget.remaining_usd) == (ZERO, ZERO, ONE)
    budget.reserve(Decimal(1), 4)


def test_more_than_was_asked_for_is_counted_and_leaves_less_than_nothing_as_nothing() -> None:
    budget = Budget(max_usd="0.03", max_images=1)
    budget.settle(budget.reserve(PRICE, 1), Decimal("0.120"), 4)
    assert budget.spent_usd == Decimal("0.12")
    assert budget.remaining_usd == 0
    with pytest.raises(BudgetExceededError):
        budget.reserve(Decimal(0), 1)


def test_an_unknown_outcome_keeps_its_hold() -> None:
    budget = Budget(max_usd="0.05")
    budget.reserve(PRICE, 1)
    with pytest.raises(BudgetExceededError):
        budget.reserve(PRICE, 1)
    assert budget.held_usd == PRICE


STEPS = st.lists(
    st.tuples(st.integers(0, 120), st.integers(0, 4), st.sampled_from(("settle", "release", "keep"))), max_size=40
)


@given(steps=STEPS, cents=st.integers(0, 500), images=st.integers(0, 30))
def test_what_is_spent_and_held_never_exceeds_the_limits(steps: Any, cents: int, images: int) -> None:
    budget = Budget(max_usd=Decimal(cents) / 100, max_images=images)
    spent, held, counted = Decimal(0), Decimal(0), 0
    for cost, n, end in steps:
        usd = Decimal(cost) / 100
        fits = spent + held + usd <= Decimal(cents) / 100 and counted + n <= images
        if not fits:
            with pytest.raises(BudgetExceededError):
                budget.reserve(usd, n)
            continue
        hold = budget.reserve(usd, n)
        if end == "settle":
            budget.settle(hold, usd / 2, n)
            spent += usd / 2
        elif end == "release":
            budget.release(hold)
        else:
            held += usd
        counted += 0 if end == "release" else n
        assert (budget.spent_usd, budget.held_usd) == (spent, held)
        assert budget.remaining_usd == Decimal(cents) / 100 - spent - held


def test_a_thousand_threads_spend_exactly_what_is_allowed() -> None:
    threads, allowed = 1_000, 137
    budget = Budget(max_usd=PRICE * allowed, max_images=10**6)
    start, counted, lock = threading.Barrier(threads), {"paid": 0, "refused": 0}, threading.Lock()

    def call() -> None:
        start.wait()
        try:
            hold = budget.reserve(PRICE, 1)
        except BudgetExceededError:
            outcome = "refused"
        else:
            time.sleep(0)
            budget.settle(hold, PRICE, 1)
            outcome = "paid"
        with lock:
            counted[outcome] += 1

    running = [threading.Thread(target=call) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert counted == {"paid": allowed, "refused": threads - allowed}
    assert (budget.spent_usd, budget.held_usd, budget.remaining_usd) == (PRICE * allowed, ZERO, ZERO)


def test_threads_that_release_let_others_in_and_never_go_over_the_limit() -> None:
    budget = Budget(max_images=5)
    inside, most, lock = 0, 0, threading.Lock()

    def call(_: int) -> bool:
        nonlocal inside, most
        try:
            hold = budget.reserve(PRICE, 1)
        except BudgetExceededError:
            return False
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.001)
        with lock:
            inside -= 1
        budget.release(hold)
        return True

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(call, range(400)))
    assert outcomes.count(True) >= 5
    assert most == 5
    assert budget.held_usd == 0
    budget.reserve(PRICE, 5)


# Sharing


def test_a_copy_is_the_budget_itself() -> None:
    budget = Budget(max_usd=1)
    assert copy.deepcopy(budget) is budget
    assert copy.copy(budget) is budget
    assert copy.deepcopy({"a": [budget, budget]}) == {"a": [budget, budget]}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_budget_cannot_be_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(Budget(max_usd=1), protocol)


def test_the_repr_shows_the_limits_that_are_set() -> None:
    assert repr(Budget(max_usd="0.5")) == "Budget(max_usd=Decimal('0.5'))"
    assert repr(Budget(max_images=4, name="team", window=timedelta(days=1))) == (
        "Budget(max_images=4, name='team', window=datetime.timedelta(days=1))"
    )


# Named budgets are counted in the store


def made(client: WanClient) -> ImageResult:
    """The result of one image, its flow carried out by hand."""
    data = base64.b64encode(encode_png(Image.new("RGB", (8, 8), "red"))).decode()
    answer = Reply(200, {}, json.dumps({"choices": [{"message": {"content": [{"image": data}]}}]}).encode())
    flow = generation(Job(ImageRequest(prompt="a fox"), client, client.endpoint(), Call(), time.monotonic))
    outcome: Any = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as end:
            result: ImageResult = end.value
            return result
        assert not isinstance(step, Sleep)
        outcome = step.function() if isinstance(step, Work) else answer if isinstance(step, Send) else None
        assert not isinstance(step, Notify) or outcome is None


def test_a_named_budget_tells_what_the_store_counted() -> None:
    budget = Budget(max_usd=1, name="team")
    client = WanClient(api_key="sk-test", base_url="http://127.0.0.1:9/v1", store=WanStore(), budget=budget)
    assert made(client).cost_usd == PRICE
    assert (budget.spent_usd, budget.held_usd, budget.remaining_usd) == (PRICE, ZERO, Decimal("0.97"))


def test_a_named_budget_of_the_same_name_and_store_counts_together() -> None:
    store = WanStore()
    access: dict[str, Any] = {"api_key": "sk-test", "base_url": "http://127.0.0.1:9/v1", "store": store}
    made(WanClient(**access, budget=Budget(max_usd="0.05", name="team")))
    with pytest.raises(BudgetExceededError):
        made(WanClient(**access, budget=Budget(max_usd="0.05", name="team")))
    made(WanClient(**access, budget=Budget(max_usd="0.05", name="another")))


def test_an_unnamed_budget_is_settled_by_a_call() -> None:
    budget = Budget(max_usd="0.05")
    client = WanClient(api_key="sk-test", base_url="http://127.0.0.1:9/v1", store=WanStore(), budget=budget)
    made(client)
    assert (budget.spent_usd, budget.held_usd) == (PRICE, ZERO)
    with pytest.raises(BudgetExceededError):
        made(client)
