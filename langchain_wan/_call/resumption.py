"""An operation that was paid for and not delivered: its images are fetched from the answer that was saved."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from langchain_wan._call.delivery import deliver_images, read_reply
from langchain_wan._call.job import Job
from langchain_wan._call.settlement import give_up
from langchain_wan._call.steps import Flow, Work
from langchain_wan._net.messages import Reply
from langchain_wan._services.kept_answer import may_come, read_kept
from langchain_wan._storage.money import EXACT, to_usd
from langchain_wan._storage.operations import Operation
from langchain_wan._storage.states import RESUMABLE_STATES, UNRESOLVED_STATES, State
from langchain_wan._storage.storage import Storage
from langchain_wan.errors import PaidButNotRetrievedError
from langchain_wan.models import GeneratedImage, ImageResult

# States in which a readable answer says more than the state. One that was settled as charged may have an answer too.
ANSWERABLE: frozenset[State] = UNRESOLVED_STATES | {"charged"}


def acquire(storage: Storage, operation: Operation) -> bool:
    """Become the one who fetches the images of a billed operation; False if somebody is at it, or nothing can come.

    Where its answer is in the store it was billed, whatever its state says: its process may have been killed before it
    wrote that down, or the ledger was locked.

    Raises:
        StoreError: The store can't be used.
    """
    states: Collection[State] = RESUMABLE_STATES
    if operation.state not in RESUMABLE_STATES:
        raw = storage.blobs.raw(operation.raw_name) if operation.state in ANSWERABLE else None
        answer = read_kept(operation.request, raw)
        if answer is None or answer.is_too_much(operation.request["n"]):
            return False
        if operation.state == "charged" and not may_come(answer):  # somebody looked, and closed it
            return False
        states = {operation.state}
    return storage.ledger.acquire_for_resume(operation.service, operation.id, states=states)


def _adopt(job: Job, operation: Operation) -> None:
    job.operation_id, job.model = operation.id, operation.request["model"]
    job.price = EXACT.divide(to_usd(operation.max_nano), Decimal(operation.request["n"]))
    job.parents, job.inputs = operation.request["parents"], operation.request.get("inputs", [])
    job.adjustments = operation.request.get("adjustments", [])


def resume_operation(job: Job, operation: Operation) -> Flow[ImageResult]:
    """Fetch what an operation paid for and did not get, after `acquire_for_resume`; sends no paid request.

    Raises:
        PaidButNotRetrievedError: Nothing could be fetched.
        UnreadableAnswerError: The raw answer holds no image.
    """
    job.began, job.reached = job.clock(), "paid"
    _adopt(job, operation)
    try:
        result = yield from _resume(job, operation)
    except GeneratorExit:
        give_up(job)  # there is no one left to carry out a step
        raise
    except BaseException:
        yield Work(lambda: give_up(job))
        raise
    return result


def _resume(job: Job, operation: Operation) -> Flow[ImageResult]:
    raw = yield Work(lambda: job.storage.blobs.raw(job.raw_name))
    if raw is None and operation.result is not None and operation.result["images"]:
        job.ledger.mark_idle(*job.key)
        result: ImageResult = yield Work(lambda: job.storage.load_result(operation))
        return result
    if raw is None:
        raise PaidButNotRetrievedError(
            "The raw answer of this operation is not in the store any more.",
            next_step="Its missing images are lost.",
            operation_id=operation.id,
            max_cost_usd=to_usd(operation.cost_nano),
        )
    answer = yield Work(lambda: read_reply(job, Reply(200, {}, raw)))
    stored = yield Work(lambda: _find_stored(job, operation))
    return (yield from deliver_images(job, answer, stored))


def _find_stored(job: Job, operation: Operation) -> dict[int, GeneratedImage]:
    if operation.result is None:
        return {}
    result = job.storage.load_result(operation)
    missing = {failure.index for failure in result.failures}
    total = len(result.images) + len(missing)
    images = zip((index for index in range(total) if index not in missing), result.images, strict=True)
    return {index: image for index, image in images if job.storage.read(image.sha256) is not None}
