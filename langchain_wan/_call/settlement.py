"""Who carries out an operation, and the money that it holds: taken before it is sent, written down however it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import cast
from weakref import WeakKeyDictionary, ref

from langchain_wan._call.job import Job
from langchain_wan._call.steps import Flow, Work
from langchain_wan._storage.money import to_nano
from langchain_wan._storage.operations import Claim, ClaimResult, Limit, Operation, State
from langchain_wan.budget import Budget, over_budget
from langchain_wan.errors import (
    HELD_BACK,
    BudgetExceededError,
    NotSentError,
    PaymentUncertainError,
    StatusError,
    StoreError,
    WanConfigurationError,
    WanError,
    error_to_json,
)

logger = logging.getLogger("langchain_wan")


def claimed(job: Job, digest: str) -> Flow[Operation | None]:
    """Take the operation and hold its money; return the operation that stands in the way, if one does.

    Raises:
        BudgetExceededError: The budget does not allow the call.
        StoreError: The store can't be written, so the call is not made.
    """
    job.budget = _budget(job)
    limit = None if job.budget is None else job.budget.limit()
    if job.budget is not None and limit is not None:
        job.budget.count_in(partial(job.store.ledger.spent, service=job.endpoint.base_url))
    claim = _claim(job, digest, limit)

    def take() -> ClaimResult:
        job.store.blobs.ensure_space(job.request.n)
        standing = job.store.ledger.claim(claim)
        if standing.kind == "claimed":
            job.state = "claimed"  # here, where a cancelled wait for this thread can't miss it
            _reserve(job, limit)
        return standing

    try:
        standing = yield Work(take)
    except GeneratorExit:
        give_up(job)
        raise
    except BaseException:
        if job.state == "claimed":
            yield Work(lambda: give_up(job))
        raise
    if standing.kind == "claimed":
        return None
    if standing.kind == "over_budget":
        raise over_budget(job.max_cost)
    return cast("Operation", standing.operation)


def _claim(job: Job, digest: str, limit: Limit | None) -> Claim:
    return Claim(
        service=job.endpoint.base_url,
        id=job.operation_id,
        scope=job.scope,
        fingerprint=digest,
        turn=job.call.turn,
        named_by_caller=job.request.operation_id is not None,
        max_nano=to_nano(job.max_cost),
        request={
            "model": job.model,
            "prompt": job.request.prompt,
            "n": job.request.n,
            "parents": job.parents,
            "metadata": job.request.metadata,
        },
        limit=limit,
    )


def _reserve(job: Job, limit: Limit | None) -> None:
    # After the claim: whoever repeats an uncertain call is told of that, not of the money that it still holds.
    if job.budget is None or limit is not None:
        return
    try:
        job.hold = job.budget.reserve(job.max_cost, job.request.n)
    except BudgetExceededError as error:
        give_up(job, error)
        raise


def _budget(job: Job) -> Budget | None:
    budget = job.settings.budget
    if budget is None or isinstance(budget, Budget):
        return budget
    try:
        found = budget(job.call.runtime)
    except Exception as error:
        raise WanConfigurationError(f"The budget function failed: {type(error).__name__}.") from error
    if found.name is None and _replaces_a_forgotten_one(budget, job.scope, found):
        raise WanConfigurationError(
            "The budget function returned a new unnamed Budget where it had returned one before: it would never limit "
            "anything. Return the same object each time, or a named Budget."
        )
    return found


# The last unnamed budget that a function returned for a scope. Whoever keeps a budget for each user keeps it alive;
# one that is gone when the next one comes was made for a single call.
_last: WeakKeyDictionary[Callable[..., Budget], dict[str, ref[Budget]]] = WeakKeyDictionary()


def _replaces_a_forgotten_one(function: Callable[..., Budget], scope: str, found: Budget) -> bool:
    try:
        last = _last.setdefault(function, {})
    except TypeError:  # an object that can't be a key
        return False
    forgotten = scope in last and last[scope]() is None
    last[scope] = ref(found)
    return forgotten


def give_up(job: Job, failure: WanError | None = None) -> None:
    """Write down how a call ended without a result: money is released only if certainly no work was done.

    Args:
        failure: None means that it was interrupted.
    """
    if job.state in {"new", "given_up"}:
        return
    state, job.state = job.state, "given_up"
    error = interrupted(job) if failure is None else failure
    error.operation_id = job.operation_id
    not_charged = state == "claimed" or isinstance(error, StatusError | NotSentError)
    if state == "paid":
        _keep_reservation(job)
    elif not_charged:
        release_reservation(job)
    else:
        _keep_reservation(job)
        error.charged = "maybe" if error.charged == "no" else error.charged
    ledger = job.store.ledger
    try:
        if state == "paid":
            ledger.mark_resumable(job.endpoint.base_url, job.operation_id)
        else:
            ended: State = "refused" if not_charged else "uncertain"
            ledger.end(job.endpoint.base_url, job.operation_id, ended, error_to_json(error))
    except StoreError as unwritten:
        # The error that ended the call is the one to raise; unwritten, the operation counts as interrupted.
        logger.error("operation %s could not be written down: %s", job.operation_id, unwritten)  # noqa: TRY400  its trace says no more
    finally:
        ledger.stop(job.endpoint.base_url, job.operation_id)


def release_reservation(job: Job) -> None:
    """Give the money back that a budget of this process holds for the call."""
    if job.budget is not None and job.hold is not None:
        job.budget.release(job.hold)
        job.hold = None


def _keep_reservation(job: Job) -> None:
    if job.budget is not None and job.hold is not None:
        job.store.keep_reservation((job.endpoint.base_url, job.operation_id), partial(_settled, job))


def _settled(job: Job, cost: Decimal | None, images: int) -> None:
    if cost is None:
        release_reservation(job)
    elif job.budget is not None and job.hold is not None:
        job.budget.settle(job.hold, cost, images)
        job.hold = None


def interrupted(job: Job) -> PaymentUncertainError:
    """Return the error of a call that nobody finished."""
    return PaymentUncertainError(
        "The call was interrupted after it was sent.",
        next_step=HELD_BACK,
        stage="interrupted",
        operation_id=job.operation_id,
        max_cost_usd=job.max_cost,
    )
