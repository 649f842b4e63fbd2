"""What each contestant does for one image: a function that makes a call against the server of `server.py`.

Each does what it does by itself: what of the work that is (fetching the picture, checking it, storing it) stands in
`DOES`, and is told beside the figures. Nothing is imported before a contestant is chosen: most live in virtual
environments of their own.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[[], Any]
KEY = "sk-benchmark-0123456789"
TIMEOUT = 2.0  # seconds, where a server says nothing
CHAT = {"model": "wan2.7-image", "n": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": "a fox"}]}]}


def raw_httpx(base: str, folder: str | None = None) -> Call:
    """Do by hand what an honest client has to: POST on a fresh connection, GET, verify, hash, write."""
    import httpx
    from PIL import Image

    tls = httpx.create_ssl_context()

    def call() -> None:
        with httpx.Client(verify=tls, trust_env=False, timeout=TIMEOUT) as client:
            answer = client.post(f"{base}/v1/chat/completions", json=CHAT, headers={"Authorization": f"Bearer {KEY}"})
            shown = answer.json()["choices"][0]["message"]["content"][0]["image"]
        if shown.startswith("data:"):
            data = base64.b64decode(shown.partition(",")[2])
        else:
            with httpx.Client(verify=tls, trust_env=False, timeout=TIMEOUT) as client:
                data = client.get(shown).content
        Image.open(io.BytesIO(data)).verify()
        digest = hashlib.sha256(data).hexdigest()
        if folder is not None:
            with Path(folder, digest).open("wb") as file:
                file.write(data)
                os.fsync(file.fileno())

    return call


def ours(base: str, kind: str, folder: str | None = None, **settings: Any) -> Call:
    """Make an image with this package's client, runnable or tool."""
    from langchain_wan import WanClient, WanImageGenerator, WanImageTool, WanStore

    given = {"base_url": f"{base}/v1", "api_key": KEY, "store": WanStore(folder), "timeout": TIMEOUT, **settings}
    if kind == "client":
        client = WanClient(**given)
        return lambda: client.generate("a fox")
    if kind == "runnable":
        generator = WanImageGenerator(**given)
        return lambda: generator.invoke("a fox")
    tool = WanImageTool(**given)
    return lambda: tool.invoke({"type": "tool_call", "id": "1", "name": "wan_image", "args": {"prompt": "a fox"}})


def openai_images(base: str, **settings: Any) -> Call:
    """Make an image with OpenAI's client."""
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=f"{base}/v1", timeout=TIMEOUT, **settings)
    return lambda: client.images.generate(model="dall-e-3", prompt="a fox")


def openai_chat(base: str, **settings: Any) -> Call:
    """Send AIsa's request with OpenAI's client."""
    import openai

    client = openai.OpenAI(api_key=KEY, base_url=f"{base}/v1", timeout=TIMEOUT, **settings)
    messages: Any = CHAT["messages"]
    return lambda: client.chat.completions.create(model="wan2.7-image", messages=messages, n=1)


def langchain_openai(base: str, **settings: Any) -> Call:
    """Send AIsa's request with LangChain's chat model."""
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="wan2.7-image", api_key=KEY, base_url=f"{base}/v1", timeout=TIMEOUT, **settings)
    return lambda: model.invoke("a fox")


def dalle_tool(base: str, **settings: Any) -> Call:
    """Make an image with langchain-community's DALL-E tool."""
    import warnings

    warnings.simplefilter("ignore")
    from langchain_community.tools.openai_dalle_image_generation import OpenAIDALLEImageGenerationTool
    from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

    wrapper = DallEAPIWrapper(api_key=KEY, base_url=f"{base}/v1", model="dall-e-3", timeout=TIMEOUT, **settings)
    tool = OpenAIDALLEImageGenerationTool(api_wrapper=wrapper)
    return lambda: tool.invoke({"type": "tool_call", "id": "1", "name": tool.name, "args": {"query": "a fox"}})


def litellm_openai(base: str, **settings: Any) -> Call:
    """Make an image with litellm's openai route."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    given = {"model": "openai/dall-e-3", "api_base": f"{base}/v1", "api_key": KEY, "timeout": TIMEOUT, **settings}
    return lambda: litellm.image_generation(prompt="a fox", **given)


def litellm_dashscope(base: str, **settings: Any) -> Call:
    """Make an image with litellm's dashscope route."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    url = f"{base}/api/v1/services/aigc/multimodal-generation/generation"
    given = {"model": "dashscope/wan2.6-t2i", "api_base": url, "api_key": KEY, "timeout": TIMEOUT, **settings}
    return lambda: litellm.image_generation(prompt="a fox", **given)


def dashscope(base: str, **settings: Any) -> Call:
    """Make an image with Alibaba's own client, version 2."""
    import dashscope as sdk

    client = sdk.Client(api_key=KEY, base_url=f"{base}/api/v1", timeout=TIMEOUT, **settings)
    return lambda: client.images.generate(model="wan2.6-t2i", prompt="a fox")


def pydantic_ai(base: str, **settings: Any) -> Call:
    """Make an image with pydantic-ai."""
    import asyncio

    import httpx
    from pydantic_ai.images import ImageGenerator
    from pydantic_ai.images.openai import OpenAIImageGenerationModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = httpx.AsyncClient(timeout=TIMEOUT)
    provider = OpenAIProvider(base_url=f"{base}/v1", api_key=KEY, http_client=client)
    generator = ImageGenerator(OpenAIImageGenerationModel("gpt-image-2", provider=provider), **settings)
    loop = asyncio.new_event_loop()
    return lambda: loop.run_until_complete(generator.generate("a fox"))


def tanvo(base: str, **settings: Any) -> Call:
    """Make an image with langchain-tanvo."""
    import tanvo as sdk
    from langchain_tanvo import TanvoImageGeneration

    tool = TanvoImageGeneration(client=sdk.Client(KEY, base_url=base, timeout=TIMEOUT), **settings)
    return lambda: tool.invoke({"prompt": "a fox"})


SMALL_BASE64 = "decodes base64 to bytes; the answer is base64, because it accepts no URL"
NOTHING_MORE = "returns what the service answered"
ALL = "downloads, verifies, hashes and stores the image; ledger"
# Name, function, its options, the folder of its virtual environment ("" is the one that runs this), what it does.
CONTESTANTS: list[tuple[str, Call | Any, dict[str, Any], str, str]] = [
    ("raw httpx", raw_httpx, {}, "", "downloads, verifies and hashes the image"),
    ("langchain-wan client", ours, {"kind": "client"}, "", ALL),
    ("langchain-wan runnable", ours, {"kind": "runnable"}, "", ALL),
    ("langchain-wan tool", ours, {"kind": "tool"}, "", ALL),
    ("openai images", openai_images, {}, "", NOTHING_MORE),
    ("openai chat", openai_chat, {}, "", NOTHING_MORE),
    ("langchain-openai", langchain_openai, {}, "", NOTHING_MORE),
    ("langchain-community DALL-E tool", dalle_tool, {}, "langchain-community", NOTHING_MORE),
    ("litellm, openai route", litellm_openai, {}, "litellm", NOTHING_MORE),
    ("litellm, dashscope route", litellm_dashscope, {}, "litellm", NOTHING_MORE),
    ("dashscope", dashscope, {}, "dashscope", NOTHING_MORE),
    ("pydantic-ai", pydantic_ai, {}, "pydantic-ai-slim", SMALL_BASE64),
    (
        "langchain-tanvo",
        tanvo,
        {},
        "langchain-tanvo",
        f"{NOTHING_MORE}; sends an idempotency key to its service",
    ),
]
REQUIRES = {
    "langchain-community": ["langchain-community", "openai"],
    "litellm": ["litellm"],
    "dashscope": ["dashscope"],
    "pydantic-ai-slim": ["pydantic-ai-slim[openai]"],
    "langchain-tanvo": ["langchain-tanvo"],
}


def made(name: str, base: str, **more: Any) -> Call:
    """Return the call of a contestant."""
    function, options = next((one[1], one[2]) for one in CONTESTANTS if one[0] == name)
    return function(base, **{**options, **more})


def scratch() -> str:
    """Return a new folder."""
    return tempfile.mkdtemp(prefix="langchain-wan-bench-")
