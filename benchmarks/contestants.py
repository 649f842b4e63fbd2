"""The packages that are compared: each makes one image with a call to the server of `server.py`.

Packages differ in how much they do in a call (download, verify, store); `Contestant.work` says it, and the page shows
it beside the figures. A package is imported only when it is measured: most are installed in their own virtual
environments.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Call = Callable[[], Any]
KEY = "sk-benchmark-0123456789"
TIMEOUT = 2.0  # seconds, for a server that does not answer
CHAT = {"model": "wan2.7-image", "n": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": "a fox"}]}]}


def raw_httpx(base: str, folder: str | None = None) -> Call:
    """Do by hand what a complete client must do: POST on a new connection, GET, verify, hash, write."""
    import httpx
    from PIL import Image

    tls = httpx.create_ssl_context()

    def call() -> None:
        with httpx.Client(verify=tls, trust_env=False, timeout=TIMEOUT) as client:
            answer = client.post(f"{base}/v1/chat/completions", json=CHAT, headers={"Authorization": f"Bearer {KEY}"})
            image = answer.json()["choices"][0]["message"]["content"][0]["image"]
        if image.startswith("data:"):
            data = base64.b64decode(image.partition(",")[2])
        else:
            with httpx.Client(verify=tls, trust_env=False, timeout=TIMEOUT) as client:
                data = client.get(image).content
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

    settings = {"base_url": f"{base}/v1", "api_key": KEY, "store": WanStore(folder), "timeout": TIMEOUT, **settings}
    if kind == "client":
        client = WanClient(**settings)
        return lambda: client.generate("a fox")
    if kind == "runnable":
        generator = WanImageGenerator(**settings)
        return lambda: generator.invoke("a fox")
    tool = WanImageTool(**settings)
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

    settings = {"model": "openai/dall-e-3", "api_base": f"{base}/v1", "api_key": KEY, "timeout": TIMEOUT, **settings}
    return lambda: litellm.image_generation(prompt="a fox", **settings)


def litellm_dashscope(base: str, **settings: Any) -> Call:
    """Make an image with litellm's dashscope route."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    url = f"{base}/api/v1/services/aigc/multimodal-generation/generation"
    settings = {"model": "dashscope/wan2.6-t2i", "api_base": url, "api_key": KEY, "timeout": TIMEOUT, **settings}
    return lambda: litellm.image_generation(prompt="a fox", **settings)


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


@dataclass(frozen=True)
class Contestant:
    """A way to make an image.

    Attributes:
        name: The name in the table.
        build: Returns the call; it takes the server's address and the options.
        work: What the call does, for the table.
        options: Options of `build`.
        venv: The virtual environment that it is installed in; "" for the one that runs the benchmark.
        package: The package whose version the table names.
    """

    name: str
    build: Callable[..., Call]
    work: str
    options: dict[str, Any] = field(default_factory=dict)
    venv: str = ""
    package: str = ""


RETURNS_ANSWER = "returns what the service answered"
FULL_WORK = "downloads, verifies, hashes and stores the image; ledger"
BASE64_ONLY = "decodes base64 to bytes; the answer is base64, because it accepts no URL"
WITH_KEY = f"{RETURNS_ANSWER}; sends an idempotency key to its service"
CONTESTANTS = [
    Contestant("raw httpx", raw_httpx, "downloads, verifies and hashes the image", package="httpx"),
    Contestant("langchain-wan client", ours, FULL_WORK, {"kind": "client"}, package="langchain-wan"),
    Contestant("langchain-wan runnable", ours, FULL_WORK, {"kind": "runnable"}, package="langchain-wan"),
    Contestant("langchain-wan tool", ours, FULL_WORK, {"kind": "tool"}, package="langchain-wan"),
    Contestant("openai images", openai_images, RETURNS_ANSWER, package="openai"),
    Contestant("openai chat", openai_chat, RETURNS_ANSWER, package="openai"),
    Contestant("langchain-openai", langchain_openai, RETURNS_ANSWER, package="langchain-openai"),
    Contestant(
        "langchain-community DALL-E tool",
        dalle_tool,
        RETURNS_ANSWER,
        venv="langchain-community",
        package="langchain-community",
    ),
    Contestant("litellm, openai route", litellm_openai, RETURNS_ANSWER, venv="litellm", package="litellm"),
    Contestant("litellm, dashscope route", litellm_dashscope, RETURNS_ANSWER, venv="litellm", package="litellm"),
    Contestant("dashscope", dashscope, RETURNS_ANSWER, venv="dashscope", package="dashscope"),
    Contestant("pydantic-ai", pydantic_ai, BASE64_ONLY, venv="pydantic-ai-slim", package="pydantic-ai-slim"),
    Contestant("langchain-tanvo", tanvo, WITH_KEY, venv="langchain-tanvo", package="langchain-tanvo"),
]
REQUIRES = {
    "langchain-community": ["langchain-community", "openai"],
    "litellm": ["litellm"],
    "dashscope": ["dashscope"],
    "pydantic-ai-slim": ["pydantic-ai-slim[openai]"],
    "langchain-tanvo": ["langchain-tanvo"],
}


def build_call(name: str, base: str, **more: Any) -> Call:
    """Return the call of a contestant."""
    contestant = next(contestant for contestant in CONTESTANTS if contestant.name == name)
    return contestant.build(base, **{**contestant.options, **more})


def make_folder() -> str:
    """Return a new folder."""
    return tempfile.mkdtemp(prefix="langchain-wan-bench-")
