"""The tree of errors: what each says, what it costs, and who may try again."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents.middleware import ToolRetryMiddleware
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.exceptions import ModelError
from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException
from langgraph.types import RetryPolicy as GraphRetryPolicy

from langchain_wan import errors
from langchain_wan.errors import (
    NOT_CHARGED,
    UNAVAILABLE,
    AuthenticationError,
    BudgetExceededError,
    ContentPolicyError,
    ImageReferenceError,
    InsufficientCreditError,
    InvalidImageRequestError,
    ModelUnavailableError,
    NotSentError,
    PaidButNotRetrievedError,
    PaymentUncertainError,
    RateLimitError,
    StatusError,
    StoreError,
    UnreadableAnswerError,
    WanConfigurationError,
    WanError,
)

PARENTS: dict[type[WanError], type[Exception]] = {
    InvalidImageRequestError: WanError,
    ImageReferenceError: WanError,
    BudgetExceededError: WanError,
    NotSentError: WanError,
    StatusError: WanError,
    AuthenticationError: StatusError,
    InsufficientCreditError: StatusError,
    ContentPolicyError: StatusError,
    RateLimitError: StatusError,
    ModelUnavailableError: StatusError,
    PaymentUncertainError: WanError,
    UnreadableAnswerError: PaymentUncertainError,
    PaidButNotRetrievedError: WanError,
    StoreError: WanError,
}
KINDS: list[type[WanError]] = [WanError, *PARENTS]
UNCERTAIN: set[type[WanError]] = {PaymentUncertainError, UnreadableAnswerError}


def example(kind: type[WanError], **kwargs: Any) -> WanError:
    """One error of a class, with what its constructor cannot do without."""
    required: dict[str, Any] = {"status_code": 418} if issubclass(kind, StatusError) else {}
    return kind("Something happened.", next_step="Do something.", **required, **kwargs)


def charged_by_default(kind: type[WanError]) -> str:
    if kind in UNCERTAIN:
        return "maybe"
    return "yes" if kind is PaidButNotRetrievedError else "no"


@pytest.mark.parametrize("kind", PARENTS)
def test_each_error_stands_where_the_tree_says(kind: type[WanError]) -> None:
    assert kind.__base__ is PARENTS[kind]


def test_the_tree_of_the_docstring_names_every_error() -> None:
    written = set(errors.__doc__.split()) if errors.__doc__ else set()
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, WanError)}
    assert defined == {kind.__name__ for kind in KINDS}
    assert defined <= written


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_can_report_each_error_and_a_program_can_catch_each(kind: type[WanError]) -> None:
    assert issubclass(kind, ToolException)
    assert issubclass(kind, ModelError)
    assert issubclass(kind, RuntimeError)


def test_a_mistake_in_the_setup_is_never_told_to_a_model() -> None:
    assert issubclass(WanConfigurationError, ValueError)
    assert not issubclass(WanConfigurationError, ToolException | WanError)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_certainly_did_no_work_and_will_pass_is_retryable(kind: type[WanError]) -> None:
    assert example(kind).is_retryable is (kind in {NotSentError, RateLimitError})


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_says_whether_money_was_spent(kind: type[WanError]) -> None:
    error = example(kind, max_cost_usd=Decimal("0.30"))
    error.operation_id = None if kind.is_of_call_only else "one"
    assert error.charged == charged_by_default(kind)
    money = {
        "no": "Nothing was charged.",
        "maybe": "It may have been charged ($0.30).",
        "yes": "It was charged ($0.30).",
    }[error.charged]
    assert str(error) == f"Something happened. {money} Do something."


@pytest.mark.parametrize("kind", [StoreError, ImageReferenceError])
def test_what_is_read_outside_of_a_call_says_nothing_of_charges(kind: type[WanError]) -> None:
    assert str(example(kind)) == "Something happened. Do something."


@pytest.mark.parametrize("kind", KINDS)
def test_a_cost_is_named_only_where_something_may_have_been_charged(kind: type[WanError]) -> None:
    error = example(kind, max_cost_usd=Decimal("0.30"))
    assert error.max_cost_usd == (None if error.charged == "no" else Decimal("0.30"))


def test_an_unknown_cost_leaves_no_gap_in_the_text() -> None:
    assert str(PaymentUncertainError("Silence.")) == "Silence. It may have been charged."
    assert str(PaidButNotRetrievedError("Lost.")) == "Lost. It was charged."


def test_a_store_error_after_payment_says_that_it_was_charged() -> None:
    error = StoreError("The disk is full.", charged="yes", max_cost_usd=Decimal("0.06"))
    assert error.charged == "yes"
    assert str(error) == "The disk is full. It was charged ($0.06)."


def test_not_charged_holds_exactly_what_is_safe_to_fall_back_from() -> None:
    assert set(NOT_CHARGED) == {
        NotSentError,
        StatusError,
        BudgetExceededError,
        ImageReferenceError,
        InvalidImageRequestError,
    }


@pytest.mark.parametrize("kind", [*sorted(UNCERTAIN, key=str), PaidButNotRetrievedError])
def test_what_may_have_been_charged_is_not_caught_by_a_fallback(kind: type[WanError]) -> None:
    assert not issubclass(kind, NOT_CHARGED)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if issubclass(kind, NOT_CHARGED)])
def test_what_a_fallback_catches_was_not_charged(kind: type[WanError]) -> None:
    assert example(kind).charged == "no"


@pytest.mark.parametrize("kind", KINDS)
def test_advice_is_short_and_names_no_address_key_or_path(kind: type[WanError]) -> None:
    advice = example(kind).advice
    assert 20 <= len(advice) <= 200
    assert not any(mark in advice for mark in ("http", "://", "@", "sk-", "/", "AISA_", "\n"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_an_operator_can_mend_is_unavailable_to_the_model(kind: type[WanError]) -> None:
    error = example(kind)
    assert error.needs_operator is (error.advice == UNAVAILABLE)


@pytest.mark.parametrize("kind", [AuthenticationError, InsufficientCreditError, ModelUnavailableError, StoreError])
def test_keys_credit_models_and_disks_are_the_operators_business(kind: type[WanError]) -> None:
    assert example(kind).needs_operator


@pytest.mark.parametrize("kind", [ContentPolicyError, InvalidImageRequestError, ImageReferenceError, StatusError])
def test_what_the_model_can_change_is_told_to_the_model(kind: type[WanError]) -> None:
    assert not example(kind).needs_operator


def test_the_advice_of_one_error_replaces_that_of_its_class() -> None:
    error = ImageReferenceError("No.", advice="Use img_k3v9x2abq7m1t.")
    assert error.advice == "Use img_k3v9x2abq7m1t."
    assert error.advice not in str(error)


def test_a_reference_error_has_a_reason_for_code() -> None:
    assert ImageReferenceError("No.").reason == "refused"
    assert ImageReferenceError("No.", reason="too_large").reason == "too_large"


def test_a_status_error_carries_what_support_asks_for() -> None:
    error = StatusError("No.", status_code=422, code="odd", request_id="req-1", retry_after=2.5)
    assert (error.status_code, error.code, error.request_id, error.retry_after) == (422, "odd", "req-1", 2.5)
    assert error.input_url_refused is False


def test_an_uncertain_error_says_where_it_stopped() -> None:
    error = PaymentUncertainError("Silence.", stage="read", status_code=502, request_id="req-2")
    assert (error.stage, error.status_code, error.request_id) == ("read", 502, "req-2")


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_says_the_same(kind: type[WanError]) -> None:
    error = example(kind, code="odd", operation_id="op-1", max_cost_usd=Decimal("0.06"), advice="Stop.")
    for other in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301  our own bytes
        assert type(other) is kind
        assert str(other) == str(error)
        assert other.args == error.args
        assert vars(other) == vars(error)
        assert other.is_retryable is error.is_retryable


@pytest.mark.parametrize("kind", KINDS)
def test_langgraphs_default_policy_runs_no_node_again(kind: type[WanError]) -> None:
    retry_on = GraphRetryPolicy().retry_on
    assert callable(retry_on)
    assert retry_on(example(kind)) is False


@pytest.mark.parametrize("kind", KINDS)
def test_langchains_retry_middleware_calls_again_only_what_is_retryable(kind: type[WanError]) -> None:
    error, calls = example(kind), []

    def handler(request: ToolCallRequest) -> ToolMessage:
        calls.append(request)
        raise error

    call = ToolCallRequest(
        tool_call={"name": "wan_image", "args": {}, "id": "call_0", "type": "tool_call"},
        tool=None,
        state={},
        runtime=None,  # type: ignore[arg-type]  # the middleware does not look at it
    )
    middleware = ToolRetryMiddleware(max_retries=2, initial_delay=0, jitter=False, on_failure="error")
    with pytest.raises(kind):
        middleware.wrap_tool_call(call, handler)
    assert len(calls) == (3 if error.is_retryable else 1)
