"""The paid request: sent once, and again only if it certainly did no work."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime
from itertools import count
from typing import cast

from langchain_wan._call import references
from langchain_wan._call.delivery import keep_raw
from langchain_wan._call.job import Job
from langchain_wan._call.steps import Acquire, Flow, Release, Send, Sleep, Work
from langchain_wan._net.messages import Lost, NotSent, Outcome, Reply, WireRequest
from langchain_wan._services.aisa_chat import generation_request, read_answer
from langchain_wan.errors import (
    HELD_BACK,
    ImageReferenceError,
    NotSentError,
    PaymentUncertainError,
    StatusError,
    UnreadableAnswerError,
    WanError,
)


def send_until_paid(job: Job, found: list[references.Reference]) -> Flow[Reply]:
    """Send the request, again only after what certainly did no work, and return the answer of the one that did."""
    settings = job.settings
    remembered = settings.send_references == "auto" and job.endpoint.base_url in _URLS_ONLY
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
    urls = references.to_wire(found, as_urls=as_urls, now=datetime.now(UTC))
    if urls is None and job.settings.send_references == "auto":
        urls = references.to_wire(found, as_urls=False, now=datetime.now(UTC))
    if urls is None:
        raise ImageReferenceError(
            "An input image has no URL that the service could still fetch.",
            reason="no_url",
            next_step='Set send_references="auto", or an on_image function that returns durable URLs.',
        )
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"{job.endpoint.base_url}#{job.operation_id}").hex
    return generation_request(job.request, model=job.model, references=urls, operation_key=key)


def _request_or_none(job: Job, found: list[references.Reference]) -> WireRequest | None:
    if references.to_wire(found, as_urls=True, now=datetime.now(UTC)) is None:
        return None
    _URLS_ONLY.add(job.endpoint.base_url)
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
        return outcome.transient
    return isinstance(failure, StatusError) and failure.status_code == 429 and failure.is_retryable  # noqa: PLR2004
