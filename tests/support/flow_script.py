"""Carries out a flow by hand: no network, no clock, no waiting."""

from __future__ import annotations

import json
from typing import Any

from pydantic import SecretStr

from langchain_wan import ImageRequest, ImageResult, WanStore, errors
from langchain_wan._call.flow import generation
from langchain_wan._call.job import Call, Job
from langchain_wan._call.steps import Acquire, Flow, Notify, Release, Send, SendAll, Sleep, Step, Work
from langchain_wan._net.endpoint import Endpoint
from langchain_wan._net.messages import Outcome, Reply
from langchain_wan.settings import WanSettings

SERVICE = Endpoint("https://api.aisa.one/v1", SecretStr("sk-test"), None)


def image_reply(*images: str, status: int = 200) -> Reply:
    choices = [{"message": {"content": [{"type": "image", "image": image}]}} for image in images]
    return Reply(status, {}, json.dumps({"choices": choices}).encode())


class Script:
    """Carries out a flow: requests are answered from a list, sleeping moves the clock."""

    def __init__(self, outcomes: list[Outcome], files: dict[str, list[Outcome]] | None = None) -> None:
        self.outcomes = outcomes
        self.files = files or {}
        self.now = 1000.0
        self.sent: list[dict[str, Any]] = []
        self.slept: list[float] = []
        self.stages: list[str] = []
        self.steps: list[str] = []

    def perform(self, step: Step) -> Any:
        self.steps.append(type(step).__name__)
        match step:
            case Work(function):
                return function()
            case Notify(event):
                self.stages.append(event["stage"])
            case Sleep(seconds):
                self.slept.append(seconds)
                self.now += seconds
            case Send(request, timeout):
                assert timeout == 330
                self.sent.append(json.loads(request.body))
                return self.outcomes.pop(0)
            case SendAll():
                return [step.each(place, self.files[url].pop(0)) for place, url in enumerate(step.urls)]
            case Acquire() | Release():
                pass
        return None

    def run(self, flow: Flow[ImageResult]) -> ImageResult:
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self.perform(step)
                except errors.WanError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as done:
            result: ImageResult = done.value
            return result

    def make(self, request: ImageRequest | None = None, call: Call | None = None, **settings: Any) -> ImageResult:
        made = WanSettings(**{"store": WanStore(), **settings})
        job = Job(request or ImageRequest(prompt="a fox"), made, SERVICE, call or Call(), lambda: self.now)
        return self.run(generation(job))
