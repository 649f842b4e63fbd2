"""The two drivers of a flow, which carry out its steps: one blocking, one async. They differ in `await`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from contextlib import nullcontext
from typing import Any, TypeVar

from langchain_wan._call.reports import AsyncReporter, Reporter, Watch
from langchain_wan._call.steps import Acquire, Flow, Notify, Release, Send, SendAll, Sleep, Step, Work
from langchain_wan._concurrency.executor import in_image_thread, in_thread, map_in_threads
from langchain_wan._concurrency.slots import Slots, find_slots
from langchain_wan._net import send
from langchain_wan._net.download import Download
from langchain_wan._net.endpoint import Endpoint
from langchain_wan._net.messages import Outcome, WireRequest
from langchain_wan._net.proxy import parse_proxy
from langchain_wan.settings import WanSettings

T = TypeVar("T")
DOWNLOADS = 8  # at once, for one answer


class _Settings:
    """What both drivers read from the settings, and the permit that they hold."""

    def __init__(self, settings: WanSettings, endpoint: Endpoint) -> None:
        self._settings, self._endpoint = settings, endpoint
        self._permit_of: Slots | None = None

    def _find_slots(self) -> Slots:
        key = hashlib.sha256(self._endpoint.api_key.get_secret_value().encode()).digest()
        return find_slots(os.getpid(), self._endpoint.base_url, key, permits=self._settings.max_concurrency)

    def _release(self) -> None:
        slots, self._permit_of = self._permit_of, None
        if slots is not None:
            slots.release()

    def _download(self, step: SendAll) -> Download:
        loopback = self._endpoint.loopback
        return Download(
            time.monotonic() + step.timeout,
            service=loopback if step.results else None,
            allow_http=step.results or loopback is not None,
            proxy=parse_proxy(self._settings.proxy),
            networks=self._settings.allowed_networks,
        )


class Driver(_Settings):
    """Carries out the steps of a flow, blocking."""

    def __init__(self, settings: WanSettings, endpoint: Endpoint, watch: Watch | None = None) -> None:
        super().__init__(settings, endpoint)
        self._reporter = None if watch is None else Reporter(watch)

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow to its end, and return what it returns."""
        with self._reporter or nullcontext():
            return self._run(flow)

    def _run(self, flow: Flow[T]) -> T:
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
            case Notify(event) if self._reporter is not None:
                self._reporter.report(event)
            case Sleep(seconds):
                time.sleep(seconds)
            case Acquire(limiter) if limiter is not None:
                limiter.acquire(blocking=True)
            case Acquire():
                slots = self._find_slots()
                slots.acquire()
                self._permit_of = slots
            case Release():
                self._release()
            case Send(request, timeout):
                return self.send(request, timeout)
            case SendAll():
                return self._download_all(step)
        return None

    def send(self, request: WireRequest, timeout: float) -> Outcome:
        """Send a request to the service; `timeout` in seconds, to the end of the answer."""
        return send.send(request, self._endpoint, time.monotonic() + timeout)

    def _download_all(self, step: SendAll) -> list[Any]:
        download = self._download(step)

        def fetch(index: int) -> Any:
            return step.each(index, download.run(step.urls[index]))

        return map_in_threads(fetch, range(len(step.urls)), threads=DOWNLOADS)


class AsyncDriver(_Settings):
    """Carries out the steps of a flow on an event loop."""

    def __init__(self, settings: WanSettings, endpoint: Endpoint, watch: Watch | None = None) -> None:
        super().__init__(settings, endpoint)
        self._reporter = None if watch is None else AsyncReporter(watch)

    async def run(self, flow: Flow[T]) -> T:
        """Carry out a flow to its end, and return what it returns."""
        async with self._reporter or nullcontext():
            return await self._run(flow)

    async def _run(self, flow: Flow[T]) -> T:
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
            case Work(function, with_images):
                return await (in_image_thread if with_images else in_thread)(function)
            case Notify(event) if self._reporter is not None:
                await self._reporter.report(event)
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Acquire(limiter) if limiter is not None:
                await limiter.aacquire(blocking=True)
            case Acquire():
                slots = self._find_slots()
                await slots.aacquire()
                self._permit_of = slots
            case Release():
                self._release()
            case Send(request, timeout):
                return await self.send(request, timeout)
            case SendAll():
                return await self._download_all(step)
        return None

    async def send(self, request: WireRequest, timeout: float) -> Outcome:
        """Send a request to the service; `timeout` in seconds, to the end of the answer."""
        return await send.asend(request, self._endpoint, time.monotonic() + timeout)

    async def _download_all(self, step: SendAll) -> list[Any]:
        download = self._download(step)
        permits = asyncio.Semaphore(DOWNLOADS)
        run = in_thread if step.results else in_image_thread  # a result is only inspected

        async def fetch(index: int) -> Any:
            async with permits:
                outcome = await download.arun(step.urls[index])
            return await run(step.each, index, outcome)

        outcomes = await asyncio.gather(*(fetch(index) for index in range(len(step.urls))), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return outcomes
