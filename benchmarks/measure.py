"""One measurement in its own process: `python measure.py KIND NAME PORT` prints a JSON value on its last line."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from contestants import build_call, make_folder

ROUNDS, CALLS, WARM = 5, 30, 10
SLOW = ("langchain-tanvo",)  # waits four seconds in each call before it polls for the image


def cpu(name: str, base: str) -> dict[str, Any]:
    """Return the CPU of a call as a ratio to raw httpx, in blocks that take turns; also with a store on disk."""
    mode = "/m-small" if name == "pydantic-ai" else ""
    calls = {"raw": build_call("raw httpx", base), "it": build_call(name, base + mode)}
    if name.startswith("langchain-wan"):
        calls["raw disk"] = build_call("raw httpx", base, folder=make_folder())
        calls["it disk"] = build_call(name, base, folder=make_folder())
    durations: dict[str, list[float]] = {kind: [] for kind in calls}
    rounds, each, warm = (1, 3, 1) if name in SLOW else (ROUNDS, CALLS, WARM)
    for call in calls.values():
        for _ in range(warm):
            call()
    for _ in range(rounds):
        for kind, call in calls.items():
            for _ in range(each):
                began = time.process_time()
                call()
                durations[kind].append(time.process_time() - began)
    medians = {kind: statistics.median(times) for kind, times in durations.items()}
    ratios = {"memory": medians["it"] / medians["raw"], "ms": medians["it"] * 1000}
    if "it disk" in medians:
        ratios["disk"] = medians["it disk"] / medians["raw disk"]
    return ratios


def memory(name: str, base: str) -> dict[str, Any]:
    """Return the peak of memory as a ratio to the base64 in the answer: one image of 20 MiB, and four."""
    ratios: dict[str, Any] = {}
    for mode, count in (("large", 1), ("large4", 4)):
        more = {"folder": None} if name.startswith("langchain-wan") else {}
        build_call(name, base, **more)()  # the first call imports and caches
        call = build_call(name, f"{base}/m-{mode}", **more)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = _status("VmRSS")
        try:
            call()
        except Exception as error:  # noqa: BLE001  a contestant may not take base64
            ratios[mode] = type(error).__name__
            continue
        ratios[mode] = (_status("VmHWM") - before) / (20 * 2**20 * count)
    return ratios


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def failing(name: str, base: str) -> dict[str, Any]:
    """Return how often a failing call is sent, for each fault."""
    import urllib.request

    def count_posts() -> int:
        with urllib.request.urlopen(f"{base}/counts") as answer:  # noqa: S310  this machine
            return json.load(answer).get("POST", 0)

    counts = {}
    for fault in ("fail-drop", "fail-silent", "fail-500", "fail-429"):
        count_posts()  # resets the count
        call = build_call(name, f"{base}/m-{fault}")
        began = time.monotonic()
        with contextlib.suppress(Exception):  # that it fails is the point
            call()
        counts[fault] = count_posts()
        if time.monotonic() - began > 120:
            break
    return counts


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kind, name, port = sys.argv[1:4]
    print(json.dumps({"cpu": cpu, "memory": memory, "failing": failing}[kind](name, f"http://127.0.0.1:{port}")))
