"""One generation, written once: a generator that yields what it needs done and is sent the outcome.

It neither sends, sleeps nor waits. `client.py` has two drivers that differ in `await`.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import cast
from weakref import WeakKeyDictionary, ref

from langchain_wan import references
from langchain_wan._ledger import Claim, Limit, Operation, Standing
from langchain_wan._retrieval import recorded, resumed, retrieved
from langchain_wan._steps import Acquire, Flow, Job, Release, Send, SendAll, Sleep, Work
from langchain_wan._wire import Lost, NotSent, Outcome, Reply, WireRequest, generation_request, read_answer
from langchain_wan.budget import Budget, over_budget, price_usd
from langchain_wan.errors import (
    HELD_BACK,
    ImageReferenceError,
    InvalidImageRequestError,
    NotSentError,
    PaymentUncertainError,
    StatusError,
    UnreadableAnswerError,
    WanConfigurationError,
    WanError,
)
from langchain_wan.models import ImageResult
from langchain_wan.store import error_facts, error_from, nano

TWIN_WAIT = 0.05  # seconds between two looks at an operation that somebody else is carrying out


def generation(job: Job) -> Flow[ImageResult]:
    """Make the images of one request.

    Raises:
        WanError: No image could be delivered; its class and `charged` say what that means.
    """
    job.began = job.clock()
    job.model = job.request.model or job.settings.model
    job.price = price_usd(job.model, prices=job.settings.prices)
    job.operation_id = job.request.operation_id or job.call.operation_id or uuid.uuid4().hex
    digest = yield Work(lambda: references.fingerprint(job.request, job.model))
    try:
        result = yield from _found_or_made(job, digest)
    except WanError as error:
        error.operation_id = error.operation_id or job.operation_id
        yield job.notify("failed", error={"type": type(error).__name__, "code": error.code, "charged": error.charged})
        raise
    images = [image.model_dump(mode="json") for image in result.images]
    yield job.notify("done", cost_usd=str(result.cost_usd), images=images)
    return result


def _found_or_made(job: Job, digest: str) -> Flow[ImageResult]:
    ledger = job.settings.store.ledger
    existing = yield Work(lambda: ledger.operation(job.service.base_url, job.operation_id))
    if existing is not None and existing.state != "refused":
        return (yield from _settled_before(job, digest, existing))
    found = yield from _references(job)
    job.parents = [reference.image_id for reference in found if reference.image_id]
    taken = yield from _claimed(job, digest)
    if taken is not None:
        return (yield from _settled_before(job, digest, taken))
    try:
        yield job.notify("queued")
        reply = yield from _paid_reply(job, found)
        answer = yield from recorded(job, reply)
        return (yield from retrieved(job, answer))
    except GeneratorExit:
        give_up(job)  # the loop or the process ends: there is no one left to carry out a step
        raise
    except BaseException as error:
        failure = error if isinstance(error, WanError) else None
        yield Work(lambda: give_up(job, failure))
        raise


def _references(job: Job) -> Flow[list[references.Reference]]:
    naming = references.Naming(job.store, job.settings.reference_urls, job.call.by_model, job.call.names)
    found = yield Work(lambda: references.resolve(job.request.images, naming))
    missing = [place for place, reference in enumerate(found) if reference.fetch]
    if missing:

        def received(place: int, outcome: Outcome) -> references.Reference:
            if not isinstance(outcome, Reply) or outcome.status != 200:  # noqa: PLR2004  OK
                raise ImageReferenceError("An input image could not be downloaded.", reason="unreadable")
            return references.from_download(found[missing[place]], outcome.body, naming)

        urls = [found[place].fetch for place in missing]
        fetched = yield SendAll(urls, job.settings.download_timeout, received, results=False)
        for place, reference in zip(missing, fetched, strict=True):
            found[place] = reference
    fitted: list[references.Reference] = yield Work(lambda: references.fitted(found))
    return fitted


def _hold_money(job: Job) -> Limit | None:
    """Hold what the call may cost in a budget of this process, or return the limit that the ledger has to check."""
    job.budget = _budget(job)
    limit = None if job.budget is None else job.budget.limit()
    if job.budget is not None and limit is None:
        job.hold = job.budget.reserve(job.max_cost, job.request.n)
    elif job.budget is not None:
        job.budget.count_in(partial(job.store.ledger.spent, service=job.service.base_url))
    return limit


def _budget(job: Job) -> Budget | None:
    budget = job.settings.budget
    if budget is None or isinstance(budget, Budget):
        return budget
    found = budget(job.call.runtime)
    if found.name is None and _replaces_a_forgotten_one(budget, job.call.scope, found):
        raise WanConfigurationError(
            "The budget function returned a new unnamed Budget where it had returned one before: it would never limit "
            "anything. Return the same object each time, or a named Budget."
        )
    return found


# The last unnamed budget that a function returned for a scope. Whoever keeps a budget for each user keeps it alive;
# one that is gone when the next one comes was made for a single call.
_last: WeakKeyDictionary[Callable[..., Budget], dict[str, ref[Budget]]] = WeakKeyDictionary()


def _replaces_a_forgotten_one(function: Callable[..., Budget], scope: str, found: Budget) -> bool:
    last = _last.setdefault(function, {})
    forgotten = scope in last and last[scope]() is None
    last[scope] = ref(found)
    return forgotten


def _claimed(job: Job, digest: str) -> Flow[Operation | None]:
    """Take the operation and hold its money; return the operation that stands in the way, if one does."""
    limit = _hold_money(job)
    claim = Claim(
        service=job.service.base_url,
        id=job.operation_id,
        scope=job.call.scope,
        fingerprint=digest,
        turn=job.call.turn,
        named_by_caller=job.request.operation_id is not None,
        max_nano=nano(job.max_cost),
        request={
            "model": job.model,
            "prompt": job.request.prompt,
            "n": job.request.n,
            "parents": job.parents,
            "metadata": job.request.metadata,
        },
        limit=limit,
    )

    def taken() -> Standing:
        job.store.blobs.check_room(job.request.n)
        return job.store.ledger.claim(claim)

    try:
        standing = yield Work(taken)
    except BaseException:
        _release_hold(job)
        raise
    if standing.kind == "claimed":
        job.state = "claimed"
        return None
    _release_hold(job)
    if standing.kind == "over_budget":
        raise over_budget(job.max_cost)
    return cast("Operation", standing.operation)


def _settled_before(job: Job, digest: str, operation: Operation) -> Flow[ImageResult]:
    """Answer from an operation that was begun before; nothing is sent."""
    if operation.fingerprint != digest:
        raise InvalidImageRequestError(
            "This operation_id was used with another request.", next_step="Use a new operation_id."
        )
    ledger = job.settings.store.ledger
    deadline = job.clock() + job.settings.timeout
    while operation.state in {"started", "paid"} and ledger.is_alive(operation.owner) and job.clock() < deadline:
        yield Sleep(TWIN_WAIT)
        again = yield Work(partial(ledger.operation, operation.service, operation.id))
        operation = again or operation
    if operation.state == "done":
        result: ImageResult = yield Work(lambda: job.store.result_of(operation))
        return result.model_copy(update={"replayed": True})
    if operation.state in {"paid", "partial"}:
        result = yield from resumed(job, operation)
        return result.model_copy(update={"replayed": True})
    if operation.error is not None:
        raise error_from(operation.error)
    error = _interrupted(job)
    if operation.state == "started" and ledger.is_alive(operation.owner):
        raise error  # somebody is still at it: how it ends is theirs to write down
    if operation.state == "started":
        yield Work(lambda: ledger.move(operation.service, operation.id, "uncertain", error=error_facts(error)))
    raise error


def _paid_reply(job: Job, found: list[references.Reference]) -> Flow[Reply]:
    """Send the request, again only after what certainly did no work, and return the answer of the one that did."""
    settings = job.settings
    remembered = settings.send_references == "auto" and job.service.base_url in _URLS_ONLY
    as_urls = remembered or settings.send_references == "url"
    request = yield Work(lambda: _request(job, found, as_urls=as_urls))
    started = job.clock()
    for attempt in count(1):
        outcome = yield from _sent(job, request)
        failure, retry_after = _failure(job, outcome)
        if failure is None:
            return cast("Reply", outcome)
        job.state = "claimed" if failure.charged == "no" else job.state
        if (
            not as_urls
            and settings.send_references == "auto"
            and isinstance(failure, StatusError)
            and failure.data_uri_refused
        ):
            as_urls = True
            alternative = yield Work(lambda: _request_or_none(job, found))
            if alternative is not None:
                request = alternative
                continue
        if not _may_pass(outcome, failure):
            raise failure
        elapsed = job.clock() - started
        wait = settings.retry.wait(attempt, elapsed=elapsed, retry_after=retry_after, jitter=random.random())  # noqa: S311  no secret
        if wait is None:
            raise failure
        yield job.notify("retrying", error={"type": type(failure).__name__, "code": failure.code, "charged": "no"})
        yield Sleep(wait)
    raise AssertionError("count() does not end")  # pragma: no cover


def _sent(job: Job, request: WireRequest) -> Flow[Outcome]:
    if job.settings.rate_limiter is not None:
        yield Acquire(job.settings.rate_limiter)
    yield Acquire()
    yield job.notify("submitted")
    job.state = "sent"
    outcome: Outcome = yield Send(request, job.settings.timeout)
    yield Release()
    received = outcome.received if isinstance(outcome, Lost) else None
    if received is not None:  # what came of a broken answer was paid for
        yield Work(lambda: job.store.blobs.keep_raw(job.raw_name, received))
    return outcome


# Services that were seen to refuse data URIs, for the life of the process.
_URLS_ONLY: set[str] = set()


def _request(job: Job, found: list[references.Reference], *, as_urls: bool) -> WireRequest:
    urls = references.on_the_wire(found, as_urls=as_urls, now=datetime.now(UTC))
    if urls is None and job.settings.send_references == "auto":
        urls = references.on_the_wire(found, as_urls=False, now=datetime.now(UTC))
    if urls is None:
        raise ImageReferenceError(
            "An input image has no URL that the service could still fetch.",
            reason="no_url",
            next_step='Set send_references="auto", or an on_image function that returns durable URLs.',
        )
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"{job.service.base_url}#{job.operation_id}").hex
    return generation_request(job.request, model=job.model, references=urls, operation_key=key)


def _request_or_none(job: Job, found: list[references.Reference]) -> WireRequest | None:
    if references.on_the_wire(found, as_urls=True, now=datetime.now(UTC)) is None:
        return None
    _URLS_ONLY.add(job.service.base_url)
    return _request(job, found, as_urls=True)


def _failure(job: Job, outcome: Outcome) -> tuple[WanError | None, float | None]:
    if isinstance(outcome, NotSent):
        text = f"The image service could not be reached: {outcome.reason}."
        return NotSentError(text, next_step="Check the network and base_url."), None
    if isinstance(outcome, Lost):
        kind = PaymentUncertainError if outcome.received is None else UnreadableAnswerError
        uncertain = kind(
            f"The request was sent, but no whole answer came: {outcome.reason}.",
            next_step=HELD_BACK,
            stage=outcome.stage,
            max_cost_usd=job.max_cost,
        )
        return uncertain, None
    if 200 <= outcome.status < 300:  # noqa: PLR2004  the 2xx range
        return None, None
    try:
        read_answer(outcome, max_cost_usd=job.max_cost)
    except WanError as error:
        return error, getattr(error, "retry_after", None)
    raise AssertionError("a status outside 2xx is an error")  # pragma: no cover


def _may_pass(outcome: Outcome, failure: WanError) -> bool:
    if isinstance(outcome, NotSent):
        return outcome.passing
    return isinstance(failure, StatusError) and failure.status_code == 429 and failure.is_retryable  # noqa: PLR2004


def give_up(job: Job, failure: WanError | None = None) -> None:
    """Write down how a call ended without a result: money is released only if certainly no work was done.

    Args:
        failure: None means that it was interrupted.
    """
    if job.state in {"new", "given_up"}:
        return
    if job.state == "paid":
        job.store.ledger.leave_to_resume(job.service.base_url, job.operation_id)
        return
    error = _interrupted(job) if failure is None else failure
    error.operation_id = job.operation_id
    not_charged = job.state == "claimed" or error.charged == "no"
    if not_charged:
        _release_hold(job)
    elif job.budget is not None and job.hold is not None:
        job.store.hold_until_resolved((job.service.base_url, job.operation_id), partial(_resolved, job))
    job.settings.store.ledger.move(
        job.service.base_url,
        job.operation_id,
        "refused" if not_charged else "uncertain",
        error=error_facts(error),
    )
    job.state = "given_up"


def _release_hold(job: Job) -> None:
    if job.budget is not None and job.hold is not None:
        job.budget.release(job.hold)
        job.hold = None


def _resolved(job: Job, charged: bool) -> None:
    if charged and job.budget is not None and job.hold is not None:
        job.budget.settle(job.hold, job.max_cost, job.request.n)
        job.hold = None
    _release_hold(job)


def _interrupted(job: Job) -> PaymentUncertainError:
    return PaymentUncertainError(
        "The call was interrupted after it was sent.",
        next_step=HELD_BACK,
        stage="interrupted",
        operation_id=job.operation_id,
        max_cost_usd=job.max_cost,
    )
