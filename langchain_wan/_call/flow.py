"""One generation, written once: a generator that yields what it needs done and is sent the outcome.

It neither sends, sleeps nor waits; the two drivers do.
"""

from __future__ import annotations

import uuid
from functools import partial

from langchain_wan._call import references
from langchain_wan._call.attempts import send_until_paid
from langchain_wan._call.delivery import deliver_images, record_answer
from langchain_wan._call.fingerprint import compute_fingerprint
from langchain_wan._call.job import Job
from langchain_wan._call.resumption import ANSWERABLE, acquire, resume_operation
from langchain_wan._call.settlement import build_interrupted, claim_operation, give_up
from langchain_wan._call.steps import Flow, SendAll, Sleep, Work
from langchain_wan._call.wire import mark
from langchain_wan._net.messages import Outcome
from langchain_wan._services.catalog import price_usd
from langchain_wan._services.sizes import compute_size
from langchain_wan._storage.money import to_usd
from langchain_wan._storage.operations import Operation
from langchain_wan._storage.rows import load_error
from langchain_wan._storage.states import RESUMABLE_STATES
from langchain_wan.errors import (
    InvalidImageRequestError,
    PaidButNotRetrievedError,
    WanError,
    error_facts,
    error_to_json,
)
from langchain_wan.models import ImageResult

POLL_INTERVAL = 0.05  # seconds between two looks at an operation that another worker carries out


def generation(job: Job) -> Flow[ImageResult]:
    """Make the images of one request.

    Raises:
        WanError: No image could be delivered; its class and `charged` say what that means.
    """
    job.began = job.clock()
    job.model = job.request.model or job.settings.model
    job.price = price_usd(job.model, prices=job.settings.prices)
    if job.request.size is not None:  # what the model can't make is said before anything is reserved
        compute_size(job.request.size, job.model, has_images=bool(job.request.images))
    job.operation_id = job.request.operation_id or job.call.operation_id or uuid.uuid4().hex
    try:
        result = yield from _find_or_make(job)
    except WanError as error:
        error.operation_id = error.operation_id or job.operation_id
        yield job.notify("failed", error=error_facts(error))
        raise
    images = [image.model_dump(mode="json") for image in result.images]
    yield job.notify("done", cost_usd=str(result.cost_usd), images=images)
    return result


def _find_or_make(job: Job) -> Flow[ImageResult]:
    # One `Work` step: each costs a thread round trip in async code.
    fingerprint, existing = yield Work(
        lambda: (
            compute_fingerprint(job.request, job.model, job.call.conversation),
            job.ledger.operation(*job.key),
        )
    )
    if existing is not None and existing.state != "refused":
        result = yield from _use_existing(job, fingerprint, existing)
        if result is not None:
            return result
    images = yield from _resolve_references(job)
    job.parents = [image.image_id for image in images if image.image_id]
    job.inputs = mark(images)
    job.adjustments = references.describe_enlarged(images)
    while (blocking := (yield from claim_operation(job, fingerprint))) is not None:
        if job.call.shared and blocking.id != job.operation_id:
            raise _build_error(job, blocking)
        result = yield from _use_existing(job, fingerprint, blocking)
        if result is not None:
            return result
    return (yield from _make(job, images))


def _make(job: Job, images: list[references.Reference]) -> Flow[ImageResult]:
    try:
        yield job.notify("queued")
        reply = yield from send_until_paid(job, images)
        answer = yield from record_answer(job, reply)
        result = yield from deliver_images(job, answer)
    except GeneratorExit:
        give_up(job)  # the loop or the process ends: there is no one left to carry out a step
        raise
    except BaseException as error:
        failure = error if isinstance(error, WanError) else None
        yield Work(lambda: give_up(job, failure))
        raise
    return result


def _resolve_references(job: Job) -> Flow[list[references.Reference]]:
    if not job.request.images:
        return []
    naming = references.Naming(job.storage, job.settings.reference_urls, job.call.by_model, job.call.conversation)
    images = yield Work(lambda: references.resolve(job.request.images, naming), with_images=True)
    for of_service in (True, False):  # URLs of earlier results, then those of users: each has its own rules
        indexes = [index for index, image in enumerate(images) if image.fetch and image.of_service is of_service]
        if indexes:
            urls = [images[index].fetch for index in indexes]
            each = partial(_use_download, [images[index] for index in indexes], naming)
            downloaded = yield SendAll(urls, job.settings.download_timeout, each, results=of_service)
            for index, reference in zip(indexes, downloaded, strict=True):
                images[index] = reference
    fitted: list[references.Reference] = yield Work(lambda: references.fit(images), with_images=True)
    return fitted


def _use_download(
    images: list[references.Reference], naming: references.Naming, index: int, outcome: Outcome
) -> references.Reference:
    return references.from_download(images[index], outcome, naming)


def _use_existing(job: Job, fingerprint: str, operation: Operation) -> Flow[ImageResult | None]:
    """Return the result of an operation that was begun before, or None if it is free to be claimed again."""
    # An id that was derived from a conversation contains the arguments: what they mean may have changed, such as an
    # upload by URL that has become an image, but the call is the same.
    is_same = job.request.operation_id is None or operation.fingerprint == fingerprint
    if not is_same or operation.scope != job.scope:
        raise InvalidImageRequestError(
            f"The operation_id {job.operation_id!r} was used with another request.", next_step="Use a new operation_id."
        )
    ledger = job.ledger
    deadline = job.clock() + job.settings.timeout + job.settings.download_timeout
    while job.clock() < deadline:
        if ledger.is_running(operation):
            yield Sleep(POLL_INTERVAL)
        elif operation.state == "claimed":  # its process died before it sent anything
            return None
        elif operation.state == "done":
            result: ImageResult = yield Work(partial(job.storage.load_result, operation))
            return result.model_copy(update={"replayed": True})
        elif operation.state in ANSWERABLE and (yield Work(partial(acquire, job.storage, operation))):
            result = yield from resume_operation(job, operation)
            return result.model_copy(update={"replayed": True})
        elif operation.state in RESUMABLE_STATES:
            pass  # another worker has just taken it
        elif operation.state == "charged":
            result = yield Work(partial(_load_settled, job, operation))
            return result.model_copy(update={"replayed": True})
        elif operation.state == "sending":  # its process died while the request was on the way
            error = error_to_json(build_interrupted(job))
            yield Work(partial(ledger.fail, operation.service, operation.id, "uncertain", error, owner=operation.owner))
        else:
            raise _build_error(job, operation)
        operation = (yield Work(partial(ledger.operation, operation.service, operation.id))) or operation
    raise build_interrupted(job)  # another worker still owns it and will record the outcome


def _load_settled(job: Job, operation: Operation) -> ImageResult:
    """Return the images that came before an operation was settled as charged.

    Raises:
        PaidButNotRetrievedError: None came, and nothing is left to fetch.
    """
    if operation.result is not None and operation.result["images"]:
        return job.storage.load_result(operation)
    raise PaidButNotRetrievedError(
        "This operation was settled as charged, and it has no image.",
        next_step="To pay for another try, use a new operation_id.",
        advice="This call was charged, and its image is lost. Tell the user, and ask before making it again.",
        operation_id=operation.id,
        max_cost_usd=to_usd(operation.cost_nano),
    )


def _build_error(job: Job, operation: Operation) -> WanError:
    return load_error(operation) or build_interrupted(job)
