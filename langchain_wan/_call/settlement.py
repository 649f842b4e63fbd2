"""The claim of an operation, the reservation of its money, and how both end without a result."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from inspect import isawaitable
from typing import Any, cast
from weakref import WeakKeyDictionary, ref

from langchain_wan._call.job import Job
from langchain_wan._call.states import ending
from langchain_wan._call.steps import Flow, Work
from langchain_wan._concurrency.callbacks import complete
from langchain_wan._net import send
from langchain_wan._storage.money import to_nano
from langchain_wan._storage.operations import Claim, ClaimResult, Limit, Operation
from langchain_wan._text.logs import logger
from langchain_wan.budget import Budget
from langchain_wan.errors import (
    BLOCKED_UNTIL_SETTLED,
    BudgetExceededError,
    PaymentUncertainError,
    StoreError,
    WanConfigurationError,
    WanError,
    error_to_json,
)


def claim_operation(job: Job, fingerprint: str) -> Flow[Operation | None]:
    """Take the operation and reserve its money; return the operation that is in the way, if there is one.

    Raises:
        BudgetExceededError: The budget does not allow the call.
        StoreError: The store can't be written, so the call is not made.
        WanConfigurationError: The network can't be set up.
    """
    job.budget = yield from _find_budget(job)
    limit = None if job.budget is None else job.budget.limit()
    if job.budget is not None and limit is not None:
        job.budget.count_in(job.ledger, job.endpoint.base_url)
    claim = _build_claim(job, fingerprint, limit)

    def take() -> ClaimResult:
        send.prepare()
        job.storage.blobs.ensure_space(job.request.n)
        result = job.ledger.claim(claim)
        if result.outcome == "claimed":
            job.reached = "claimed"  # here, where a cancelled wait for this thread can't miss it
            _reserve(job, limit)
        if result.outcome == "over_budget" and job.budget is not None:
            raise job.budget.build_refusal(job.max_cost, job.request.n)
        return result

    try:
        result = yield Work(take)
    except GeneratorExit:
        give_up(job)
        raise
    except BaseException:
        if job.reached == "claimed":
            yield Work(lambda: give_up(job))
        raise
    if result.outcome == "claimed":
        return None
    return cast("Operation", result.operation)


def _build_claim(job: Job, fingerprint: str, limit: Limit | None) -> Claim:
    return Claim(
        service=job.endpoint.base_url,
        id=job.operation_id,
        scope=job.scope,
        fingerprint=fingerprint,
        turn=job.call.turn,
        named_by_caller=job.request.operation_id is not None,
        is_repeat_of=job.call.is_repeat_of,
        max_nano=to_nano(job.max_cost),
        request={
            "model": job.model,
            "prompt": job.request.prompt,
            "n": job.request.n,
            "size": job.request.size,
            "parents": job.parents,
            "inputs": job.inputs,
            "adjustments": job.adjustments,
            "metadata": job.request.metadata,
            "asked_by": job.call.asked_by,
            "sandbox": job.endpoint.is_sandbox,
        },
        limit=limit,
    )


def _reserve(job: Job, limit: Limit | None) -> None:
    # After the claim: a repeated uncertain call is told of that, not of the money that is still reserved for it.
    if job.budget is None or limit is not None:
        return
    try:
        job.reservation = job.budget.reserve(job.max_cost, job.request.n)
    except BudgetExceededError as error:
        give_up(job, error)
        raise


def _find_budget(job: Job) -> Flow[Budget | None]:
    budget = job.settings.budget
    if budget is None or isinstance(budget, Budget):
        return budget
    try:
        returned = budget(job.call.runtime)
        if isawaitable(returned):
            returned = yield Work(partial(complete, returned))
    except Exception as error:
        raise WanConfigurationError(f"The budget function failed: {type(error).__name__}.") from error
    if returned is None:
        return None
    if not isinstance(returned, Budget):
        raise WanConfigurationError(f"The budget function must return a Budget or None; got {type(returned).__name__}.")
    if returned.name is None and _replaces_a_forgotten_one(budget, job.scope, returned):
        raise WanConfigurationError(
            "The budget function returned a new unnamed Budget where it had returned one before: it would never limit "
            "anything. Return the same object each time, or a named Budget."
        )
    return returned


# The last unnamed budget that a function returned for each of its newest scopes. Whoever keeps a budget for each user
# keeps it alive; one that is gone when the next one comes was made for a single call.
_last_budgets: WeakKeyDictionary[Callable[..., Any], OrderedDict[str, ref[Budget]]] = WeakKeyDictionary()
REMEMBERED_SCOPES = 1000


def _replaces_a_forgotten_one(function: Callable[..., Any], scope: str, budget: Budget) -> bool:
    try:
        last = _last_budgets.setdefault(function, OrderedDict())
    except TypeError:  # an object that can't be a key
        return False
    earlier = last.pop(scope, None)
    last[scope] = ref(budget)
    if len(last) > REMEMBERED_SCOPES:
        last.popitem(last=False)
    return earlier is not None and earlier() is None


def give_up(job: Job, failure: WanError | None = None) -> None:
    """Write down how a call ended without a result; the error says from now on what that means for the money.

    Args:
        failure: None means that it was interrupted.
    """
    if job.reached == "new" or job.reached == "ended":  # noqa: PLR1714  mypy narrows by comparisons only
        return
    end = ending(job.reached, failure)
    job.reached = "ended"
    error = build_interrupted(job) if failure is None else failure
    error.operation_id = job.operation_id
    error.charged = end.charged
    if end.money == "released":
        release_reservation(job)
    else:
        _keep_reservation(job)
    try:
        if end.state == "partial":
            job.ledger.mark_resumable(*job.key)
        else:
            job.ledger.fail(*job.key, end.state, error_to_json(error))
    except StoreError as unwritten:
        # The error that ended the call is the one to raise; unwritten, the operation counts as interrupted.
        logger.error("operation %s could not be written down: %s", job.operation_id, unwritten)  # noqa: TRY400  its trace says no more
    finally:
        job.ledger.mark_idle(*job.key)


def release_reservation(job: Job) -> None:
    """Release the money that a budget of this process reserved for the call."""
    if job.budget is not None and job.reservation is not None:
        job.budget.release(job.reservation)
        job.reservation = None


def _keep_reservation(job: Job) -> None:
    if job.budget is not None and job.reservation is not None:
        job.storage.keep_reservation(job.key, partial(_settle, job))


def _settle(job: Job, cost: Decimal | None, images: int) -> None:
    if cost is None:
        release_reservation(job)
    elif job.budget is not None and job.reservation is not None:
        job.budget.settle(job.reservation, cost, images)
        job.reservation = None


def build_interrupted(job: Job) -> PaymentUncertainError:
    """Return the error of a call that nobody finished."""
    return PaymentUncertainError(
        "The call was interrupted after it was sent.",
        next_step=BLOCKED_UNTIL_SETTLED,
        stage="interrupted",
        operation_id=job.operation_id,
        max_cost_usd=job.max_cost,
    )
