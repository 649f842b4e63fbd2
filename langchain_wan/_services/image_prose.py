"""Images in prose: what a person would see in Markdown, HTML or a sentence, and no link that only explains.

A text of megabytes is never copied where it is a `Span`, and is searched a constant number of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from langchain_wan._media import large_json
from langchain_wan._services.answer import ImagePart
from langchain_wan._services.image_text import ENDS, has_image_ending, is_base64_image, read_url

MAX_IMAGES = 64  # in one text
MAX_PROSE = 20_000  # characters of a text that are searched for links


def find_images(text: str) -> tuple[list[ImagePart], str]:
    """Return the images that a text shows, and the text without them.

    What is shown as an image counts. If there is none, a link counts that is introduced as the image, or leads to an
    image file; but not in a sentence that refuses, nor a mere file beside one.
    """
    images: list[ImagePart] = []
    rest: list[str] = []
    for piece in _split_data(text):
        if isinstance(piece, ImagePart):
            images.append(piece)
        else:
            rest.append(piece)
    prose = "".join(rest)[:MAX_PROSE]
    for pattern in _image_syntax():
        for match in pattern.finditer(prose):
            images += _keep_url(match["url"])
        prose = pattern.sub("", prose)
    if images:
        return images[:MAX_IMAGES], prose.replace("![](", "").strip()
    sentences = list(_split_sentences(prose))
    refusals = [_is_refusal(sentence) for sentence in sentences]
    is_doubtful = any(refusals)
    for sentence, refuses in zip(sentences, refusals, strict=True):
        images += [] if refuses else _find_links(sentence, is_doubtful=is_doubtful)
    return images[:MAX_IMAGES], _LINK.sub("", prose).strip() if images else prose


def _split_data(text: str) -> Iterator[ImagePart | str]:
    """Yield the images in base64 of a text, and what stands between them."""
    body = _Searched(text)
    offset, marker = 0, "data:image/"
    if body.find(marker, 0) < 0:
        marker = next((start for start in ("iVBORw0KGgo", "/9j/4", "UklGR") if body.find(start, 0) >= 0), marker)
    for _ in range(MAX_IMAGES):
        at = body.find(marker, offset)
        if at < 0:
            break
        head = re.match(r"data:image/[^,\s]{0,200},", body.read(at, min(body.length, at + 300)))
        stop = body.length
        for terminator in _TERMINATORS:
            closing = body.find(terminator, at + (head.end() if head else 0), stop)
            stop = closing if closing >= 0 else stop
        image = large_json.cut(text, at, stop)
        yield body.read(offset, min(at, offset + MAX_PROSE))
        # In the base64 of another file, such as an icon, it is a part of that file.
        is_inside = head is None and re.match(r"[A-Za-z0-9+/]", body.read(max(0, at - 1), at)) is not None
        if is_base64_image(image) and not is_inside:
            yield ImagePart(data=image)
        offset = stop
    yield body.read(offset, min(body.length, offset + MAX_PROSE))


_TERMINATORS = ")\"'>`]*.,;\\ \t\r\n"


class _Searched:
    """A string that is searched as it lies, in the body of an answer if it is a `Span`."""

    def __init__(self, text: str) -> None:
        self._text, self.length = text, large_json.measure(text)

    def find(self, part: str, start: int, stop: int | None = None) -> int:
        """Return the offset of a part, or a negative number."""
        stop = self.length if stop is None else stop
        if isinstance(self._text, large_json.Span):
            first = self._text.start
            return self._text.body.find(part.encode(), first + start, first + stop) - first
        return self._text.find(part, start, stop)

    def read(self, start: int, stop: int) -> str:
        """Return what stands between two offsets."""
        return large_json.read_whole(large_json.cut(self._text, start, stop))


@lru_cache(maxsize=1)
def _image_syntax() -> tuple[re.Pattern[str], ...]:
    url = r"(?P<url>https?://[!-'*-;=?-~]+(?:\([!-'*-;=?-~]*\)[!-'*-;=?-~]*)*)"
    return (
        re.compile(rf"!\[[^\]\n]{{0,300}}\]\(\s{{0,5}}<?{url}>?(?:\s[^)\n]{{0,300}})?\)", re.IGNORECASE),
        re.compile(
            r"<img\b[^<>]{0,500}?\bsrc\s{0,5}=\s{0,5}[\"']?(?P<url>https?://[^\"'\s<>]+)[^<>]{0,500}>",
            re.IGNORECASE,
        ),
        re.compile(r"\[img\]\s{0,5}(?P<url>https?://[!-Z\\^-~]+)\s{0,5}\[/img\]", re.IGNORECASE),
    )


_LINK = re.compile(r"https?://[!#-&*-;=?-Z\\_a-z~|]+", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_INTRODUCED = re.compile(
    r"(?:(?:image|picture|photo|result)s?(?: (?:url|link|file|is|are|ready|here|below))*|(?:图片|图像|结果)\w{0,4})"
    r"\s*[:：]\s*[\[(<]*$",
    re.IGNORECASE,
)
_REFUSING = re.compile(
    r"\b(?:can(?:no|['’]?)t|can not|(?:could|would|will|do|does|did|is|are|was|were) ?n(?:o|['’])t|won['’]?t|unable"
    r"|not (?:able|allowed|permitted|possible)|refus|declin|reject|violat|prohibit|forbid|against|inappropriate|unsafe"
    r"|sorry|apolog|polic(?:y|ies)|guideline|terms of|fail|error|block)|抱歉|无法|不能|违反|拒绝|失败|政策",
    re.IGNORECASE,
)


def _split_sentences(prose: str) -> Iterator[str]:
    offset = 0
    for end in _SENTENCE_END.finditer(prose):
        yield prose[offset : end.end()]
        offset = end.end()
    yield prose[offset:]


def _is_refusal(sentence: str) -> bool:
    return _REFUSING.search(_LINK.sub("", sentence)) is not None


def _find_links(sentence: str, *, is_doubtful: bool) -> list[ImagePart]:
    images = []
    for match in _LINK.finditer(sentence):
        introduction = sentence[max(0, match.start() - 200) : match.start()]
        is_file = has_image_ending(match[0].rstrip(ENDS + "?")) and not is_doubtful
        if is_file or _INTRODUCED.search(introduction):
            images += _keep_url(match[0].rstrip("?"))
    return images


def _keep_url(url: str) -> list[ImagePart]:
    plain = read_url(url)
    return [] if plain is None else [ImagePart(url=plain)]
