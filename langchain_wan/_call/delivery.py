"""From the answer of a paid request to stored images: saved before it is parsed, each image as it comes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from langchain_wan._call.job import Job
from langchain_wan._call.settlement import give_up
from langchain_wan._call.steps import Flow, SendAll, Sleep, Work
from langchain_wan._media import data_uri, decode, formats
from langchain_wan._net.messages import Lost, NotSent, Outcome, Reply
from langchain_wan._net.signed_urls import find_expiry
from langchain_wan._services.aisa_chat import read_answer
from langchain_wan._services.answer import Answer, ImagePart
from langchain_wan._storage.money import to_nano, to_usd
from langchain_wan._storage.operations import Operation
from langchain_wan.errors import PaidButNotRetrievedError, StatusError, StoreError, WanError
from langchain_wan.models import GeneratedImage, ImageFailure, ImageResult
from langchain_wan.store import WanStore

DOWNLOAD_ATTEMPTS = 3
FIRST_WAIT = 0.5  # seconds before the second attempt; twice that before the third

Found = GeneratedImage | ImageFailure


def recorded(job: Job, reply: Reply) -> Flow[Answer]:
    """Save the raw answer before it is parsed, then settle what it cost.

    Raises:
        UnreadableAnswerError: It holds no image; the raw answer stays.
        StatusError: It is a refusal in spite of its status.
    """

    def save_and_read() -> Answer:
        keep_raw(job, reply.body)
        job.state = "paid"  # here, where a cancelled wait for this thread can't miss it
        try:
            job.store.ledger.move(job.endpoint.base_url, job.operation_id, "paid")
        except StoreError as error:
            warnings.warn(f"The payment could not be written down: {error}", RuntimeWarning, stacklevel=2)
        try:
            return read_answer(reply, max_cost_usd=job.max_cost)
        except WanError as error:
            job.state = "sent"
            if isinstance(error, StatusError):
                job.store.blobs.drop_raw(job.raw_name)
            raise

    answer: Answer = yield Work(save_and_read)
    cost = job.price * len(answer.parts)
    if job.budget is not None and job.hold is not None:
        job.budget.settle(job.hold, cost, len(answer.parts))
        job.hold = None
    yield job.notify("answered", cost_usd=str(cost))
    return answer


def keep_raw(job: Job, body: bytes) -> None:
    """Keep a raw answer; where that fails, what was paid is not to be lost with it."""
    try:
        job.store.blobs.keep_raw(job.raw_name, body)
    except StoreError as error:
        warnings.warn(f"The answer could not be kept: {error}", RuntimeWarning, stacklevel=2)


def resumed(job: Job, operation: Operation) -> Flow[ImageResult]:
    """Fetch what an operation paid for and did not get, after `acquire_for_resume`; sends no paid request.

    Raises:
        PaidButNotRetrievedError: Nothing could be fetched.
        UnreadableAnswerError: The raw answer holds no image.
    """
    job.began = job.clock()
    job.operation_id, job.model, job.state = operation.id, operation.request["model"], "paid"
    job.price = to_usd(operation.max_nano) / operation.request["n"]
    job.parents = operation.request["parents"]
    try:
        result = yield from _resumed(job, operation)
    except BaseException:
        give_up(job)
        raise
    return result


def _resumed(job: Job, operation: Operation) -> Flow[ImageResult]:
    raw = yield Work(lambda: job.store.blobs.raw(job.raw_name))
    if raw is None and operation.result is not None and operation.result["images"]:
        job.store.ledger.stop(job.endpoint.base_url, job.operation_id)
        return job.store.load_result(operation)
    if raw is None:
        raise PaidButNotRetrievedError(
            "The raw answer of this operation is not in the store any more.",
            next_step="Its missing images are lost.",
            operation_id=operation.id,
            max_cost_usd=to_usd(operation.cost_nano),
        )
    answer = yield Work(lambda: read_answer(Reply(200, {}, raw), max_cost_usd=job.max_cost))
    known = yield Work(lambda: _known(job, operation))
    return (yield from retrieved(job, answer, known))


def _known(job: Job, operation: Operation) -> dict[int, GeneratedImage]:
    if operation.result is None:
        return {}
    result = job.store.load_result(operation)
    missing = {failure.index for failure in result.failures}
    total = len(result.images) + len(missing)
    placed = zip((place for place in range(total) if place not in missing), result.images, strict=True)
    return {place: image for place, image in placed if job.store.read(image.sha256) is not None}


def retrieved(job: Job, answer: Answer, known: Mapping[int, GeneratedImage] | None = None) -> Flow[ImageResult]:
    """Get and store every image of an answer, and write down the result.

    Args:
        known: Images that are stored already, by their place in the answer.

    Raises:
        PaidButNotRetrievedError: None of the images could be fetched.
    """
    found: dict[int, Found] = dict(known or {})
    for place, part in enumerate(answer.parts):
        if part.url is None and place not in found:
            found[place] = yield Work(partial(_decoded, job, place, part))
    missing = {
        place: part.url for place, part in enumerate(answer.parts) if part.url is not None and place not in found
    }
    deadline = job.clock() + job.settings.download_timeout
    for attempt in range(DOWNLOAD_ATTEMPTS):
        if not missing or (attempt and job.clock() >= deadline):
            break
        if attempt:
            yield Sleep(FIRST_WAIT * 2 ** (attempt - 1))
        found |= yield from _downloads(job, missing, max(0.001, deadline - job.clock()))
        missing = {place: url for place, url in missing.items() if _may_come(found[place])}
    ordered = [found[place] for place in range(len(answer.parts))]
    images = [image for image in ordered if isinstance(image, GeneratedImage)]
    failures = [image for image in ordered if isinstance(image, ImageFailure)]
    yield job.notify("stored", images=[image.model_dump(mode="json") for image in images])
    result: ImageResult = yield Work(partial(_finished, job, answer, images, failures))
    return result


def _downloads(job: Job, missing: Mapping[int, str], timeout: float) -> Flow[dict[int, Found]]:
    places, urls = list(missing), list(missing.values())

    def received(index: int, outcome: Outcome) -> Found:
        return _downloaded(job, places[index], urls[index], outcome)

    images: Sequence[Found] = yield SendAll(urls, timeout, received)
    return dict(zip(places, images, strict=True))


def _may_come(found: Found) -> bool:
    return isinstance(found, ImageFailure) and found.retryable


def _decoded(job: Job, place: int, part: ImagePart) -> Found:
    if part.data is None:
        return ImageFailure(index=place, reason="the answer names no image here", retryable=False)
    try:
        data = data_uri.decode_image_text(part.data)
    except formats.NotAnImageError as error:
        return ImageFailure(index=place, reason=str(error), retryable=False)
    return _kept(job, place, data, None)


def _downloaded(job: Job, place: int, url: str, outcome: Outcome) -> Found:
    if isinstance(outcome, NotSent):
        return ImageFailure(index=place, reason=outcome.reason, retryable=outcome.transient)
    if isinstance(outcome, Lost):
        return ImageFailure(index=place, reason=outcome.reason, retryable=True)
    if outcome.status != 200:  # noqa: PLR2004  OK
        # 403, 404 and 410 are what an expired URL answers: it stays so.
        passing = outcome.status >= 500 or outcome.status == 429  # noqa: PLR2004
        return ImageFailure(index=place, reason=f"HTTP {outcome.status}", retryable=passing)
    return _kept(job, place, outcome.body, url)


def _kept(job: Job, place: int, data: bytes, url: str | None) -> Found:
    try:
        picture = decode.inspect(data)
    except formats.NotAnImageError as error:
        return ImageFailure(index=place, reason=str(error), retryable=url is not None)
    expires_at = None if url is None else find_expiry(url)
    try:
        image = job.store.keep(data, picture, scope=job.scope, url=url, expires_at=expires_at)
    except StoreError as error:
        warnings.warn(f"{error} The image is held in memory only.", RuntimeWarning, stacklevel=2)
        job.all_stored = False
        image = WanStore().keep(data, picture, url=url, expires_at=expires_at)
    return _with_durable_url(job, image)


def _with_durable_url(job: Job, image: GeneratedImage) -> GeneratedImage:
    if job.settings.on_image is None:
        return image
    try:
        durable = job.settings.on_image(image)
    except Exception as error:  # noqa: BLE001  somebody else's function must not lose a paid image
        warnings.warn(f"on_image failed for {image.id}: {type(error).__name__}", RuntimeWarning, stacklevel=2)
        return image
    if durable is not None:
        image.url, image.expires_at = durable, None
        try:
            job.store.record(image, job.scope)
        except StoreError as error:
            warnings.warn(f"The URL of {image.id} could not be kept: {error}", RuntimeWarning, stacklevel=2)
    return image


def _finished(job: Job, answer: Answer, images: list[GeneratedImage], failures: list[ImageFailure]) -> ImageResult:
    result = _result(job, answer, images, failures)
    # What can't come any more leaves nothing to resume; but a call that delivered nothing is not to be paid again
    # by whoever merely repeats it.
    unfinished = not images or not job.all_stored or any(failure.retryable for failure in failures)
    state: Literal["done", "partial"] = "partial" if unfinished else "done"
    cost, facts = to_nano(result.cost_usd), result.model_dump(mode="json")
    try:
        job.store.ledger.move(
            job.endpoint.base_url, job.operation_id, state, cost_nano=cost, images=len(answer.parts), result=facts
        )
        if state == "done":
            job.store.blobs.drop_raw(job.raw_name)
    except StoreError as error:
        warnings.warn(f"The result could not be recorded: {error}", RuntimeWarning, stacklevel=2)
    finally:
        job.state = "given_up"
        job.store.ledger.stop(job.endpoint.base_url, job.operation_id)
    job.store.settle_reservation((job.endpoint.base_url, job.operation_id), result.cost_usd, len(answer.parts))
    if not images:
        raise PaidButNotRetrievedError(
            f"{len(failures)} image{'' if len(failures) == 1 else 's'} made, and none could be fetched: "
            f"{failures[0].reason}.",
            next_step="resume() fetches what is missing without paying again, while the URLs last.",
            operation_id=job.operation_id,
            max_cost_usd=result.cost_usd,
        )
    return result


def _result(job: Job, answer: Answer, images: list[GeneratedImage], failures: list[ImageFailure]) -> ImageResult:
    return ImageResult(
        images=images,
        failures=failures,
        model=job.model,
        prompt=job.request.prompt,
        cost_usd=job.price * len(answer.parts),
        usage=dict(answer.usage),
        request_id=answer.request_id,
        operation_id=job.operation_id,
        metadata=job.request.metadata,
        parents=job.parents,
        notes=list(answer.notes),
    )
