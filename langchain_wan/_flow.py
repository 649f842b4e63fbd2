"""One generation, written once: a generator that yields what it needs done and is sent the outcome.

It neither sends, sleeps nor waits. `client.py` has two drivers that differ in `await`.
"""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import cast

from langchain_wan import references
from langchain_wan._claims import claimed, give_up, interrupted
from langchain_wan._ledger import Operation
from langchain_wan._retrieval import keep_raw, recorded, resumed, retrieved
from langchain_wan._steps import Acquire, Flow, Job, Release, Send, SendAll, Sleep, Work
from langchain_wan._wire import Lost, NotSent, Outcome, Reply, WireRequest, generation_request, read_answer
from langchain_wan.budget import price_usd
from langchain_wan.errors import (
    HELD_BACK,
    ImageReferenceError,
    InvalidImageRequestError,
    NotSentError,
    PaymentUncertainError,
    StatusError,
    UnreadableAnswerError,
    WanError,
)
from langchain_wan.models import ImageResult
from langchain_wan.store import error_facts, error_from

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
    try:
        result = yield from _found_or_made(job)
    except WanError as error:
        error.operation_id = error.operation_id or job.operation_id
        yield job.notify("failed", error={"type": type(error).__name__, "code": error.code, "charged": error.charged})
        raise
    images = [image.model_dump(mode="json") for image in result.images]
    yield job.notify("done", cost_usd=str(result.cost_usd), images=images)
    return result


def _found_or_made(job: Job) -> Flow[ImageResult]:
    # As few steps of work as there can be: each is a way to a thread and back.
    digest, existing = yield Work(
        lambda: (
            references.fingerprint(job.request, job.model, job.call.conversation),
            job.store.ledger.operation(job.service.base_url, job.operation_id),
        )
    )
    if existing is not None and existing.state != "refused":
        return (yield from _settled_before(job, digest, existing))
    found = yield from _references(job)
    job.parents = [reference.image_id for reference in found if reference.image_id]
    taken = yield from claimed(job, digest)
    if taken is not None:
        if job.call.shared and taken.id != job.operation_id:
            raise interrupted(job) if taken.error is None else error_from(taken.error)
        return (yield from _settled_before(job, digest, taken))
    try:
        yield job.notify("queued")
        reply = yield from _paid_reply(job, found)
        answer = yield from recorded(job, reply)
        result = yield from retrieved(job, answer)
    except GeneratorExit:
        give_up(job)  # the loop or the process ends: there is no one left to carry out a step
        raise
    except BaseException as error:
        failure = error if isinstance(error, WanError) else None
        yield Work(lambda: give_up(job, failure))
        raise
    return result


def _references(job: Job) -> Flow[list[references.Reference]]:
    if not job.request.images:
        return []
    naming = references.Naming(job.store, job.settings.reference_urls, job.call.by_model, job.call.conversation)
    found = yield Work(lambda: references.resolve(job.request.images, naming))
    for of_service in (True, False):  # the two kinds of URLs have rules of their own
        places = [place for place, one in enumerate(found) if one.fetch and one.of_service is of_service]
        if places:
            urls = [found[place].fetch for place in places]
            each = partial(_from_download, [found[place] for place in places], naming)
            fetched = yield SendAll(urls, job.settings.download_timeout, each, results=of_service)
            for place, reference in zip(places, fetched, strict=True):
                found[place] = reference
    fitted: list[references.Reference] = yield Work(lambda: references.fitted(found))
    return fitted


def _from_download(
    wanted: list[references.Reference], naming: references.Naming, place: int, outcome: Outcome
) -> references.Reference:
    return references.from_download(wanted[place], outcome, naming)


def _settled_before(job: Job, digest: str, operation: Operation) -> Flow[ImageResult]:
    """Answer from an operation that was begun before; nothing is sent."""
    if operation.fingerprint != digest or operation.scope != job.scope:
        raise InvalidImageRequestError(
            "This operation_id was used with another request.", next_step="Use a new operation_id."
        )
    ledger = job.store.ledger
    deadline = job.clock() + job.settings.timeout + job.settings.download_timeout
    while job.clock() < deadline:
        if ledger.runs(operation):
            yield Sleep(TWIN_WAIT)
        elif operation.state == "done":
            result: ImageResult = yield Work(partial(job.store.result_of, operation))
            return result.model_copy(update={"replayed": True})
        elif operation.state in {"paid", "partial"}:
            taken = yield Work(partial(ledger.take_to_resume, operation.service, operation.id))
            if taken:
                result = yield from resumed(job, operation)
                return result.model_copy(update={"replayed": True})
        elif operation.state == "started":  # whoever began it is gone
            facts = error_facts(interrupted(job))
            yield Work(partial(ledger.end, operation.service, operation.id, "uncertain", facts, owner=operation.owner))
        else:
            raise interrupted(job) if operation.error is None else error_from(operation.error)
        operation = (yield Work(partial(ledger.operation, operation.service, operation.id))) or operation
    raise interrupted(job)  # somebody is still at it: how it ends is theirs to write down


def _paid_reply(job: Job, found: list[references.Reference]) -> Flow[Reply]:
    """Send the request, again only after what certainly did no work, and return the answer of the one that did."""
    settings = job.settings
    remembered = settings.send_references == "auto" and job.service.base_url in _URLS_ONLY
    as_urls = remembered or settings.send_references == "url"
    request: WireRequest = (
        (yield Work(lambda: _request(job, found, as_urls=as_urls))) if found else _request(job, found, as_urls=as_urls)
    )
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
        yield Work(lambda: keep_raw(job, received))
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
