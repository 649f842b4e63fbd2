"""WanClient: the core without LangChain. One blocking driver, one async; they differ in `await`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr, ValidationError

from langchain_wan._call.drivers import AsyncDriver, Driver
from langchain_wan._call.flow import generation
from langchain_wan._call.job import Call, Job
from langchain_wan._call.reports import Watch, Watcher
from langchain_wan._call.resumption import ANSWERABLE, acquire, resume_operation
from langchain_wan._call.settlement import give_up
from langchain_wan._concurrency.executor import in_thread
from langchain_wan._net.endpoint import Endpoint, parse_base_url
from langchain_wan._net.messages import Outcome, Reply, WireRequest
from langchain_wan._services.aisa_chat import BALANCE_PATH, read_balance
from langchain_wan._storage.money import EXACT
from langchain_wan._storage.states import UNRESOLVED_STATES
from langchain_wan._text.logs import logger
from langchain_wan.errors import NotSentError, WanError
from langchain_wan.models import ImageResult
from langchain_wan.requests import ImageRequest, invalid_request
from langchain_wan.settings import WanSettings

if TYPE_CHECKING:
    from langchain_wan._storage.operations import Operation

Request = ImageRequest | str | Mapping[str, Any]

BALANCE_TIMEOUT = 30.0
MICRO = 10**6

# The calls of event loops. A call that is cancelled after it was sent goes on here, so that what was paid is kept;
# one whose loop was closed under it is given up when the next call begins.
_calls: dict[asyncio.Task[Any], Job] = {}


class WanClient(WanSettings):
    """Make and edit images, without LangChain; takes the settings of `WanSettings`.

    A client keeps no connection open: it need not be closed, and one object may be used from threads, from several
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
        return Driver(self, job.endpoint, _watch(job, on_event)).run(generation(job))

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
        task = asyncio.ensure_future(AsyncDriver(self, job.endpoint, _watch(job, on_event)).run(generation(job)))
        _calls[task] = job
        task.add_done_callback(_calls.pop)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if job.reached in {"new", "claimed"}:  # nothing was sent
                task.cancel()
            task.add_done_callback(_ended_in_background)
            raise

    def resume(self) -> list[ImageResult]:
        """Fetch the images that were paid for and not retrieved; needs no key and sends no paid request.

        An answer that was kept because no image could be read from it is read again, by the rules of this version.
        Those of a sandbox are fetched only from the sandbox that the settings name. An operation that can't be
        resumed is logged as a warning.

        Returns:
            The results that are complete, or more complete, now.
        """
        results = []
        for operation in self._resumable():
            try:
                if acquire(self.store._storage, operation):
                    job = self._resume_job(operation)
                    results.append(Driver(self, job.endpoint).run(resume_operation(job, operation)))
            except Exception as error:  # noqa: BLE001  one lost operation must not keep the others from being fetched
                _warn_not_resumed(operation, error)
        return results

    async def aresume(self) -> list[ImageResult]:
        """Do what `resume` does without blocking the event loop."""
        results = []
        for operation in await in_thread(self._resumable):
            try:
                if await in_thread(acquire, self.store._storage, operation):
                    job = self._resume_job(operation)
                    results.append(await AsyncDriver(self, job.endpoint).run(resume_operation(job, operation)))
            except Exception as error:  # noqa: BLE001  one lost operation must not keep the others from being fetched
                _warn_not_resumed(operation, error)
        return results

    def balance(self) -> Decimal:
        """Return the dollars that are left on the account.

        Raises:
            StatusError: The service did not give a balance.
            NotSentError: It could not be reached.
        """
        endpoint = self.endpoint()
        return _dollars(Driver(self, endpoint).send(WireRequest("GET", BALANCE_PATH), BALANCE_TIMEOUT))

    async def abalance(self) -> Decimal:
        """Do what `balance` does without blocking the event loop."""
        endpoint = self.endpoint()
        driver = AsyncDriver(self, endpoint)
        outcome = await driver.send(WireRequest("GET", BALANCE_PATH), BALANCE_TIMEOUT)
        return await in_thread(_dollars, outcome)

    def _job(self, request: Request, call: Call | None) -> Job:
        fields: Any = {"prompt": request} if isinstance(request, str) else request
        if isinstance(request, ImageRequest):  # a copy may have been changed without being validated
            fields = {name: getattr(request, name) for name in request.model_fields_set}
        try:
            request = ImageRequest.model_validate(fields)
        except ValidationError as error:
            raise invalid_request(error) from None
        _give_up_calls_of_closed_loops()
        return Job(request, self, self.endpoint(), call or Call(), time.monotonic)

    def _resumable(self) -> list[Operation]:
        service, _ = self._read_address()
        ledger, scope = self.store._storage.ledger, self.store.scope or None
        operations = [
            *ledger.operations(states=UNRESOLVED_STATES, scope=scope),
            *ledger.operations(states=ANSWERABLE - UNRESOLVED_STATES, scope=scope),
        ]
        return [
            operation
            for operation in operations
            if operation.service == service or not operation.request.get("sandbox", False)
        ]

    def _resume_job(self, operation: Operation) -> Job:
        facts = operation.request
        # Not validated: a later version may have stricter rules than the one that paid.
        request = ImageRequest.model_construct(
            prompt=facts["prompt"], n=facts["n"], size=facts.get("size"), metadata=facts["metadata"]
        )
        _, loopback = parse_base_url(operation.service)
        endpoint = Endpoint(operation.service, SecretStr(""), loopback)  # downloads need no key
        return Job(request, self, endpoint, Call(scope=operation.scope), time.monotonic)


def _watch(job: Job, on_event: Watcher | None) -> Watch | None:
    return None if on_event is None else Watch(on_event, partial(job.build_event, "waiting"))


def _give_up_calls_of_closed_loops() -> None:
    for task, job in list(_calls.items()):
        if task.get_loop().is_closed():
            _calls.pop(task, None)
            give_up(job)


def _ended_in_background(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.warning("a cancelled call ended in the background: %s", task.exception())


def _warn_not_resumed(operation: Operation, error: Exception) -> None:
    reason = error if isinstance(error, WanError) else type(error).__name__
    logger.warning("operation %s could not be resumed: %s", operation.id, reason)


def _dollars(outcome: Outcome) -> Decimal:
    if isinstance(outcome, Reply):
        return EXACT.divide(Decimal(int(read_balance(outcome)["available_balance_micros_usd"])), Decimal(MICRO))
    raise NotSentError(f"The balance could not be asked for: {outcome.reason}.", next_step="Check the network.")
