"""What a call gives back: the content that the model reads, and the artifact for programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias, cast

from langchain_wan._call.names import UPLOAD, ImageNames
from langchain_wan._concurrency.callbacks import complete
from langchain_wan._text.logs import logger
from langchain_wan.errors import StoreError
from langchain_wan.models import ImageResult
from langchain_wan.requests import ImageRequest

Content: TypeAlias = str | list[dict[str, Any]]
ReturnToModel: TypeAlias = str | Callable[[ImageResult], Content | Awaitable[Content]]
THUMBNAIL_SIDE = 512  # pixels of the longer side


def build_artifact(result: ImageResult, *, with_base64: bool) -> dict[str, Any]:
    """Return the result as JSON values, which every checkpointer keeps as they are."""
    artifact = result.model_dump(mode="json")
    if with_base64:
        for facts, image in zip(artifact["images"], result.images, strict=True):
            facts["base64"] = image.base64
    return artifact


def build_content(
    result: ImageResult,
    request: ImageRequest,
    conversation: ImageNames | None,
    return_to_model: ReturnToModel,
) -> Content:
    """Return what the model reads: ids, URLs or thumbnails where it wants them, and what became of the uploads."""
    if callable(return_to_model):
        try:
            content = complete(return_to_model(result))
        except Exception:  # a caller's function must not lose a billed image
            logger.exception("return_to_model failed")
        else:
            if _is_content(content):
                return cast("Content", content)
            kind = type(content).__name__
            logger.warning("return_to_model must return text or a list of content blocks; got %s", kind)
    text = result.describe(url=return_to_model == "url")
    text = "\n".join([text, *_describe_uploads(conversation, request)])
    return [{"type": "text", "text": text}, *_build_thumbnails(result)] if return_to_model == "thumbnail" else text


def _is_content(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(block, dict) and isinstance(block.get("type"), str) for block in value)
    return isinstance(value, str)


def _build_thumbnails(result: ImageResult) -> Iterator[dict[str, Any]]:
    for image in result.images:
        try:
            block = image.content_block(THUMBNAIL_SIDE)
        except (StoreError, ValueError):  # its id stands in the text all the same
            logger.warning("%s could not be shown", image.id, exc_info=True)
        else:
            yield from ({"type": "text", "text": f"{image.id}:"}, block)


def _describe_uploads(conversation: ImageNames | None, request: ImageRequest) -> list[str]:
    if conversation is None:
        return []
    references = [reference for reference in request.images if isinstance(reference, str)]
    try:
        names = [name for name in references if UPLOAD.fullmatch(name)]
        used = [upload for name in names if (upload := conversation.upload(name)) is not None and upload.image_id]
        unused = [upload.name for upload in conversation.unused(references) if upload.problem is None]
    except Exception:  # a note must not lose a billed image
        logger.exception("the uploads could not be read")
        return []
    lines = [f"{upload.name} is {upload.image_id}." for upload in used]
    if unused:
        lines.append(f"Attached by the user and not used: {', '.join(unused)}.")
    return lines
