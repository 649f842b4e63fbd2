"""The fields of an image request, checked by the documented rules."""

from __future__ import annotations

import io
import math
import re
from typing import Any

from langchain_wan.sandbox.answers import build_refusal, build_upstream_refusal


def read_prompt(messages: Any) -> tuple[str, list[str]]:
    """Return the prompt of the last user message and the URLs of its images."""
    messages = messages if isinstance(messages, list) else [None]
    if not all(isinstance(message, dict) and isinstance(message.get("content"), list) for message in messages):
        raise build_refusal("invalid_parameter_error", "Input should be a valid list: messages[*].content")
    contents = [message["content"] for message in messages if message.get("role") == "user"]
    texts, urls = [], []
    for part in contents[-1] if contents else []:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                urls.append(url)
            case _:
                raise build_refusal(
                    "invalid_parameter_error", "Input should be a text or image part: messages[*].content"
                )
    prompt = "\n".join(texts)[:5000]  # what is longer is cut silently upstream
    if not prompt.strip():
        raise build_refusal("missing_parameter", "A text part with the prompt is required: messages")
    if len(urls) > 9:
        raise build_upstream_refusal("The number of input images should be at most 9")
    return prompt, urls


def check_input_image(data: bytes) -> float:
    """Check an input image by the upstream's rules, and return its ratio of width to height, after its rotation."""
    from PIL import Image

    rules = "JPEG, PNG (not transparent), BMP or WEBP, 240 to 8000 pixels a side, 1:8 to 8:1, at most 20 MB"
    wrong = build_upstream_refusal(f"The input image should be {rules}")
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "BMP", "WEBP"]) as image:
            (width, height), turned = image.size, image.getexif().get(0x0112, 1) > 4
            alpha = image.format == "PNG" and (image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info)
    except Exception as error:  # decoders raise many kinds on broken input
        raise wrong from error
    small, large = sorted((width, height))
    if alpha or small < 240 or large > min(8000, 8 * small) or len(data) > 20 * 1024 * 1024:
        raise wrong
    return height / width if turned else width / height


def choose_size(size: Any, most: int, ratio: float) -> tuple[int, int]:
    """Return width and height; a tier keeps the ratio of the last image. The default is 1K; upstream it is 2K."""
    if exact := re.fullmatch(r"(\d{1,5})[*x](\d{1,5})", str(size)):
        width, height = int(exact[1]), int(exact[2])
        if not 768**2 <= width * height <= most**2 or max(width, height) > 8 * min(width, height):
            raise build_upstream_refusal(f"size should be 768*768 to {most}*{most} pixels, 1:8 to 8:1")
        return width, height
    side = {"None": 1024, "1K": 1024, "2K": 2048, "4K": 4096}.get(str(size), math.inf)
    if side > most:
        raise build_upstream_refusal("size should be 1K, 2K, W*H, or for wan2.7-image-pro without images 4K")
    width, height = (round(side * math.sqrt(ratio) ** sign / 8) * 8 for sign in (1, -1))
    return min(width, height * 8), min(height, width * 8)
