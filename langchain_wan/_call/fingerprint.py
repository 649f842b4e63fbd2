"""A digest that identical requests have in common."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from langchain_wan._call.names import UPLOAD, ImageNames
from langchain_wan.errors import ImageReferenceError
from langchain_wan.requests import ImageRequest, InlineImage, describe_source, is_pil_image

PARAMETERS = {"size", "seed", "watermark", "thinking_mode", "negative_prompt"}


def compute_fingerprint(request: ImageRequest, model: str, conversation: ImageNames | None = None) -> str:
    """Return a digest of model, prompt, n, parameters and input images; stores keep it, so that it must not change.

    Args:
        conversation: What the name of an upload means, which is another image in another conversation.
    """
    images = [_identify(source, conversation) for source in request.images]
    parts = [model, request.prompt, request.n, _read_parameters(request), request.extra_body, images]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _read_parameters(request: ImageRequest) -> dict[str, Any]:
    values = request.model_dump(include=PARAMETERS)
    parameters = {name: value for name, value in values.items() if value is not None}
    if "size" in parameters:  # 1280x720 and 1280*720 are one size
        parameters["size"] = parameters["size"].replace("x", "*").replace("X", "*")
    return parameters


def _identify(source: Any, conversation: ImageNames | None) -> str:
    if isinstance(source, str) and UPLOAD.fullmatch(source) and conversation is not None:
        upload = conversation.upload(source)
        return source if upload is None else f"upload {upload.image_id or upload.url}"
    if isinstance(source, Path):
        return f"file {source.absolute()}"
    if isinstance(source, InlineImage):
        content = source.content if isinstance(source.content, bytes) else source.content.encode(errors="replace")
        return f"bytes {hashlib.sha256(content).hexdigest()}"
    if is_pil_image(source):
        try:
            return f"pixels {source.mode} {source.size} {hashlib.sha256(source.tobytes()).hexdigest()}"
        except (OSError, ValueError, SyntaxError) as error:
            raise ImageReferenceError("An input image is damaged or cut off.", reason="unreadable") from error
    return describe_source(source)
