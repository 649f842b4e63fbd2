"""Content blocks with an image, in the forms that models and front ends write."""

from __future__ import annotations

from typing import Any

from tests.support.images import PHOTOGRAPH, in_base64, to_data_uri

PHOTOGRAPH_URI = to_data_uri(PHOTOGRAPH, "image/jpeg")

FORMS: dict[str, dict[str, Any]] = {
    "v1": {"type": "image", "base64": in_base64(PHOTOGRAPH), "mime_type": "image/jpeg"},
    "v0": {"type": "image", "source_type": "base64", "data": in_base64(PHOTOGRAPH), "mime_type": "image/jpeg"},
    "image_url dict": {"type": "image_url", "image_url": {"url": PHOTOGRAPH_URI}},
    "image_url string": {"type": "image_url", "image_url": PHOTOGRAPH_URI},
    "input_image": {"type": "input_image", "image_url": PHOTOGRAPH_URI},
    "media": {"type": "media", "mime_type": "image/jpeg", "data": in_base64(PHOTOGRAPH)},
    "JavaScript": {"type": "image", "mimeType": "image/jpeg", "data": in_base64(PHOTOGRAPH)},
}


NO_SOURCE: dict[str, dict[str, Any]] = {
    "file id": {"type": "image", "file_id": "file-1"},
    "OpenAI responses file id": {"type": "input_image", "file_id": "file-1"},
    "Anthropic file": {"type": "image", "source": {"type": "file", "file_id": "file-1"}},
    "type alone": {"type": "image"},
    "empty image_url": {"type": "image_url", "image_url": {}},
    "image_url of numbers": {"type": "image_url", "image_url": {"url": 5}},
    "list in place of a URL": {"type": "image", "url": ["https://example.com/a.png"]},
    "number as data": {"type": "image", "data": 5},
}
