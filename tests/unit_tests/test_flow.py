"""The life of one generation, driven by hand: no network, no clock, no waiting."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from langchain_wan import errors
from langchain_wan._call.job import Call
from langchain_wan._net.messages import Lost, NotSent, Outcome, Reply
from langchain_wan.budget import Budget
from langchain_wan.requests import ImageRequest
from langchain_wan.retry import RetryPolicy
from langchain_wan.store import WanStore
from tests.support.flow_script import Script, image_reply
from tests.support.images import in_base64, png


def refusal(status: int, code: str, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, headers or {}, json.dumps({"error": {"code": code, "message": "no"}}).encode())


def test_a_generation_tells_each_stage_and_pays_once() -> None:
    script = Script([image_reply(in_base64(png()))])
    result = script.make()
    assert script.stages == ["queued", "submitted", "answered", "stored", "done"]
    assert len(script.sent) == 1
    assert result.cost_usd == Decimal("0.030")
    assert result.images[0].read() == png()


def test_images_are_billed_as_they_came_even_where_fewer_or_more_than_asked() -> None:
    for count in (1, 3):
        budget = Budget(max_usd=1)
        result = Script([image_reply(*[in_base64(png())] * count)]).make(
            ImageRequest(prompt="a fox", n=2), budget=budget
        )
        assert len(result.images) == count
        assert budget.spent_usd == result.cost_usd == Decimal("0.030") * count
        assert budget.held_usd == 0


@pytest.mark.parametrize(
    "first",
    [NotSent("no connection could be made"), refusal(429, "rate_limit_exceeded"), refusal(429, "upstream_rate_limit")],
)
def test_what_certainly_did_no_work_is_sent_again(first: Outcome) -> None:
    script = Script([first, image_reply(in_base64(png()))])
    assert len(script.make().images) == 1
    assert len(script.sent) == 2
    assert script.stages == ["queued", "submitted", "retrying", "submitted", "answered", "stored", "done"]
    assert 0.25 <= script.slept[0] <= 0.5


def test_the_service_sets_the_pace_of_a_retry() -> None:
    script = Script([refusal(429, "rate_limit_exceeded", {"retry-after": "7"}), image_reply(in_base64(png()))])
    script.make()
    assert script.slept == [7.0]


@pytest.mark.parametrize(
    ("outcome", "kind", "charged"),
    [
        (Lost("wait", "it took too long"), errors.PaymentUncertainError, "maybe"),
        (Lost("read", "the connection broke", b'{"choi'), errors.UnreadableAnswerError, "maybe"),
        (Reply(502, {}, b"<html>bad gateway</html>"), errors.PaymentUncertainError, "maybe"),
        (Reply(307, {"location": "https://elsewhere.example"}, b""), errors.PaymentUncertainError, "maybe"),
        (Reply(200, {}, b"[]"), errors.UnreadableAnswerError, "maybe"),
        (refusal(429, "quota_exceeded"), errors.InsufficientCreditError, "no"),
        (refusal(400, "invalid_parameter_error"), errors.StatusError, "no"),
        (refusal(500, "model_not_found"), errors.ModelUnavailableError, "no"),
        (NotSent("its certificate was not accepted", transient=False), errors.NotSentError, "no"),
    ],
)
def test_everything_else_is_sent_once(outcome: Outcome, kind: type[errors.WanError], charged: str) -> None:
    budget = Budget(max_usd=1)
    script = Script([outcome])
    with pytest.raises(kind) as caught:
        script.make(budget=budget)
    assert type(caught.value) is kind
    assert caught.value.charged == charged
    assert caught.value.operation_id
    assert len(script.sent) == 1
    assert script.slept == []
    assert script.stages[-1] == "failed"
    assert budget.held_usd == (Decimal("0.030") if charged == "maybe" else Decimal(0))
    assert budget.spent_usd == 0


def test_attempts_end_by_number_and_the_last_error_is_raised() -> None:
    script = Script([NotSent("no connection could be made")] * 5)
    with pytest.raises(errors.NotSentError) as caught:
        script.make(retry=RetryPolicy(attempts=4))
    assert len(script.sent) == 4
    assert caught.value.is_retryable


def test_a_wait_beyond_the_cap_is_raised_at_once_with_its_length() -> None:
    script = Script([refusal(429, "rate_limit_exceeded", {"retry-after": "9999"})])
    with pytest.raises(errors.RateLimitError) as caught:
        script.make()
    assert caught.value.retry_after == 9999


def test_an_unknown_price_refuses_before_anything_is_done() -> None:
    script = Script([])
    with pytest.raises(errors.InvalidImageRequestError, match="price"):
        script.make(ImageRequest(prompt="a fox", model="wan9"))
    assert script.steps == []


def test_prices_of_the_settings_stand_over_the_table() -> None:
    prices = {"wan9": Decimal("0.5"), "wan2.7-image": Decimal("0.01")}
    assert Script([image_reply(in_base64(png()))]).make(
        ImageRequest(prompt="x", model="wan9"), prices=prices
    ).cost_usd == Decimal("0.5")
    assert Script([image_reply(in_base64(png()))]).make(prices=prices).cost_usd == Decimal("0.01")


def test_a_budget_that_is_used_up_stops_the_call_before_it_is_sent() -> None:
    budget = Budget(max_images=2)
    script = Script([image_reply(in_base64(png()), in_base64(png("blue")))])
    script.make(ImageRequest(prompt="a fox", n=2), budget=budget)
    with pytest.raises(errors.BudgetExceededError) as caught:
        script.make(budget=budget)
    assert caught.value.charged == "no"
    assert len(script.sent) == 1


def test_a_budget_function_is_called_with_the_runtime() -> None:
    budgets = {"anna": Budget(max_images=1), "ben": Budget(max_images=0)}
    budget: Callable[[Any], Budget] = lambda runtime: budgets[runtime]  # noqa: E731  short
    Script([image_reply(in_base64(png()))]).make(call=Call(runtime="anna"), budget=budget)
    with pytest.raises(errors.BudgetExceededError):
        Script([]).make(call=Call(runtime="ben"), budget=budget)


def test_a_budget_function_that_makes_a_new_one_for_each_call_is_a_mistake() -> None:
    budget: Callable[[Any], Budget] = lambda runtime: Budget(max_images=1)  # noqa: E731  short
    Script([image_reply(in_base64(png()))]).make(budget=budget)
    with pytest.raises(errors.WanConfigurationError, match="unnamed Budget"):
        Script([]).make(budget=budget)


def test_a_download_that_may_pass_is_tried_three_times_and_one_that_expired_once() -> None:
    urls = [f"https://cdn.example.com/{name}.png" for name in "abc"]
    bad, gone, good = Reply(500, {}, b""), Reply(403, {}, b"expired"), Reply(200, {}, png())
    script = Script([image_reply(*urls)], {urls[0]: [bad, bad, good], urls[1]: [gone], urls[2]: [good]})
    result = script.make(ImageRequest(prompt="a fox", n=3))
    assert len(result.images) == 2
    assert [(failure.index, failure.reason, failure.retryable) for failure in result.failures] == [
        (1, "HTTP 403", False)
    ]
    assert result.cost_usd == Decimal("0.090")
    assert len(script.sent) == 1


def test_no_image_at_all_is_an_error_that_says_it_was_paid() -> None:
    url = "https://cdn.example.com/a.png"
    script = Script([image_reply(url)], {url: [Reply(404, {}, b"")]})
    with pytest.raises(errors.PaidButNotRetrievedError) as caught:
        script.make()
    assert caught.value.charged == "yes"
    assert caught.value.max_cost_usd == Decimal("0.030")


def test_one_broken_image_does_not_lose_the_others() -> None:
    images = [in_base64(png("red")), "!!!!", base64.b64encode(b"<html>").decode(), in_base64(png("blue"))]
    result = Script([image_reply(*images)]).make(ImageRequest(prompt="a fox", n=4))
    assert [image.read() for image in result.images] == [png("red"), png("blue")]
    assert [failure.index for failure in result.failures] == [1, 2]


def test_a_finished_operation_is_returned_and_nothing_is_sent() -> None:
    store = WanStore()
    request = ImageRequest(prompt="a fox", operation_id="mine")
    first = Script([image_reply(in_base64(png()))]).make(request, store=store)
    again = Script([]).make(request, store=store)
    assert again.replayed
    assert not first.replayed
    assert again.images == first.images
    assert again.images[0].read() == png()
    with pytest.raises(errors.InvalidImageRequestError, match="operation_id"):
        Script([]).make(ImageRequest(prompt="a wolf", operation_id="mine"), store=store)


def test_a_refused_operation_frees_its_id() -> None:
    store = WanStore()
    with pytest.raises(errors.StatusError):
        Script([refusal(400, "invalid_parameter_error")]).make(
            ImageRequest(prompt="a", operation_id="mine"), store=store
        )
    result = Script([image_reply(in_base64(png()))]).make(ImageRequest(prompt="b", operation_id="mine"), store=store)
    assert not result.replayed


def test_on_image_is_called_once_each_and_its_url_becomes_the_images_url() -> None:
    seen: list[str] = []
    store = WanStore()

    def keep(image: Any) -> str:
        seen.append(image.id)
        return f"https://my.bucket.example.com/{image.id}.png"

    result = Script([image_reply(in_base64(png()), in_base64(png("blue")))]).make(
        ImageRequest(prompt="a", n=2), on_image=keep, store=store
    )
    assert seen == [image.id for image in result.images]
    assert result.images[0].url == f"https://my.bucket.example.com/{seen[0]}.png"
    stored = store.get(seen[0])
    assert stored is not None
    assert stored.url == result.images[0].url


def test_an_on_image_that_fails_loses_nothing() -> None:
    def fail(image: Any) -> str:
        raise OSError("bucket is gone")

    with pytest.warns(RuntimeWarning, match="on_image failed"):
        result = Script([image_reply(in_base64(png()))]).make(on_image=fail)
    assert result.images[0].read() == png()


def test_a_service_that_refuses_data_uris_gets_urls_once_and_is_remembered() -> None:
    store = WanStore()
    url = "https://cdn.example.com/parent.png"
    parent = Script([image_reply(url)], {url: [Reply(200, {}, png())]}).make(store=store).images[0]
    script = Script(
        [refusal(400, "InvalidURL"), image_reply(in_base64(png("blue"))), image_reply(in_base64(png("blue")))]
    )
    script.make(parent.edit("make it blue"), store=store)
    script.make(parent.edit("make it blue"), store=store)
    shown = [sent["messages"][0]["content"][0]["image_url"]["url"] for sent in script.sent]
    assert shown[0].startswith("data:image/png;base64,")
    assert shown[1:] == [url, url]
    script = Script([image_reply(in_base64(png("blue")))])
    script.make(parent.edit("make it blue"), store=store, send_references="data")
    assert script.sent[0]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:")


def test_that_data_uris_were_refused_is_forgotten_after_some_minutes() -> None:
    store = WanStore()
    url = "https://cdn.example.com/parent.png"
    parent = Script([image_reply(url)], {url: [Reply(200, {}, png())]}).make(store=store).images[0]
    script = Script([refusal(400, "InvalidURL"), *[image_reply(in_base64(png("blue"))) for _ in range(3)]])
    script.make(parent.edit("make it blue"), store=store)
    script.now += 500
    script.make(parent.edit("make it blue"), store=store)
    script.now += 101
    script.make(parent.edit("make it blue"), store=store)
    shown = [sent["messages"][0]["content"][0]["image_url"]["url"].partition(",")[0] for sent in script.sent]
    assert shown == ["data:image/png;base64", url, url, "data:image/png;base64"]


def test_references_go_as_urls_where_that_is_asked_for() -> None:
    store = WanStore()
    url = "https://cdn.example.com/parent.png"
    parent = Script([image_reply(url)], {url: [Reply(200, {}, png())]}).make(store=store).images[0]
    script = Script([image_reply(in_base64(png("blue")))])
    script.make(parent.edit("make it blue"), store=store, send_references="url")
    assert script.sent[0]["messages"][0]["content"][0]["image_url"]["url"] == url
    with pytest.raises(errors.ImageReferenceError, match="URL"):
        Script([]).make(ImageRequest(prompt="x", images=(png(),)), store=store, send_references="url")
