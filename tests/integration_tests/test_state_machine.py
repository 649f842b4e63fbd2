"""Random lives of operations over ledger, budget and store: whatever happens in whatever order, the promises hold.

`MACHINE_STEPS` says how many steps are taken in all (`make crash`: 10,000).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from pydantic import SecretStr

from langchain_wan import Budget, ImageRequest, WanStore, errors
from langchain_wan._call.flow import generation
from langchain_wan._call.job import Call, Job
from langchain_wan._call.resumption import resume_operation
from langchain_wan._call.steps import Acquire, Flow, Notify, Release, Send, SendAll, Sleep, Step, Work
from langchain_wan._net.endpoint import Endpoint
from langchain_wan._net.messages import Lost, NotSent, Outcome, Reply
from langchain_wan._storage.owners import forget_owners
from langchain_wan._storage.states import STATES
from langchain_wan.models import ImageResult
from langchain_wan.settings import WanSettings
from tests.support.fault_server import answer, refusal
from tests.support.images import data_uri, png

SERVICE = Endpoint("https://api.aisa.one/v1", SecretStr("sk-test"), None)
STEPS = int(os.environ.get("MACHINE_STEPS", "500"))
STEPS_OF_ONE_LIFE = 50
CAP = Decimal("0.45")
URL = "https://cdn.example.com/a.png"

ENDS: dict[str, Outcome] = {
    "base64": Reply(200, {}, answer(data_uri("red"))),
    "url": Reply(200, {}, answer(URL)),
    "two": Reply(200, {}, answer(data_uri("red"), data_uri("blue"))),
    "unreadable": Reply(200, {}, b"[]"),
    "timeout": Lost("wait", "it took too long"),
    "cut": Lost("read", "the connection broke", b"{"),
    "refused": Reply(400, {}, refusal("invalid_parameter_error")),
    "bad gateway": Reply(502, {}, b""),
    "not sent": NotSent("no connection could be made", transient=False),
}


class Lives(RuleBasedStateMachine):
    operations: Bundle[str] = Bundle("operations")
    under_way: Bundle[Any] = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.posts: Counter[str] = Counter()
        self.worked: Counter[str] = Counter()
        self.number = 0
        self.start()

    def start(self) -> None:
        forget_owners()
        self.store = WanStore(self.folder)
        self.budget = Budget(max_usd=CAP, name="all")
        self.settings = WanSettings(store=self.store, budget=self.budget)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def job(self, operation: str, n: int = 1) -> Job:
        request = ImageRequest(prompt=f"fox of {operation}", operation_id=operation, n=n)
        return Job(request, self.settings, SERVICE, Call(), lambda: 0.0)

    def perform(self, step: Step, job: Job, end: Outcome, downloads: bool) -> Any:
        match step:
            case Work(function):
                return function()
            case Send():
                self.posts[job.operation_id] += 1
                if not isinstance(end, NotSent) and not (isinstance(end, Reply) and end.status == 400):
                    self.worked[job.operation_id] += 1
                return end
            case SendAll():
                file: Outcome = Reply(200, {}, png("green")) if downloads else Lost("read", "the connection broke")
                return [step.each(place, file) for place in range(len(step.urls))]
            case Notify() | Sleep() | Acquire() | Release():
                return None

    def run(self, flow: Flow[ImageResult], job: Job, end: Outcome, downloads: bool, most: int = 99) -> None:
        """Carry out at most so many steps; the rest never happens, as after a kill."""
        try:
            step = next(flow)
            for _ in range(most):
                try:
                    outcome = self.perform(step, job, end, downloads)
                except errors.WanError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except (StopIteration, errors.WanError):
            return
        self.killed.append(flow)  # kept, so that it is not closed: a killed process closes nothing

    killed: list[Any] = []  # noqa: RUF012  of all lives, on purpose

    def made(self, operation: str, end: str, downloads: bool, n: int, most: int = 99) -> None:
        job = self.job(operation, n)
        # More images than were asked for are settled as they came, even above the cap; another test has that.
        outcome = ENDS["base64" if end == "two" and n == 1 else end]
        self.run(generation(job), job, outcome, downloads, most)

    @rule(target=operations, end=st.sampled_from(sorted(ENDS)), downloads=st.booleans(), n=st.integers(1, 3))
    def pay(self, end: str, downloads: bool, n: int) -> str:
        self.number += 1
        self.made(f"operation {self.number}", end, downloads, n)
        return f"operation {self.number}"

    @rule(operation=operations, end=st.sampled_from(sorted(ENDS)), downloads=st.booleans(), n=st.integers(1, 3))
    def replay(self, operation: str, end: str, downloads: bool, n: int) -> None:
        self.made(operation, end, downloads, n)

    @rule(target=operations, most=st.integers(0, 16), end=st.sampled_from(["base64", "url", "timeout"]))
    def crash(self, most: int, end: str) -> str:
        self.number += 1
        self.made(f"operation {self.number}", end, True, 1, most)
        self.start()  # another process: another owner, another connection
        return f"operation {self.number}"

    @rule()
    def restart(self) -> None:
        self.start()

    @rule(target=under_way, operation=operations, most=st.integers(1, 12))
    def begin(self, operation: str, most: int) -> Any:
        """Begin a call that is broken off later."""
        self.number += 1
        job = self.job(f"operation {self.number}")
        flow = generation(job)
        step = next(flow)
        for _ in range(most):
            if isinstance(step, Send):
                self.posts[job.operation_id] += 1
                self.worked[job.operation_id] += 1
                break
            try:
                step = flow.send(self.perform(step, job, ENDS["base64"], True))
            except (StopIteration, errors.WanError):
                break
        return flow

    @rule(flow=consumes(under_way))
    def cancel(self, flow: Any) -> None:
        flow.close()

    @rule(downloads=st.booleans())
    def resume(self, downloads: bool) -> None:
        for operation in self.store._storage.ledger.operations(states=("paid", "partial")):
            job = self.job(operation.id, operation.request["n"])
            self.run(resume_operation(job, operation), job, ENDS["timeout"], downloads)

    @rule(outcome=st.sampled_from(["charged", "not_charged"]))
    def resolve(self, outcome: Any) -> None:
        for entry in self.store.unfinished()[:1]:
            if outcome == "not_charged" and entry.state == "uncertain":
                self.posts[entry.operation_id] = 0  # a person looked: that request did no work
                self.worked[entry.operation_id] = 0
            self.store.resolve(entry.operation_id, outcome)

    @invariant()
    def no_operation_is_worked_on_twice(self) -> None:
        assert all(count <= 1 for count in self.worked.values())

    @invariant()
    def spent_and_held_stay_below_the_cap(self) -> None:
        assert self.budget.spent_usd + self.budget.held_usd <= CAP

    @invariant()
    def whatever_was_worked_on_is_stored_or_listed(self) -> None:
        states = {entry.operation_id: entry for entry in self.store.history(10_000)}
        for operation, count in self.worked.items():
            if count:
                entry = states[operation]
                assert entry.state in STATES.keys() - {"claimed", "refused"}
                assert entry.cost_usd > 0

    @invariant()
    def every_id_reads_back_to_its_digest(self) -> None:
        for entry in self.store.history(10_000):
            for name in entry.images:
                image = self.store.get(name)
                assert image is not None
                assert image.id == name
                assert image.read() in {png("red"), png("blue"), png("green")}


Lives.TestCase.settings = settings(
    max_examples=max(1, STEPS // STEPS_OF_ONE_LIFE),
    stateful_step_count=STEPS_OF_ONE_LIFE,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestLives = Lives.TestCase
