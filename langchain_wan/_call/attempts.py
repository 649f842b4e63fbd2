"""The paid request: sent once, and again only if it certainly did no work."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import cast

from langchain_wan._call import lessons, references
from langchain_wan._call.delivery import keep_raw
from langchain_wan._call.job import Job
from langchain_wan._call.steps import Acquire, Flow, Release, Send, Sleep, Work
from langchain_wan._call.wire import drop_internal_urls, to_wire
from langchain_wan._net.messages import Lost, NotSent, Outcome, Reply, WireRequest, is_large, is_success
from langchain_wan._services.aisa_chat import GENERATION_PATH, generation_request, read_answer
from langchain_wan.errors import (
    BLOCKED_UNTIL_SETTLED,
    ImageReferenceError,
    NotSentError,
    PaymentUncertainError,
    StatusError,
    UnreadableAnswerError,
    WanError,
)


def send_until_paid(job: Job, images: list[references.Reference]) -> Flow[Reply]:
    """Send the request, again only after an attempt that certainly did no work, and return the answer of the last."""
    settings = job.settings
    request = yield from _prepare(job, images, as_urls=_sends_urls(job))
    began = job.clock()
    for attempt in count(1):
        outcome = yield from _send(job, request.wire)
        failure = yield from _judge(job, outcome)
        if failure is None:
            return cast("Reply", outcome)
        if failure.charged == "no":
            job.reached = "claimed"
        if _is_input_url_refused(failure):
            alternative = yield Work(partial(_learn_from_refusal, job, images, request, failure))
            if alternative is not None:
                request = alternative
                continue
        if not _is_transient(outcome, failure):
            raise failure
        retry_after = getattr(failure, "retry_after", None)
        elapsed = job.clock() - began
        wait = settings.retry.wait(attempt, elapsed=elapsed, retry_after=retry_after, jitter=random.random())  # noqa: S311  no secret
        if wait is None:
            raise failure
        yield job.notify("retrying", error={"type": type(failure).__name__, "code": failure.code, "charged": "no"})
        yield Work(lambda: job.ledger.cancel_sending(*job.key))  # a process that dies while it waits has sent nothing
        yield Sleep(wait)
    raise AssertionError("count() does not end")  # pragma: no cover


def _sends_urls(job: Job) -> bool:
    how = job.settings.send_references
    return how == "url" or (how == "auto" and lessons.takes_urls_only(*_request_kind(job), job.clock()))


def _request_kind(job: Job) -> tuple[str, str]:
    return job.endpoint.base_url, GENERATION_PATH


def _prepare(job: Job, images: list[references.Reference], *, as_urls: bool) -> Flow[Sending]:
    if not images:  # a few bytes, not worth a thread
        return _build_sending(job, images, as_urls=as_urls)
    sending: Sending = yield Work(lambda: _build_sending(job, images, as_urls=as_urls))
    return sending


def _send(job: Job, request: WireRequest) -> Flow[Outcome]:
    if job.settings.rate_limiter is not None:
        yield Acquire(job.settings.rate_limiter)
    yield Acquire()
    yield job.notify("submitted")
    yield from _begin_sending(job)
    outcome: Outcome = yield Send(request, job.settings.timeout)
    yield Release()
    received = outcome.received if isinstance(outcome, Lost) else None
    if received is not None:  # what came of a broken answer was billed
        yield Work(lambda: keep_raw(job, received))
    return outcome


def _begin_sending(job: Job) -> Flow[None]:
    def begin() -> None:
        job.ledger.begin_sending(*job.key)
        job.reached = "sending"

    try:
        yield Work(begin)
    except BaseException:
        job.reached = "claimed"  # whatever broke off the wait, the request was not sent
        raise


@dataclass(frozen=True)
class Sending:
    """A request, and which of its input images it sends as URLs, by index."""

    wire: WireRequest
    urls: tuple[int, ...]


def _build_sending(job: Job, images: list[references.Reference], *, as_urls: bool) -> Sending:
    now, is_auto = datetime.now(UTC), job.settings.send_references == "auto"
    if as_urls and is_auto:
        images = drop_internal_urls(images, job.endpoint.loopback)
    urls = to_wire(images, as_urls=as_urls, now=now)
    if urls is None and is_auto:
        urls = to_wire(images, as_urls=False, now=now)
    if urls is None:
        missing = [image.label for image in images if image.usable_url(now) is None]
        raise ImageReferenceError(
            f"There is no URL that the service could still fetch of {', '.join(missing)}.",
            reason="no_url",
            next_step='Set send_references="auto", or an on_image function that returns durable URLs.',
        )
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"{job.endpoint.base_url}#{job.operation_id}").hex
    wire = generation_request(job.request, model=job.model, references=urls, operation_key=key)
    return Sending(wire, tuple(index for index, url in enumerate(urls) if not url.startswith("data:")))


def _is_input_url_refused(failure: WanError) -> bool:
    return isinstance(failure, StatusError) and failure.input_url_refused


def _learn_from_refusal(
    job: Job, images: list[references.Reference], sending: Sending, failure: WanError
) -> Sending | None:
    """Return the request with URLs instead of data URIs, where the refusal can only mean those.

    A refusal of a URL says that this URL is dead: a second request would meet the same link.
    """
    if sending.urls:
        references.name_refused(failure, [images[index] for index in sending.urls])
        if len(sending.urls) == len(images):
            lessons.forget(*_request_kind(job))
        return None
    if not images or job.settings.send_references != "auto":
        return None
    lessons.learn_urls_only(*_request_kind(job), job.clock())
    alternative = _build_sending(job, images, as_urls=True)
    return alternative if len(alternative.urls) == len(images) else None


def _judge(job: Job, outcome: Outcome) -> Flow[WanError | None]:
    if not is_large(outcome) or not isinstance(outcome, Reply) or is_success(outcome.status):  # not worth a thread
        return _find_failure(job, outcome)
    failure: WanError | None = yield Work(partial(_find_failure, job, outcome))
    return failure


def _find_failure(job: Job, outcome: Outcome) -> WanError | None:
    if isinstance(outcome, NotSent):
        text = f"The image service could not be reached: {outcome.reason}."
        return NotSentError(text, next_step="Check the network and base_url.")
    if isinstance(outcome, Lost):
        error_type = PaymentUncertainError if outcome.received is None else UnreadableAnswerError
        late = f"the timeout of {job.settings.timeout:g} s ended it (setting `timeout`)"
        return error_type(
            f"The request was sent, but the response was incomplete: {late if outcome.is_late else outcome.reason}.",
            next_step=BLOCKED_UNTIL_SETTLED,
            stage=outcome.stage,
            max_cost_usd=job.max_cost,
        )
    if is_success(outcome.status):
        return None
    try:
        read_answer(outcome, max_cost_usd=job.max_cost)
    except WanError as error:
        return error
    raise AssertionError("a status outside 2xx is an error")  # pragma: no cover


def _is_transient(outcome: Outcome, failure: WanError) -> bool:
    if isinstance(outcome, NotSent):
        return outcome.transient
    return isinstance(failure, StatusError) and failure.status_code == 429 and failure.is_retryable  # noqa: PLR2004
