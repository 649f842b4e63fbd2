"""The page `docs/benchmarks.md` and its plots, from the figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FAULTS = ("fail-drop", "fail-silent", "fail-500", "fail-429")


def write_page(figures: dict[str, Any], docs: Path) -> None:
    """Write the page and draw its plots."""
    plot(figures, docs / "images")
    (docs / "benchmarks.md").write_text(page(figures), encoding="utf-8")


def page(figures: dict[str, Any]) -> str:
    """Return the page."""
    peers, machine = figures["peers"], figures["machine"]
    concurrent, stall, tokens, growth = (figures[kind] for kind in ("concurrent", "stall", "tokens", "growth"))
    most = growth[max(growth, key=int)]
    least = growth[min(growth, key=int)]
    rows = [
        f"| {name} {one['version']} | {one['does']} | {_cpu(one)} | {_memory(one)} | {_posts(one)} |"
        for name, one in peers.items()
    ]
    grown = [f"| {kind} | {least[kind]} | {most[kind]} |" for kind in least]
    return f"""# Benchmarks

What this package costs on top of the service, side by side with what people use today. `make bench` measures it again: a
server on the same machine answers in the shapes of AIsa and of the others, each contestant in a process of its own, in
rounds that take turns. Figures are medians; times are ratios within one run, since machines differ.

Measured with Python {machine["python"]} on {machine["system"]} {machine["processor"]}, langchain-core {machine["langchain-core"]}.

## One image

CPU of a call that is answered with the URL of a picture of 1024 x 1024 pixels, as a ratio to raw httpx doing by hand what an
honest client has to: POST on a fresh connection, GET, verify, hash (and write, for the second figure). Most others hand on
the URL and do none of the rest; what is below 1 also keeps its connection open between calls. Memory is the peak over the start, as a ratio to 20 MiB of base64 in an answer, once and four
times. POSTs are counted at the server for a dropped connection, a timeout, HTTP 500 and HTTP 429, at each one's defaults.

| | what it does in the call | CPU (memory / disk) | memory, 1 x / 4 x | POSTs when it fails |
|---|---|---|---|---|
{chr(10).join(rows)}

![CPU of one call as a ratio to raw httpx](images/bench-cpu.png)

A second POST after a dropped connection or a timeout may be a second picture on the bill. Here only a 429 is sent again,
since it certainly did no work. With LangChain\'s `ToolRetryMiddleware` around the tool a dropped or timed-out call is still one
POST; the tests count it.

![POSTs for a call that fails](images/bench-posts.png)

## Many images at once

Time for 1,000 calls of a second each, 100 at a time, on one event loop, and for 32 blocking ones in `batch`, as a ratio to the
ideal (10 s and 1 s). A store on disk flushes each answer and picture before it goes on.

| | memory | disk |
|---|---|---|
| 1,000 async | {_number(concurrent, "async, memory")} | {_number(concurrent, "async, disk")} |
| 32 blocking | {_number(concurrent, "blocking, memory")} | {_number(concurrent, "blocking, disk")} |

## The event loop

The longest time that nothing else could run, with a store on disk.

| during | ms |
|---|---|
{chr(10).join(f"| {name} | {value:.1f} |" for name, value in stall.items())}

## Imports, tokens

`from langchain_wan import WanImageTool` takes {figures["import"]["ratio"]:.2f} times as long as importing LangChain's `BaseTool`
alone, and loads none of httpx, Pillow or Starlette.

| tokens, as LangChain counts them | |
|---|---|
{chr(10).join(f"| {name} | {value:g} |" for name, value in tokens.items())}

After ten turns of a conversation with one picture of 20 MB, a checkpoint is less than 25 kB larger than with a tool that
answers "ok", and the trace of a turn less than 10 kB; the tests assert it.

## Growth

Steps of the database, which are the same however fast the machine is:

| | {min(growth, key=int)} operations | {int(max(growth, key=int)):,} operations |
|---|---|---|
{chr(10).join(grown)}

Over 10,000 calls memory grew by {figures["flat"]["disk"]:.0f} bytes a call with a store on disk, and by {figures["flat"]["memory"]:.0f} with
one in memory, which keeps the ledger there.
"""


def _cpu(one: dict[str, Any]) -> str:
    found = one["cpu"]
    if not isinstance(found, dict):
        return str(found)
    return " / ".join(f"{found[kind]:.2f}" for kind in ("memory", "disk") if kind in found)


def _memory(one: dict[str, Any]) -> str:
    found = one["memory"]
    if not isinstance(found, dict):
        return str(found)
    return " / ".join(f"{value:.1f}" if isinstance(value, float) else str(value) for value in found.values())


def _posts(one: dict[str, Any]) -> str:
    found = one["failing"]
    return " / ".join(str(found.get(fault, "-")) for fault in FAULTS) if isinstance(found, dict) else str(found)


def _number(found: Any, name: str) -> str:
    return f"{found[name]:.2f}" if isinstance(found, dict) else str(found)


def plot(figures: dict[str, Any], folder: Path) -> None:
    """Draw the two plots; on white, so that they can be read on any page."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    peers = {name: one for name, one in figures["peers"].items() if isinstance(one["cpu"], dict)}
    names = sorted(peers, key=lambda name: peers[name]["cpu"]["memory"], reverse=True)
    colours = ["#d1495b" if name.startswith("langchain-wan") else "#8d99ae" for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.4 * len(names) + 1.2), layout="constrained")
    bars = axes.barh(names, [peers[name]["cpu"]["memory"] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(1, color="#555", linewidth=0.8, linestyle=":")
    axes.set_title("CPU of one call, raw httpx doing all of the work = 1")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "bench-cpu.png", dpi=110)
    failing = {name: one["failing"] for name, one in figures["peers"].items() if isinstance(one["failing"], dict)}
    figure, axes = plt.subplots(figsize=(8, 0.4 * len(failing) + 1.6), layout="constrained")
    labels = ("dropped", "timed out", "500", "429")
    left = [0] * len(failing)
    for fault, label, colour in zip(FAULTS, labels, ("#d1495b", "#edae49", "#66a182", "#8d99ae"), strict=True):
        counts = [found.get(fault, 0) for found in failing.values()]
        bars = axes.barh(list(failing), counts, left=left, label=label, color=colour)
        axes.bar_label(bars, label_type="center")
        left = [sum(pair) for pair in zip(left, counts, strict=True)]
    axes.set_title("POSTs for one call that fails")
    axes.legend(loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "bench-posts.png", dpi=110)
    plt.close("all")
