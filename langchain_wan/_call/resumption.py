"""An operation that was paid for and not delivered: its images are fetched from the answer that was saved."""

from __future__ import annotations

from langchain_wan._call.delivery import deliver_images, read_reply
from langchain_wan._call.job import Job
from langchain_wan._call.settlement import give_up
from langchain_wan._call.steps import Flow, Work
from langchain_wan._net.messages import Reply
from langchain_wan._storage.money import to_usd
from langchain_wan._storage.operations import Operation
from langchain_wan._storage.states import RESUMABLE_STATES, UNRESOLVED_STATES
from langchain_wan.errors import PaidButNotRetrievedError, WanError
from langchain_wan.models import GeneratedImage, ImageResult


def resume_unresolved(job: Job, operation: Operation) -> Flow[ImageResult | None]:
    """Take an operation that nobody carries out, and resume it; return None if somebody does, or nothing can come.

    Where it is unknown what was billed, an answer may have been kept that could not be read, or not in time. It is read
    again: this version may know more than the one that kept it.

    Raises:
        PaidButNotRetrievedError: Nothing could be fetched.
        UnreadableAnswerError: The raw answer of a paid operation holds no image.
    """
    is_known = operation.state in RESUMABLE_STATES
    states = RESUMABLE_STATES if is_known else UNRESOLVED_STATES
    _adopt(job, operation)
    if not is_known and not (yield Work(lambda: _has_readable_answer(job))):
        return None
    acquired = yield Work(lambda: job.ledger.acquire_for_resume(*job.key, states=states))
    return (yield from resume_operation(job, operation)) if acquired else None


def _has_readable_answer(job: Job) -> bool:
    raw = job.storage.blobs.raw(job.raw_name)
    try:
        return raw is not None and bool(read_reply(job, Reply(200, {}, raw)).parts)
    except WanError:
        return False


def _adopt(job: Job, operation: Operation) -> None:
    job.operation_id, job.model = operation.id, operation.request["model"]
    job.price = to_usd(operation.max_nano) / operation.request["n"]
    job.parents, job.inputs = operation.request["parents"], operation.request.get("inputs", [])


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
