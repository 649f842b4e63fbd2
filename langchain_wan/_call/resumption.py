"""An operation that was paid for and not delivered: its images are fetched from the answer that was saved."""

from __future__ import annotations

from langchain_wan._call.delivery import deliver_images
from langchain_wan._call.job import Job
from langchain_wan._call.settlement import give_up
from langchain_wan._call.steps import Flow, Work
from langchain_wan._net.messages import Reply
from langchain_wan._services.aisa_chat import read_answer
from langchain_wan._storage.money import to_usd
from langchain_wan._storage.operations import Operation
from langchain_wan.errors import PaidButNotRetrievedError
from langchain_wan.models import GeneratedImage, ImageResult


def resume_operation(job: Job, operation: Operation) -> Flow[ImageResult]:
    """Fetch what an operation paid for and did not get, after `acquire_for_resume`; sends no paid request.

    Raises:
        PaidButNotRetrievedError: Nothing could be fetched.
        UnreadableAnswerError: The raw answer holds no image.
    """
    job.began = job.clock()
    job.operation_id, job.model, job.reached = operation.id, operation.request["model"], "paid"
    job.price = to_usd(operation.max_nano) / operation.request["n"]
    job.parents = operation.request["parents"]
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
    answer = yield Work(lambda: read_answer(Reply(200, {}, raw), max_cost_usd=job.max_cost))
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
