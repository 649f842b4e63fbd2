"""Answers that are not as documented: spellings of an image, places where it stands, frames of the body."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "blanks": lambda text: f" \r\n\t{text}\u00a0\n",
    "invisible": lambda text: f"\ufeff{text}\u200b",
    "quotes": lambda text: f'"{text}"',
    "curly quotes": lambda text: f"“{text}”",
    "angle brackets": lambda text: f"<{text}>",
    "backticks": lambda text: f"`{text}`",
    "fence": lambda text: f"```text\n{text}\n```",
    "bold": lambda text: f"**{text}**",
    "brackets": lambda text: f"({text})",
    "full stop": lambda text: f"{text}.",
    "Markdown image": lambda text: f"![a fox]({text})",
    "Markdown image with title": lambda text: f'![a fox]({text} "A fox")',
    "Markdown link": lambda text: f"[Download]({text})",
    "HTML": lambda text: f'<img alt="a fox" src="{text}">',
    "Markdown in a sentence": lambda text: f"Done! ![a fox]({text}) Enjoy.",
    "paragraph": lambda text: f"Here is your image:\n\n{text}\n\nEnjoy!",
}


def message(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **fields}}]}


PLACES: dict[str, Callable[[str], Any]] = {
    "documented": lambda text: message(content=[{"type": "image", "image": text}]),
    "content": lambda text: message(content=text),
    "one part": lambda text: message(content={"type": "image", "image": text}),
    "text part": lambda text: message(content=[{"type": "text", "text": text}]),
    "images list": lambda text: message(content="", images=[{"type": "image_url", "image_url": {"url": text}}]),
    "images list of texts": lambda text: message(content=None, images=[text]),
    "beside the message": lambda text: {"choices": [{"message": {"content": ""}, "image_url": {"url": text}}]},
    "nested parts": lambda text: message(content=[{"type": "group", "parts": [{"image": {"data": {"url": text}}}]}]),
    "source of a block": lambda text: message(
        content=[{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": text}}]
    ),
    "call of a tool": lambda text: message(
        content=None, tool_calls=[{"function": {"name": "show_image", "arguments": json.dumps({"image": text})}}]
    ),
    "JSON in the content": lambda text: message(content=json.dumps({"images": [text]})),
    "data list with url": lambda text: {"data": [{"url": text}]},
    "data list with b64_json": lambda text: {"data": [{"b64_json": text, "revised_prompt": "a fox"}]},
    "Alibaba's own": lambda text: {"output": {"choices": [{"message": {"content": [{"image": text}]}}]}},
    "Alibaba's results": lambda text: {"output": {"task_status": "SUCCEEDED", "results": [{"url": text}]}},
    "Gemini's": lambda text: {"candidates": [{"content": {"parts": [{"inlineData": {"data": text}}]}}]},
    "Responses": lambda text: {"output": [{"type": "image_generation_call", "result": text}]},
    "a list": lambda text: [{"url": text}],
    "wrapper": lambda text: {"result": message(content=[{"image": text}])},
    "conversation": lambda text: {
        "messages": [{"role": "user", "content": "a fox"}, {"role": "assistant", "content": text}]
    },
}


def stream(*events: Any, end: bytes = b"data: [DONE]\n\n", line: bytes = b"\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + line * 2 for event in events) + end


FRAMES: dict[str, Callable[[Any], bytes]] = {
    "plain": lambda value: json.dumps(value).encode(),
    "byte order mark": lambda value: b"\xef\xbb\xbf" + json.dumps(value).encode(),
    "blanks": lambda value: b"\r\n \t" + json.dumps(value, indent=1).encode() + b"\n\n",
    "UTF-16": lambda value: json.dumps(value).encode("utf-16"),
    "twice": lambda value: json.dumps(value).encode() + b'\n{"usage": {}}',
    "before": lambda value: b'{"status": "processing"}\n' + json.dumps(value).encode(),
    "prefix": lambda value: b")]}',\n" + json.dumps(value).encode(),
    "junk behind": lambda value: json.dumps(value).encode() + b"\0\0 end",
    "gzip": lambda value: gzip.compress(json.dumps(value).encode()),
    "gzip twice": lambda value: gzip.compress(gzip.compress(json.dumps(value).encode())),
    "JSON in JSON": lambda value: json.dumps(json.dumps(value)).encode(),
    "stream": lambda value: stream(value),
    "stream with names": lambda value: b": hello\r\nevent: message\r\nid: 1\r\n" + stream(value, line=b"\r\n"),
    "stream without an end": lambda value: b"data:" + json.dumps(value).encode(),
    "stream in lines": lambda value: (
        b"".join(b"data: " + line + b"\n" for line in json.dumps(value, indent=1).encode().split(b"\n")) + b"\n"
    ),
    "stream that repeats itself": lambda value: stream(value, value),
}
