"""Images elsewhere in an answer than documented: in lists, wrappers, calls of tools, and other services' forms.

What a name says is an input, a reference or help is not searched, and nothing that a user said is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from langchain_wan._media import large_json
from langchain_wan._services import image_prose, image_text
from langchain_wan._services.answer import ImagePart
from langchain_wan._services.inputs import Inputs, mark_text

MAX_DEPTH = 24
MAX_NESTED = 2  # JSON in a string in JSON
MAX_VALUES = 20_000

# What holds no result, by the beginning of its name.
_OTHER = re.compile(
    r"input|init(_|$)|request|prompt|orig(inal)?_?prompt|usage|error|warning|meta|param|config|option|setting"
    r"|annotation|citation|url_?citation|references?|ref_|docs?(_|$)|documentation|help|support|polic|terms|thumb|preview"
    r"|cover|icon|logo|avatar|mask|callback|webhook|self$|home|dashboard|status|poll|cancel|billing|pricing|upgrade|user"
    r"|author|tools?$|tool_choice|reasoning|thinking|debug|trace|logs?$|search|sources|next|prev",
    re.IGNORECASE,
)
OTHER_ROLES = ("user", "system", "developer")  # a tuple: a value of an answer may be a list, which has no hash
# The forms of one image, the most usual first: where several are given, they show the same.
_FORMS = (
    "image",
    "image_url",
    "imageUrl",
    "url",
    "uri",
    "b64_json",
    "base64",
    "b64",
    "data",
    "src",
    "href",
    "source",
    "inlineData",
    "inline_data",
    "fileData",
    "file_data",
    "fileUri",
    "file_uri",
    "result",
    "content",
)
_URL_NAMES = re.compile(
    r"(?:(?:.*_)?(?:image|img|picture|photo|result|output|file|download|signed|public|cdn|media|generated|oss|asset)[_-]?)?"
    r"ur[il]s?|.*(?:images?|imgs?|pictures?|photos?)|outputs?|results?|files?|data|artifacts?|assets?|content|src|source",
    re.IGNORECASE,
)
_TEXTS = frozenset(
    {"content", "text", "output_text", "output", "result", "response", "answer", "markdown", "html", "value"}
)
_JSON = re.compile(r"\s*(?:```[a-z]*\s*)?[{\[]")


def find_images(value: Any, inputs: Inputs) -> list[ImagePart]:
    """Return the images of a value, each once: those in its fields, or if there are none, those in its texts."""
    for prose in (False, True):
        search = _Search(inputs, prose=prose)
        images = search.find(value)
        if images:
            return images
    return []


class _Search:
    """One walk over a value."""

    def __init__(self, inputs: Inputs, *, prose: bool) -> None:
        self._inputs, self._prose = inputs, prose
        self._seen: set[str] = set()
        self._values = 0

    def find(self, value: Any, name: str = "", depth: int = 0, nested: int = 0) -> list[ImagePart]:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES or len(self._seen) >= image_prose.MAX_IMAGES:
            return []
        if isinstance(value, str):
            return self._find_in_text(value, name, depth, nested)
        if isinstance(value, list):
            return [image for inner in value for image in self.find(inner, name, depth + 1, nested)]
        if not isinstance(value, dict) or value.get("role") in OTHER_ROLES or _is_input(value):
            return []
        images: list[ImagePart] = []
        forms = [form for form in _FORMS if isinstance(value.get(form), str | dict)]
        for form in forms:
            if not images:
                images = self.find(value[form], form, depth + 1, nested)
        for inner_name, inner in value.items():
            if inner_name not in forms and not _OTHER.match(inner_name):
                images += self.find(inner, inner_name, depth + 1, nested)
        return images

    def _find_in_text(self, text: str, name: str, depth: int, nested: int) -> list[ImagePart]:
        if _JSON.match(text) and nested < MAX_NESTED:
            inner = _parse(text)
            if inner is not None:
                return self.find(inner, name, depth + 1, nested + 1)
        image = image_text.read_value(text)
        if image is not None and _is_likely(image, name):
            return list(self._keep([image]))
        is_searched = self._prose and (name in _TEXTS or name in _FORMS or _URL_NAMES.fullmatch(name))
        return list(self._keep(image_prose.find_images(text)[0])) if is_searched else []

    def _keep(self, images: list[ImagePart]) -> Iterator[ImagePart]:
        for image in images:
            text = image.url or image.data or ""
            mark = mark_text(text)
            if mark not in self._seen and not self._inputs.contain(text):
                self._seen.add(mark)
                yield image


def _is_likely(image: ImagePart, name: str) -> bool:
    """Say whether a field of this name holds this image, and not the address of something else."""
    if image.url is not None:
        return _URL_NAMES.fullmatch(name) is not None or image_text.has_image_ending(image.url)
    return image.data is not None and image_text.is_base64_image(image.data)


def _is_input(value: dict[str, Any]) -> bool:
    kind = value.get("type")
    return isinstance(kind, str) and kind.startswith(("input_", "url_citation", "web_search"))


def _parse(text: str) -> Any:
    plain = large_json.read_whole(text).strip().removeprefix("```json").strip("`\n ")
    try:
        value = large_json.loads(plain.encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None
