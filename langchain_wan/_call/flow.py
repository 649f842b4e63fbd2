"""One generation, written once: a generator that yields what it needs done and is sent the outcome.

It neither sends, sleeps nor waits. `client.py` has two drivers that differ in `await`.
"""

from __future__ import annotations

import uuid
from functools import partial

from langchain_wan._call import references
from langchain_wan._call.attempts import send_until_paid
from langchain_wan._call.delivery import recorded, resumed, retrieved
from langchain_wan._call.fingerprint import fingerprint
from langchain_wan._call.job import Job
from langchain_wan._call.settlement import claimed, give_up, interrupted
from langchain_wan._call.steps import Flow, SendAll, Sleep, Work
from langchain_wan._net.messages import Outcome
from langchain_wan._services.catalog import price_usd
from langchain_wan._storage.operations import Operation
from langchain_wan.errors import InvalidImageRequestError, WanError, error_from_json, error_to_json
from langchain_wan.models import ImageResult

POLL_INTERVAL = 0.05  # seconds between two looks at an operation that somebody else is carrying out


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
            fingerprint(job.request, job.model, job.call.conversation),
            job.store.ledger.operation(job.endpoint.base_url, job.operation_id),
        )
    )
    if existing is not None and existing.state != "refused":
        return (yield from _settled_before(job, digest, existing))
    found = yield from _references(job)
    job.parents = [reference.image_id for reference in found if reference.image_id]
    taken = yield from claimed(job, digest)
    if taken is not None:
        if job.call.shared and taken.id != job.operation_id:
            raise interrupted(job) if taken.error is None else error_from_json(taken.error)
        return (yield from _settled_before(job, digest, taken))
    try:
        yield job.notify("queued")
        reply = yield from send_until_paid(job, found)
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
            yield Sleep(POLL_INTERVAL)
        elif operation.state == "done":
            result: ImageResult = yield Work(partial(job.store.load_result, operation))
            return result.model_copy(update={"replayed": True})
        elif operation.state in {"paid", "partial"}:
            taken = yield Work(partial(ledger.acquire_for_resume, operation.service, operation.id))
            if taken:
                result = yield from resumed(job, operation)
                return result.model_copy(update={"replayed": True})
        elif operation.state == "started":  # whoever began it is gone
            facts = error_to_json(interrupted(job))
            yield Work(partial(ledger.end, operation.service, operation.id, "uncertain", facts, owner=operation.owner))
        else:
            raise interrupted(job) if operation.error is None else error_from_json(operation.error)
        operation = (yield Work(partial(ledger.operation, operation.service, operation.id))) or operation
    raise interrupted(job)  # somebody is still at it: how it ends is theirs to write down
