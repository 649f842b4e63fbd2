"""One measurement in a process of its own: `python measure.py KIND NAME PORT`, a JSON value on the last line."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from contestants import made, scratch

ROUNDS, CALLS, WARM = 5, 30, 10
SLOW = ("langchain-tanvo",)  # waits four seconds in each call before it looks whether the picture is there


def cpu(name: str, base: str) -> dict[str, Any]:
    """CPU of a call as a ratio to raw httpx, in blocks that take turns; and the same with everything on disk."""
    mode = "/m-small" if name == "pydantic-ai" else ""
    calls = {"raw": made("raw httpx", base), "it": made(name, base + mode)}
    if name.startswith("langchain-wan"):
        calls |= {"raw disk": made("raw httpx", base, folder=scratch()), "it disk": made(name, base, folder=scratch())}
    found: dict[str, list[float]] = {kind: [] for kind in calls}
    rounds, each, warm = (1, 3, 1) if name in SLOW else (ROUNDS, CALLS, WARM)
    for call in calls.values():
        for _ in range(warm):
            call()
    for _ in range(rounds):
        for kind, call in calls.items():
            for _ in range(each):
                began = time.process_time()
                call()
                found[kind].append(time.process_time() - began)
    medians = {kind: statistics.median(times) for kind, times in found.items()}
    ratios = {"memory": medians["it"] / medians["raw"], "ms": medians["it"] * 1000}
    if "it disk" in medians:
        ratios["disk"] = medians["it disk"] / medians["raw disk"]
    return ratios


def memory(name: str, base: str) -> dict[str, Any]:
    """Peak of memory over the start, as a ratio to the base64 in the answer: one picture of 20 MiB, and four."""
    found = {}
    for mode, count in (("large", 1), ("large4", 4)):
        more = {"folder": None} if name.startswith("langchain-wan") else {}
        made(name, base, **more)()  # whatever is loaded by the first call
        call = made(name, f"{base}/m-{mode}", **more)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _status("VmRSS")
        try:
            call()
        except Exception as error:  # noqa: BLE001  a contestant may not take base64
            found[mode] = type(error).__name__
            continue
        found[mode] = (_status("VmHWM") - before) / (20 * 2**20 * count)
    return found


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def failing(name: str, base: str) -> dict[str, Any]:
    """How often a call that fails is sent."""
    import urllib.request

    def posts() -> int:
        with urllib.request.urlopen(f"{base}/counts") as answer:  # noqa: S310  this machine
            return json.load(answer).get("POST", 0)

    found = {}
    for fault in ("fail-drop", "fail-silent", "fail-500", "fail-429"):
        posts()
        call = made(name, f"{base}/m-{fault}")
        began = time.monotonic()
        with contextlib.suppress(Exception):  # that it fails is the point
            call()
        found[fault] = posts()
        if time.monotonic() - began > 120:
            break
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kind, name, port = sys.argv[1:4]
    print(json.dumps({"cpu": cpu, "memory": memory, "failing": failing}[kind](name, f"http://127.0.0.1:{port}")))
