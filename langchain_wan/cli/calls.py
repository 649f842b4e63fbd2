"""Calls in threads of their own, begun in order. Ctrl-C waits for those in flight; a second one abandons them."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

from langchain_wan.client import WanClient
from langchain_wan.errors import BudgetExceededError, WanError
from langchain_wan.models import ImageResult, WanEvent
from langchain_wan.requests import ImageRequest


@dataclass(frozen=True)
class CallResult:
    """How a call ended: with a result, or an error; `index` is that of its request."""

    index: int
    result: ImageResult | None = None
    error: WanError | None = None


@dataclass(frozen=True)
class _Claimed:
    index: int
    operation_id: str


@dataclass(frozen=True)
class _Ended:
    index: int
    outcome: ImageResult | BaseException


class _Interrupt:
    """Somebody pressed Ctrl-C."""


class AbandonedError(Exception):
    """Ctrl-C was pressed a second time.

    Attributes:
        in_flight: The operation id of each call that is in flight, by its index; "" if it was not claimed yet.
    """

    def __init__(self, in_flight: dict[int, str]) -> None:
        super().__init__()
        self.in_flight = in_flight


@dataclass
class Calls:
    """The calls of one command.

    Attributes:
        on_wait: Called after Ctrl-C with the indexes of the calls that are waited for.
        costs_nothing: Says of an index whether its call sends nothing: it waits for no other one to be claimed, and is
            made even where the budget is used up.
        interrupted: Whether Ctrl-C was pressed.
        over_budget: The error of the first call that the budget did not allow; those after it are not begun.
    """

    client: WanClient
    on_wait: Callable[[list[int]], None]
    costs_nothing: Callable[[int], bool] = lambda index: False  # noqa: ARG005  its name is part of the signature
    interrupted: bool = False
    over_budget: CallResult | None = None
    _news: SimpleQueue[_Claimed | _Ended | _Interrupt] = field(default_factory=SimpleQueue)
    _waiting: deque[tuple[int, ImageRequest]] = field(default_factory=deque)
    _in_flight: dict[int, str] = field(default_factory=dict)
    _claiming: int | None = None
    _is_short: bool = False  # the budget does not allow the next call, as long as those in flight have theirs
    _failure: BaseException | None = None

    def run(self, requests: Sequence[ImageRequest]) -> Generator[CallResult, None, None]:
        """Make the calls, at most `max_concurrency` of them at once, and yield each as it ends.

        Raises:
            AbandonedError: Ctrl-C was pressed twice.
        """
        self._waiting.extend(enumerate(requests))
        with self._hearing_interrupts():
            try:
                while self._begin_next() or self._in_flight:
                    for ended in self._take_news():
                        yield from self._end(ended, requests[ended.index])
            except GeneratorExit:  # who made the calls failed: what is paid is kept nevertheless
                while self._in_flight:
                    for ended in self._take_news():
                        del self._in_flight[ended.index]
                raise
        if self._failure is not None:
            raise self._failure

    def _take_news(self) -> Iterator[_Ended]:
        """Wait for something to happen, and yield the call that ended, if it was that."""
        match self._news.get():
            case _Claimed(index, operation_id):
                self._in_flight[index] = operation_id
                self._claiming = None
            case _Interrupt() if self.interrupted:
                raise AbandonedError(dict(self._in_flight))
            case _Interrupt():
                self.interrupted = True
                self._waiting.clear()
                self.on_wait(sorted(self._in_flight))
            case _Ended() as ended:
                yield ended

    def _begin_next(self) -> bool:
        """Begin the next call, and say whether there was one that could be begun."""
        # One after the other is claimed: money that is left goes to the lines in their order.
        is_busy = self._claiming is not None or len(self._in_flight) >= self.client.max_concurrency
        if not self._waiting or is_busy or self._is_short:
            return False
        index, request = self._waiting.popleft()
        self._claiming = None if self.costs_nothing(index) else index
        self._in_flight[index] = ""
        threading.Thread(target=self._carry_out, args=(index, request), daemon=True).start()
        return True

    def _carry_out(self, index: int, request: ImageRequest) -> None:
        def on_event(event: WanEvent) -> None:
            if event["stage"] == "queued":
                self._news.put(_Claimed(index, event["operation_id"]))

        outcome: ImageResult | BaseException
        try:
            outcome = self.client.generate(request, on_event=on_event)
        except BaseException as error:  # noqa: BLE001  the main thread raises it
            outcome = error
        self._news.put(_Ended(index, outcome))

    def _end(self, ended: _Ended, request: ImageRequest) -> Iterator[CallResult]:
        index, outcome = ended.index, ended.outcome
        del self._in_flight[index]
        self._claiming = None if self._claiming == index else self._claiming
        self._is_short = isinstance(outcome, BudgetExceededError) and bool(self._in_flight)
        if self._is_short:
            if not self.interrupted:
                self._waiting.appendleft((index, request))
        elif isinstance(outcome, BudgetExceededError):
            self.over_budget = self.over_budget or CallResult(index, error=outcome)
            self._waiting = deque(call for call in self._waiting if self.costs_nothing(call[0]))
        elif isinstance(outcome, WanError):
            yield CallResult(index, error=outcome)
        elif isinstance(outcome, BaseException):
            self._failure = outcome
            self._waiting.clear()
        else:
            yield CallResult(index, result=outcome)

    @contextmanager
    def _hearing_interrupts(self) -> Iterator[None]:
        """Take Ctrl-C as news, unless somebody else decides what it does: a shell's background job ignores it."""
        is_ours = threading.current_thread() is threading.main_thread()
        if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, lambda *_: self._news.put(_Interrupt()))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
