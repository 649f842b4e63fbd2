"""The page `docs/benchmarks.md` and its plots, from the figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FAULTS = ("fail-drop", "fail-silent", "fail-500", "fail-429")


def write_page(figures: dict[str, Any], docs: Path) -> None:
    """Write the page and draw its plots."""
    draw_plots(figures, docs / "images")
    (docs / "benchmarks.md").write_text(build_page(figures), encoding="utf-8")


def build_page(figures: dict[str, Any]) -> str:
    """Return the text of the page."""
    peers, machine = figures["peers"], figures["machine"]
    concurrent, stall, tokens, growth = (figures[kind] for kind in ("concurrent", "stall", "tokens", "growth"))
    most = growth[max(growth, key=int)]
    least = growth[min(growth, key=int)]
    rows = [
        f"| {name} {peer['version']} | {peer['does']} | {_cpu(peer)} | {_memory(peer)} | {_posts(peer)} |"
        for name, peer in peers.items()
    ]
    grown = [f"| {kind} | {least[kind]} | {most[kind]} |" for kind in least]
    return f"""# Benchmarks

What this package costs in addition to the service, compared with other packages. `make bench` repeats the measurement. A server
on the same machine answers in the formats of AIsa and of the other services. Each package runs in its own process, and the packages
take turns. Figures are medians. Times are ratios within one run, because machines differ.

Measured with Python {machine["python"]} on {machine["system"]} {machine["processor"]}, langchain-core {machine["langchain-core"]}.

## One image

**CPU** of a call that is answered with the URL of a 1024 x 1024 image, as a ratio to raw httpx that does the same work by hand:
POST on a new connection, GET, verify, hash and, for the second figure, write. Most other packages return the URL and do none of
the rest. Those below 1 also keep their connection open between calls.

**Memory** is the peak above the start, as a ratio to 20 MiB of base64 in an answer, once and four times.

**POSTs** are counted at the server for a dropped connection, a timeout, HTTP 500 and HTTP 429, with the defaults of each package.

| | what it does in the call | CPU (memory / disk) | memory, 1 x / 4 x | POSTs when it fails |
|---|---|---|---|---|
{chr(10).join(rows)}

![CPU of one call as a ratio to raw httpx](images/bench-cpu.png)

A second POST after a dropped connection or a timeout may be a second image on the bill. This package retries only the 429, which
was certainly not processed. With LangChain\'s `ToolRetryMiddleware` around the tool, a dropped or timed-out call is still one
POST; a test checks it.

![POSTs for a call that fails](images/bench-posts.png)

## Concurrency

Time for 1,000 calls of one second each, 100 at a time, on one event loop, and for 32 blocking calls in `batch`, as a ratio to the
ideal (10 s and 1 s). A store on disk flushes each answer and image before it continues.

| | memory | disk |
|---|---|---|
| 1,000 async | {_number(concurrent, "async, memory")} | {_number(concurrent, "async, disk")} |
| 32 blocking | {_number(concurrent, "blocking, memory")} | {_number(concurrent, "blocking, disk")} |

## Blocking of the event loop

The longest time during which no other task could run, with a store on disk.

| during | ms |
|---|---|
{chr(10).join(f"| {name} | {value:.1f} |" for name, value in stall.items())}

## Import time and tokens

`from langchain_wan import WanImageTool` takes {figures["import"]["ratio"]:.2f} times as long as importing LangChain's `BaseTool`
alone, and loads none of httpx, Pillow or Starlette.

| tokens, as LangChain counts them | |
|---|---|
{chr(10).join(f"| {name} | {value:g} |" for name, value in tokens.items())}

After ten turns of a conversation with one image of 20 MB, a checkpoint is less than 25 kB larger than with a tool that answers
"ok", and the trace of a turn is smaller than 10 kB; tests check both.

## Growth

Steps of the database, which do not depend on the speed of the machine:

| | {min(growth, key=int)} operations | {int(max(growth, key=int)):,} operations |
|---|---|---|
{chr(10).join(grown)}

Over 10,000 calls, memory grew by {figures["flat"]["disk"]:.0f} bytes a call with a store on disk, and by {figures["flat"]["memory"]:.0f} with
an in-memory store, which also keeps its ledger in memory.
"""


def _cpu(peer: dict[str, Any]) -> str:
    cpu = peer["cpu"]
    if not isinstance(cpu, dict):
        return str(cpu)
    return " / ".join(f"{cpu[kind]:.2f}" for kind in ("memory", "disk") if kind in cpu)


def _memory(peer: dict[str, Any]) -> str:
    memory = peer["memory"]
    if not isinstance(memory, dict):
        return str(memory)
    return " / ".join(f"{value:.1f}" if isinstance(value, float) else str(value) for value in memory.values())


def _posts(peer: dict[str, Any]) -> str:
    counts = peer["failing"]
    return " / ".join(str(counts.get(fault, "-")) for fault in FAULTS) if isinstance(counts, dict) else str(counts)


def _number(figures: Any, name: str) -> str:
    return f"{figures[name]:.2f}" if isinstance(figures, dict) else str(figures)


# Background, text and other bars: those of the site in its light and its dark scheme.
LIGHT, DARK = ("#ffffff", "#1f1f1f", "#8d99ae"), ("#1e2129", "#d5d8e2", "#66718a")


def draw_plots(figures: dict[str, Any], folder: Path) -> None:
    """Draw the two plots, each for the light and for the dark scheme of the site."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    for ending, (back, ink, bars) in (("", LIGHT), ("-dark", DARK)):
        inks = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
        with plt.rc_context({**dict.fromkeys(inks, ink), **dict.fromkeys(grounds, back)}):
            _draw_cpu(figures["peers"], bars).savefig(folder / f"bench-cpu{ending}.png", dpi=110)
            _draw_posts(figures["peers"], bars).savefig(folder / f"bench-posts{ending}.png", dpi=110)
        plt.close("all")


def _draw_cpu(measured: dict[str, Any], colour: str) -> Any:
    import matplotlib.pyplot as plt

    peers = {name: peer for name, peer in measured.items() if isinstance(peer["cpu"], dict)}
    names = sorted(peers, key=lambda name: peers[name]["cpu"]["memory"], reverse=True)
    colours = ["#d1495b" if name.startswith("langchain-wan") else colour for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.4 * len(names) + 1.2), layout="constrained")
    bars = axes.barh(names, [peers[name]["cpu"]["memory"] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(1, color=plt.rcParams["text.color"], linewidth=0.8, linestyle=":")
    axes.set_title("CPU of one call; raw httpx that does all of the work = 1")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_posts(measured: dict[str, Any], colour: str) -> Any:
    import matplotlib.pyplot as plt

    failing = {name: peer["failing"] for name, peer in measured.items() if isinstance(peer["failing"], dict)}
    figure, axes = plt.subplots(figsize=(8, 0.4 * len(failing) + 1.6), layout="constrained")
    labels = ("dropped", "timed out", "500", "429")
    left = [0] * len(failing)
    for fault, label, fill in zip(FAULTS, labels, ("#d1495b", "#edae49", "#66a182", colour), strict=True):
        counts = [posts.get(fault, 0) for posts in failing.values()]
        bars = axes.barh(list(failing), counts, left=left, label=label, color=fill)
        axes.bar_label(bars, label_type="center", color="#1f1f1f")
        left = [sum(pair) for pair in zip(left, counts, strict=True)]
    axes.set_title("POSTs for one failing call")
    axes.legend(loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
