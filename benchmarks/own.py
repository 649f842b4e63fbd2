"""Measurements of this package alone: concurrency, the event loop, imports, tokens, growth.

`python own.py KIND PORT [small]` prints a JSON value on its last line.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from decimal import Decimal
from typing import Any

from contestants import KEY, make_folder

PLAIN = "from langchain_core.tools import BaseTool"
OURS = "from langchain_wan import WanImageTool"
HEAVY = ("httpx", "PIL", "starlette", "langgraph", "langchain_openai")


def settings(base: str, store: str | None = None, **more: Any) -> dict[str, Any]:
    """Return the settings that reach the server; `store` is a folder, or None for an in-memory store."""
    from langchain_wan import WanStore

    return {"base_url": f"{base}/v1", "api_key": KEY, "store": WanStore(store), **more}


def concurrent(base: str, *, small: bool) -> dict[str, float]:
    """Return the time of 1,000 async calls, 100 at a time, and of 32 blocking calls, as ratios to the ideal."""
    from langchain_wan import WanImageGenerator

    calls, at_once = (40, 20) if small else (1000, 100)
    ratios = {}
    for kind in ("memory", "disk"):
        folder = None if kind == "memory" else make_folder()
        images = WanImageGenerator(**settings(f"{base}/m-wait-1.0", folder, max_concurrency=at_once))
        began = time.perf_counter()
        asyncio.run(images.abatch([f"fox {number}" for number in range(calls)]))
        ratios[f"async, {kind}"] = (time.perf_counter() - began) / (calls / at_once)
        blocking = WanImageGenerator(**settings(f"{base}/m-wait-1.0", folder, max_concurrency=32))
        began = time.perf_counter()
        blocking.batch([f"hare {number}" for number in range(32)])
        ratios[f"blocking, {kind}"] = time.perf_counter() - began
    return ratios


def stall(base: str, *, small: bool) -> dict[str, float]:
    """Return the longest time, in milliseconds, during which the event loop was blocked."""
    from PIL import Image

    from langchain_wan import ImageRequest, WanClient

    out = io.BytesIO()
    Image.effect_noise((4000, 3000), 50).convert("RGB").save(out, "JPEG", quality=90)
    access = settings(base, make_folder())
    large = {**access, "base_url": f"{base}/m-large/v1"}

    async def main() -> dict[str, float]:
        await WanClient(**access).agenerate("a fox")
        cases = {
            "an image of 1 MB": lambda: WanClient(**access).agenerate("a fox"),
            "an answer of 20 MiB": lambda: WanClient(**large).agenerate("a fox"),
            "an input image of 12 megapixels": lambda: WanClient(**access).agenerate(
                ImageRequest(prompt="a fox", images=(out.getvalue(),))
            ),
            "a write of 7 MB to disk": lambda: access["store"].aadd(out.getvalue() + os.urandom(0)),
        }
        rounds = 1 if small else 5
        return {name: statistics.median([await measure(make) for _ in range(rounds)]) for name, make in cases.items()}

    async def measure(make: Any) -> float:
        worst, done = 0.0, False

        async def watch() -> None:
            nonlocal worst
            before = time.perf_counter()
            while not done:
                await asyncio.sleep(0)
                now = time.perf_counter()
                worst, before = max(worst, now - before), now

        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0.02)
        worst = 0.0
        await make()
        done = True
        await watcher
        return worst * 1000

    return asyncio.run(main())


def imported(_: str, *, small: bool) -> dict[str, Any]:
    """Return the time to import the tool, as a ratio to `BaseTool` alone, and the heavy modules that it loads."""
    # An installed package has its bytecode; a development machine may forbid to write it.
    with_bytecode = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def measure(statement: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, env=with_bytecode)
        return time.perf_counter() - began

    measure(OURS)  # writes the bytecode
    times = [[measure(statement) for statement in ("pass", PLAIN, OURS)] for _ in range(1 if small else 9)]
    nothing, plain, ours = (statistics.median(column) for column in zip(*times, strict=True))
    loaded = f"import sys; {OURS}; print([name for name in {HEAVY} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", loaded], check=True, capture_output=True, text=True).stdout
    return {"ratio": (ours - nothing) / (plain - nothing), "heavy modules": output.strip()}


def tokens(base: str, *, small: bool) -> dict[str, Any]:  # noqa: ARG001  nothing to make smaller
    """Return the tokens of the schema and of an answer, as LangChain counts them."""
    from langchain_core.messages import ToolMessage
    from langchain_core.messages.utils import count_tokens_approximately
    from langchain_core.utils.function_calling import convert_to_openai_tool

    from langchain_wan import WanImageTool

    tool = WanImageTool(**settings(base), return_to_model="id")
    schema = convert_to_openai_tool(tool)["function"]

    def count(text: str) -> int:
        return count_tokens_approximately([ToolMessage(text, tool_call_id="1")])

    def answer(n: int) -> int:
        mode = settings(f"{base}/m-url4" if n == 4 else base)
        other = WanImageTool(**mode, return_to_model="id")
        call = {"type": "tool_call", "id": "1", "name": "wan_image", "args": {"prompt": "a fox", "n": n}}
        return count_tokens_approximately([other.invoke(call)])

    return {
        "parameters": count(json.dumps(schema["parameters"])),
        "name and description": count(schema["name"] + schema["description"]),
        "answer, one image": answer(1),
        "answer, four images, each": answer(4) / 4,
    }


def growth(_: str, *, small: bool) -> dict[str, Any]:
    """Return the query steps of the ledger with few and with many operations."""
    from langchain_wan import WanStore
    from langchain_wan._storage.money import to_nano
    from langchain_wan._storage.operations import Claim, Limit

    service, limit = "https://api.example", Limit("team", max_nano=to_nano(Decimal(10**6)))
    store = WanStore(make_folder())
    ledger = store._storage.ledger

    def claim(name: str) -> Claim:
        request = {"model": "wan2.7-image", "prompt": name, "n": 1, "parents": [], "metadata": {}}
        return Claim(service=service, id=name, scope="s", fingerprint=name, max_nano=30, request=request, limit=limit)

    def steps(work: Any) -> int:
        counted = 0

        def step() -> int:
            nonlocal counted
            counted += 1
            return 0

        # Writes and reads have a connection each.
        with ledger._database.transaction() as writer, ledger._database.read() as reader:
            pass
        for connection in (writer, reader):
            connection.set_progress_handler(step, 1)
        work()
        for connection in (writer, reader):
            connection.set_progress_handler(None, 1)
        return counted

    figures: dict[str, Any] = {}
    count = 0
    for target in (100, 300) if small else (100, 1000, 10_000, 100_000):
        with ledger._database.transaction() as connection:
            pass
        connection.execute("PRAGMA synchronous=OFF")  # filling it is not measured
        while count < target:
            name = f"operation {count}"
            ledger.claim(claim(name))
            image = {"images": [{"id": f"img_{count:013d}"}]}
            ledger.transition(service, name, "done", cost_nano=30, images=1, result=image)
            ledger.mark_idle(service, name)
            count += 1
        figures[str(target)] = {
            "claim": steps(lambda: ledger.claim(claim(f"new {target}"))),  # noqa: B023  called at once
            "replay": steps(lambda: ledger.operation(service, "operation 5")),
            "get": steps(lambda: store.get("img_0000000000005")),
            "history": steps(lambda: store.history(20)),
            "unfinished": steps(store.unfinished),
        }
    return figures


def flat(base: str, *, small: bool) -> dict[str, Any]:
    """Return by how many bytes a call memory grows over many calls: with a store on disk, and in memory."""
    from langchain_wan import WanClient

    grown = {}
    calls = 200 if small else 10_000
    for kind, folder in (("disk", make_folder()), ("memory", None)):
        client = WanClient(**settings(base, folder, max_concurrency=50))
        for _ in range(100):
            client.generate("a fox")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(calls):
            client.generate("a fox")
        grown[kind] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / calls
    return grown


KINDS = {
    "concurrent": concurrent,
    "stall": stall,
    "import": imported,
    "tokens": tokens,
    "growth": growth,
    "flat": flat,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kind, port = sys.argv[1:3]
    print(json.dumps(KINDS[kind](f"http://127.0.0.1:{port}", small="small" in sys.argv)))
