"""A digest that is equal for identical requests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_wan._call.names import UPLOAD, ImageNames
from langchain_wan._services.aisa_chat import upstream_parameters
from langchain_wan.errors import ImageReferenceError
from langchain_wan.requests import InlineImage, describe_source, is_pil_image

if TYPE_CHECKING:
    from langchain_wan.requests import ImageRequest


def fingerprint(request: ImageRequest, model: str, conversation: ImageNames | None = None) -> str:
    """Return a digest that is equal for equal requests: model, prompt, n, parameters, references as named.

    Args:
        conversation: What an upload's name means, which is another picture in another conversation.
    """
    named = [_identity(source, conversation) for source in request.images]
    parts = [model, request.prompt, request.n, upstream_parameters(request), request.extra_body, named]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _identity(source: Any, conversation: ImageNames | None) -> str:
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
