"""WanClient: the core without LangChain. One blocking driver, one async; they differ in `await`."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from langchain_wan import _exchange
from langchain_wan._claims import give_up
from langchain_wan._executor import in_thread
from langchain_wan._flow import generation
from langchain_wan._requests import invalid_request
from langchain_wan._retrieval import resumed
from langchain_wan._slots import Slots, slots_for
from langchain_wan._steps import Acquire, Call, Flow, Job, Notify, Release, Send, SendAll, Sleep, Step, Work
from langchain_wan._wire import BALANCE_PATH, Outcome, Reply, WireRequest, read_balance
from langchain_wan.errors import NotSentError, WanError
from langchain_wan.models import ImageRequest, ImageResult, WanEvent
from langchain_wan.settings import Service, WanSettings

if TYPE_CHECKING:
    from langchain_wan._ledger import Operation

T = TypeVar("T")
Watcher = Callable[[WanEvent], object]
Request = ImageRequest | str | Mapping[str, Any]

logger = logging.getLogger("langchain_wan")
BALANCE_TIMEOUT = 30.0
DOWNLOADS = 8  # at once, for one answer
MICRO = 10**6

# The calls of event loops. A call that is cancelled after it was sent goes on here, so that what was paid is kept;
# one whose loop was closed under it is given up when the next call begins.
_calls: dict[asyncio.Task[Any], Job] = {}


class WanClient(WanSettings):
    """Make and edit images, without LangChain; takes the settings of `WanSettings`.

    A client holds no connection: nothing has to be closed, and one object may be used from threads, from several
    event loops, and in a forked process.
    """

    def generate(
        self,
        request: Request,
        *,
        on_event: Watcher | None = None,
        call: Call | None = None,
    ) -> ImageResult:
        """Make the images of one request and wait for them, usually 10 to 120 s.

        Args:
            request: What to make; a string is the prompt of one image, a dict the fields of an `ImageRequest`.
            on_event: Called with each `WanEvent`.
            call: Who calls; None means code.

        Raises:
            WanError: No image could be delivered; its class and `charged` say what that means.
            WanConfigurationError: No key, or a `base_url` that can't be used.
        """
        job = self._job(request, call)
        return _Driver(self, job.service, on_event).run(generation(job))

    async def agenerate(
        self,
        request: Request,
        *,
        on_event: Watcher | None = None,
        call: Call | None = None,
    ) -> ImageResult:
        """Do what `generate` does; `on_event` may be a coroutine function.

        A cancelled call ends at once for the caller. What was sent already goes on in the background, for at most
        `timeout` and as long as the loop lives, and its images are stored.
        """
        job = self._job(request, call)
        task = asyncio.ensure_future(_AsyncDriver(self, job.service, on_event).run(generation(job)))
        _calls[task] = job
        task.add_done_callback(_calls.pop)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if job.state in {"new", "claimed"}:
                task.cancel()
            task.add_done_callback(_ended_in_background)
            raise

    def resume(self) -> list[ImageResult]:
        """Fetch the images that were paid for and not retrieved; sends no paid request.

        Returns:
            The results that are complete, or more complete, now.
        """
        service = self.service()
        results = []
        for job, operation in self._resumable(service):
            if not self.store.ledger.take_to_resume(operation.service, operation.id):
                continue
            try:
                results.append(_Driver(self, service, None).run(resumed(job, operation)))
            except WanError as error:
                logger.warning("operation %s could not be resumed: %s", operation.id, error)
        return results

    async def aresume(self) -> list[ImageResult]:
        """Do what `resume` does without blocking the event loop."""
        service = self.service()
        results = []
        for job, operation in await in_thread(self._resumable, service):
            if not await in_thread(self.store.ledger.take_to_resume, operation.service, operation.id):
                continue
            try:
                results.append(await _AsyncDriver(self, service, None).run(resumed(job, operation)))
            except WanError as error:
                logger.warning("operation %s could not be resumed: %s", operation.id, error)
        return results

    def balance(self) -> Decimal:
        """Return the dollars that are left on the account.

        Raises:
            StatusError: The service did not give a balance.
            NotSentError: It could not be reached.
        """
        service = self.service()
        return _dollars(_Driver(self, service, None).send(WireRequest("GET", BALANCE_PATH), BALANCE_TIMEOUT))

    async def abalance(self) -> Decimal:
        """Do what `balance` does without blocking the event loop."""
        service = self.service()
        driver = _AsyncDriver(self, service, None)
        return _dollars(await driver.send(WireRequest("GET", BALANCE_PATH), BALANCE_TIMEOUT))

    def _job(self, request: Request, call: Call | None) -> Job:
        fields: Any = {"prompt": request} if isinstance(request, str) else request
        if isinstance(request, ImageRequest):  # a copy may have been changed without being validated
            fields = {name: getattr(request, name) for name in request.model_fields_set}
        try:
            request = ImageRequest.model_validate(fields)
        except ValidationError as error:
            raise invalid_request(error) from None
        _give_up_calls_of_closed_loops()
        return Job(request, self, self.service(), call or Call(), time.monotonic)

    def _resumable(self, service: Service) -> list[tuple[Job, Operation]]:
        found = []
        for operation in self.store.ledger.operations(states=("paid", "partial"), scope=self.store.scope or None):
            facts = operation.request
            request = ImageRequest(prompt=facts["prompt"], n=facts["n"], metadata=facts["metadata"])
            job = Job(request, self, service, Call(scope=operation.scope), time.monotonic)
            if operation.service == service.base_url:
                found.append((job, operation))
        return found


class _Driver:
    """Carries out the steps of a flow, blocking."""

    def __init__(self, settings: WanSettings, service: Service, on_event: Watcher | None) -> None:
        self._settings, self._service, self._on_event = settings, service, on_event
        self._held: Slots | None = None

    def run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._perform(step)
                except BaseException as error:  # noqa: BLE001  the flow decides what each means
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            self._release()

    def _perform(self, step: Step) -> Any:
        match step:
            case Work(function):
                return function()
            case Notify(event):
                if self._on_event is not None:
                    _told(self._on_event, event)
            case Sleep(seconds):
                time.sleep(seconds)
            case Acquire(limiter) if limiter is not None:
                limiter.acquire(blocking=True)
            case Acquire():
                slots = _slots(self._settings, self._service)
                slots.acquire()
                self._held = slots
            case Release():
                self._release()
            case Send(request, timeout):
                return self.send(request, timeout)
            case SendAll():
                return self._download_all(step)
        return None

    def send(self, request: WireRequest, timeout: float) -> Outcome:
        return _exchange.send(request, self._service, self._settings, time.monotonic() + timeout)

    def _download_all(self, step: SendAll) -> list[Any]:
        deadline = time.monotonic() + step.timeout
        download = _exchange.Download(self._service, self._settings, deadline, results=step.results)

        def one(index: int) -> Any:
            return step.each(index, download.run(step.urls[index]))

        if len(step.urls) == 1:
            return [one(0)]
        threads = ThreadPoolExecutor(min(len(step.urls), DOWNLOADS), thread_name_prefix="langchain-wan-download")
        try:
            return list(threads.map(one, range(len(step.urls))))
        except RuntimeError:  # the interpreter is ending: no new threads
            return [one(index) for index in range(len(step.urls))]
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()


class _AsyncDriver:
    """Carries out the steps of a flow on an event loop."""

    def __init__(self, settings: WanSettings, service: Service, on_event: Watcher | None) -> None:
        self._settings, self._service, self._on_event = settings, service, on_event
        self._held: Slots | None = None

    async def run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._perform(step)
                except BaseException as error:  # noqa: BLE001  the flow decides what each means
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            self._release()

    async def _perform(self, step: Step) -> Any:
        match step:
            case Work(function):
                return await in_thread(function)
            case Notify(event):
                if self._on_event is not None:
                    await _atold(self._on_event, event)
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Acquire(limiter) if limiter is not None:
                await limiter.aacquire(blocking=True)
            case Acquire():
                slots = _slots(self._settings, self._service)
                await slots.aacquire()
                self._held = slots
            case Release():
                self._release()
            case Send(request, timeout):
                return await self.send(request, timeout)
            case SendAll():
                return await self._download_all(step)
        return None

    async def send(self, request: WireRequest, timeout: float) -> Outcome:
        return await _exchange.asend(request, self._service, self._settings, time.monotonic() + timeout)

    async def _download_all(self, step: SendAll) -> list[Any]:
        deadline = time.monotonic() + step.timeout
        download = _exchange.Download(self._service, self._settings, deadline, results=step.results)

        places = asyncio.Semaphore(DOWNLOADS)

        async def one(index: int) -> Any:
            async with places:
                outcome = await download.arun(step.urls[index])
            return await in_thread(step.each, index, outcome)

        found = await asyncio.gather(*(one(index) for index in range(len(step.urls))), return_exceptions=True)
        for outcome in found:
            if isinstance(outcome, BaseException):
                raise outcome
        return found

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()


def _slots(settings: WanSettings, service: Service) -> Slots:
    key = hashlib.sha256(service.api_key.get_secret_value().encode()).digest()
    return slots_for(os.getpid(), service.base_url, key, places=settings.max_concurrency)


def _told(on_event: Watcher, event: WanEvent) -> None:
    try:
        on_event(event)
    except Exception:  # a progress bar that fails must not lose a paid image
        logger.warning("on_event failed at stage %s", event["stage"], exc_info=True)


async def _atold(on_event: Watcher, event: WanEvent) -> None:
    try:
        told = on_event(event)
        if isinstance(told, Awaitable):
            await told
    except Exception:  # a progress bar that fails must not lose a paid image
        logger.warning("on_event failed at stage %s", event["stage"], exc_info=True)


def _give_up_calls_of_closed_loops() -> None:
    for task, job in list(_calls.items()):
        if task.get_loop().is_closed():
            _calls.pop(task, None)
            give_up(job)


def _ended_in_background(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.warning("a cancelled call ended in the background: %s", task.exception())


def _dollars(outcome: Outcome) -> Decimal:
    if isinstance(outcome, Reply):
        return Decimal(int(read_balance(outcome)["available_balance_micros_usd"])) / MICRO
    raise NotSentError(f"The balance could not be asked for: {outcome.reason}.", next_step="Check the network.")
