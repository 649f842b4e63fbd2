"""From the answer of a paid request to stored images: saved before it is parsed, each image as it comes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

from langchain_wan._call.job import Job
from langchain_wan._call.steps import Flow, SendAll, Sleep, Work
from langchain_wan._concurrency.callbacks import complete
from langchain_wan._media import data_uri, decode, formats
from langchain_wan._net.addresses import is_loopback
from langchain_wan._net.messages import Lost, NotSent, Outcome, Reply
from langchain_wan._net.signed_urls import find_expiry
from langchain_wan._services.aisa_chat import read_answer
from langchain_wan._services.answer import SURPLUS, Answer, ImagePart
from langchain_wan._services.inputs import Inputs
from langchain_wan._services.sizes import describe_differences
from langchain_wan._storage.money import to_nano
from langchain_wan._storage.storage import Storage
from langchain_wan._text.logs import logger
from langchain_wan.errors import (
    BLOCKED_UNTIL_SETTLED,
    RESUME_LATER,
    PaidButNotRetrievedError,
    StatusError,
    StoreError,
    UnreadableAnswerError,
)
from langchain_wan.models import GeneratedImage, ImageFailure, ImageResult

DOWNLOAD_ATTEMPTS = 3
FOR_THIS_MACHINE = 'set allowed_networks=["127.0.0.0/8", "::1/128"] to fetch from other ports of this machine'
FIRST_DOWNLOAD_WAIT = 0.5  # seconds before the second attempt; twice that before the third

Delivered: TypeAlias = GeneratedImage | ImageFailure


def record_answer(job: Job, reply: Reply) -> Flow[Answer]:
    """Save the raw answer before it is parsed, then settle what it cost.

    Raises:
        UnreadableAnswerError: It holds no image; the raw answer stays.
        StatusError: It is a refusal in spite of its status.
    """

    def save_and_read() -> Answer:
        keep_raw(job, reply.body)
        try:
            answer = read_reply(job, reply)
        except StatusError:
            job.storage.blobs.drop_raw(job.raw_name)
            raise
        job.reached = "paid"  # here, where a cancelled wait for this thread can't miss it
        try:
            job.ledger.transition(*job.key, "paid", own=True)
        except StoreError as error:
            warnings.warn(f"The payment could not be written down: {error.what}", RuntimeWarning, stacklevel=2)
        return answer

    answer: Answer = yield Work(save_and_read)
    cost = job.cost(len(answer.parts))
    if job.budget is not None and job.reservation is not None:
        job.budget.settle(job.reservation, cost, len(answer.parts))
        job.reservation = None
    yield job.notify("answered", cost_usd=str(cost))
    return answer


def read_reply(job: Job, reply: Reply) -> Answer:
    """Read an answer, knowing what was sent; believe its number of images if it is about what was asked for.

    Raises:
        UnreadableAnswerError: It holds no image, or far too many; nobody can tell what was billed.
        StatusError: It is a refusal in spite of its status.
    """
    answer = read_answer(reply, max_cost_usd=job.max_cost, inputs=Inputs(job.inputs, job.request.prompt))
    asked = job.request.n
    if not answer.is_too_much(asked):
        return answer
    error = UnreadableAnswerError(
        f"The service answered with {len(answer.parts)} images where {asked} {'was' if asked == 1 else 'were'} asked "
        f"for; at most {SURPLUS} more are taken.",
        next_step=f"The raw answer is kept. {BLOCKED_UNTIL_SETTLED}",
        stage="read",
        status_code=reply.status,
        request_id=answer.request_id,
        operation_id=job.operation_id,
        max_cost_usd=job.max_cost,
    )
    logger.error("%s", error)  # the model is told less than the operator has to know
    raise error


def keep_raw(job: Job, body: bytes) -> None:
    """Keep a raw answer; a store that fails must not lose what was paid for."""
    try:
        job.storage.blobs.keep_raw(job.raw_name, body)
    except StoreError as error:
        warnings.warn(f"The answer could not be kept: {error.what}", RuntimeWarning, stacklevel=2)


def deliver_images(job: Job, answer: Answer, stored: Mapping[int, GeneratedImage] | None = None) -> Flow[ImageResult]:
    """Fetch and store every image of an answer, and write down the result.

    Args:
        stored: Images that are stored already, by their index in the answer.

    Raises:
        PaidButNotRetrievedError: None of the images could be fetched.
    """
    delivered: dict[int, Delivered] = dict(stored or {})
    for index, part in enumerate(answer.parts):
        if part.url is None and index not in delivered:
            delivered[index] = yield Work(partial(_decode_part, job, index, part))
    urls = {
        index: part.url for index, part in enumerate(answer.parts) if part.url is not None and index not in delivered
    }
    deadline = job.clock() + job.settings.download_timeout
    for attempt in range(DOWNLOAD_ATTEMPTS):
        if not urls or (attempt and job.clock() >= deadline):
            break
        if attempt:
            yield Sleep(FIRST_DOWNLOAD_WAIT * 2 ** (attempt - 1))
        is_last = attempt == DOWNLOAD_ATTEMPTS - 1
        delivered |= yield from _download(job, urls, max(0.0, deadline - job.clock()), tolerant=is_last)
        urls = {index: url for index, url in urls.items() if _may_come(delivered[index])}
    ordered = [delivered[index] for index in range(len(answer.parts))]
    images = [image for image in ordered if isinstance(image, GeneratedImage)]
    # What another set-up could open or reach may still come, so that `resume` tries it.
    failures = [
        image.model_copy(update={"retryable": True}) if image.index in job.later else image
        for image in ordered
        if isinstance(image, ImageFailure)
    ]
    yield job.notify("stored", images=[image.model_dump(mode="json") for image in images])
    result: ImageResult = yield Work(partial(_finish, job, answer, images, failures))
    return result


def _download(job: Job, urls: Mapping[int, str], timeout: float, *, tolerant: bool) -> Flow[dict[int, Delivered]]:
    indexes = list(urls)

    def receive(position: int, outcome: Outcome) -> Delivered:
        index = indexes[position]
        return _read_download(job, index, urls[index], outcome, tolerant=tolerant)

    images: Sequence[Delivered] = yield SendAll(list(urls.values()), timeout, receive)
    return dict(zip(indexes, images, strict=True))


def _may_come(image: Delivered) -> bool:
    return isinstance(image, ImageFailure) and image.retryable


def _decode_part(job: Job, index: int, part: ImagePart) -> Delivered:
    if part.content is not None:
        return _keep(job, index, part.content, None)
    if part.data is None:
        return ImageFailure(index=index, reason="the answer has no image here", retryable=False)
    try:
        data = data_uri.decode_image_text(part.data)
    except formats.ImageFileError as error:
        return ImageFailure(index=index, reason=error.problem, retryable=False)
    return _keep(job, index, data, None)


def _read_download(job: Job, index: int, url: str, outcome: Outcome, *, tolerant: bool) -> Delivered:
    if isinstance(outcome, NotSent):
        reason = outcome.reason
        if not outcome.transient:
            job.later.add(index)
        if not outcome.transient and job.endpoint.loopback is not None and is_loopback(url):
            # Only where the service is on this machine: the URL of any other may be an attempt to reach what is here.
            reason = f"{reason}; {FOR_THIS_MACHINE}"
        return ImageFailure(index=index, reason=reason, retryable=outcome.transient)
    if isinstance(outcome, Lost):
        late = f"the timeout of {job.settings.download_timeout:g} s ended it (setting `download_timeout`)"
        return ImageFailure(index=index, reason=late if outcome.is_late else outcome.reason, retryable=True)
    if outcome.status != 200:  # noqa: PLR2004  OK
        # 403, 404 and 410 are what an expired URL answers: it stays so.
        is_transient = outcome.status >= 500 or outcome.status == 429  # noqa: PLR2004
        return ImageFailure(index=index, reason=f"HTTP {outcome.status}", retryable=is_transient)
    # A file without its end was probably cut off on the way: it is taken only if no better one comes.
    return _keep(job, index, outcome.body, url, tolerant=tolerant)


def _keep(job: Job, index: int, data: bytes, url: str | None, *, tolerant: bool = True) -> Delivered:
    try:
        info = decode.inspect(data, tolerant=tolerant)
    except formats.ImageFileError as error:
        if isinstance(error, formats.UnopenedFormatError):
            job.later.add(index)
        return ImageFailure(index=index, reason=error.problem, retryable=url is not None)
    expires_at = None if url is None else find_expiry(url)
    try:
        image = job.storage.keep(data, info, url=url, expires_at=expires_at)
    except StoreError as error:
        warnings.warn(f"{error.what} The image is kept in memory only.", RuntimeWarning, stacklevel=2)
        job.all_stored = False
        image = Storage(None).keep(data, info, url=url, expires_at=expires_at)
    return _add_durable_url(job, image)


def _add_durable_url(job: Job, image: GeneratedImage) -> GeneratedImage:
    if job.settings.on_image is None:
        return image
    try:
        durable = complete(job.settings.on_image(image))
    except Exception as error:  # noqa: BLE001  a callback that fails must not lose a paid image
        warnings.warn(f"on_image failed for {image.id}: {type(error).__name__}", RuntimeWarning, stacklevel=2)
        return image
    if durable is None:
        return image
    if not isinstance(durable, str) or not durable.isprintable() or not durable.strip():
        text = f"on_image must return a URL or None; for {image.id} it returned {_name_value(durable)}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    else:
        image.url, image.expires_at = durable, None
        try:
            job.storage.record(image)
        except StoreError as error:
            warnings.warn(f"The URL of {image.id} could not be kept: {error.what}", RuntimeWarning, stacklevel=2)
    return image


def _name_value(value: object) -> str:
    return "text that is not a URL" if isinstance(value, str) else type(value).__name__


def _finish(job: Job, answer: Answer, images: list[GeneratedImage], failures: list[ImageFailure]) -> ImageResult:
    result = _build_result(job, answer, images, failures)
    # Permanent failures need no resume; but if nothing arrived, it stays open, so that a repeat is not billed.
    is_open = not images or not job.all_stored or any(failure.retryable for failure in failures)
    state: Literal["done", "partial"] = "partial" if is_open else "done"
    cost, recorded = to_nano(result.cost_usd), result.model_dump(mode="json")
    try:
        job.ledger.transition(*job.key, state, cost_nano=cost, images=len(answer.parts), result=recorded, own=True)
        if state == "done":
            job.storage.blobs.drop_raw(job.raw_name)
    except StoreError as error:
        warnings.warn(f"The result could not be recorded: {error.what}", RuntimeWarning, stacklevel=2)
    finally:
        job.reached = "ended"
        job.ledger.mark_idle(*job.key)
    job.storage.settle_reservation(job.key, result.cost_usd, len(answer.parts))
    if not images:
        raise PaidButNotRetrievedError(
            f"{len(failures)} image{'' if len(failures) == 1 else 's'} made, and none could be fetched: "
            f"{failures[0].reason}.",
            next_step=RESUME_LATER,
            operation_id=job.operation_id,
            max_cost_usd=result.cost_usd,
        )
    return result


def _build_result(job: Job, answer: Answer, images: list[GeneratedImage], failures: list[ImageFailure]) -> ImageResult:
    sizes = [(image.width, image.height) for image in images]
    return ImageResult(
        images=images,
        failures=failures,
        model=job.model,
        prompt=job.request.prompt,
        cost_usd=job.cost(len(answer.parts)),
        usage=dict(answer.usage),
        request_id=answer.request_id,
        operation_id=job.operation_id,
        metadata=job.request.metadata,
        parents=job.parents,
        notes=list(answer.notes),
        adjustments=[*job.adjustments, *describe_differences(job.request.size, sizes)],
    )
