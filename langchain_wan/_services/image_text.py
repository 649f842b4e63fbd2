"""A string that names an image: a URL or base64, with any decoration around it.

A string of megabytes is never copied where it is a `Span`.
"""

from __future__ import annotations

import binascii
import html
import re

from langchain_wan._media import decode, formats, kinds, large_json
from langchain_wan._services.answer import ImagePart
from langchain_wan._services.inputs import is_url

MAX_URL = 8192
HEAD = 96  # characters of base64, in which the kind of a file shows
TAIL = 400  # characters at the end of a long string, which may be its title in Markdown
SHORTEST = 32  # characters of base64: no image file is shorter

_BLANKS = " \t\r\n\f\v\u00a0\u3000\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"
_PAIRS = dict(zip("\"'`<([{*_“‘„«‹「『《【（", "\"'`>)]}*_”’“»›」』》】）", strict=True))
ENDS = ".,;:!。，；！"
_CLOSERS = "\"'`>]}”’»›」』》】）"
_IMAGE_ENDING = re.compile(r"\.(?:png|jpe?g|webp|bmp|gif|avif|hei[cf])$", re.IGNORECASE)
_BARE_URL = re.compile(r"(?://)?(?:[a-z0-9-]{1,63}\.){1,6}[a-z]{2,24}(?::\d{1,5})?/[!-~]{1,4000}", re.IGNORECASE)
_DATA_HEAD = re.compile(r"(?:data:)?[\w.+/-]{0,60}(?:;[^,;\s]{0,80}){0,4};?base64,", re.IGNORECASE)
_MARKDOWN = re.compile(r"\[?!?\[[^\]\n]{0,300}\]\(\s{0,5}")
_LABEL = re.compile(r"(?:image|picture|url|uri|link)(?: url)?\s{0,5}[:=]\s{0,5}", re.IGNORECASE)
_FENCE = re.compile(r"[a-z]{1,10}\n")
_AFTER_BASE64 = re.compile(r"(?: [\"'].{0,300}|[^A-Za-z0-9+/=_-]{0,64})$")


def read_value(text: str) -> ImagePart | None:
    """Return the image that a whole string names, or None: a URL or base64, whatever stands around it."""
    if isinstance(text, large_json.Span):
        return _read_span(text)
    plain = _undress(text).rstrip(ENDS)
    head = _DATA_HEAD.match(plain[:400])
    if plain[:5].lower() == "data:":
        return ImagePart(data=plain)
    if head is not None:
        return ImagePart(data=plain[head.end() :])
    url = read_url(plain)
    if url is not None:
        return ImagePart(url=url)
    return ImagePart(data=plain) if is_base64_image(plain) else None


def _read_span(text: large_json.Span) -> ImagePart | None:
    length = large_json.measure(text)
    head = _undress(text[: large_json.HEAD])
    start = text.find(head[:SHORTEST]) if head else -1
    tail = large_json.read_whole(large_json.cut(text, max(0, length - TAIL), length))
    dressed = _AFTER_BASE64.search(tail)
    end = length - (len(dressed[0]) if dressed else 0)
    plain = text if start == 0 and end == length else large_json.cut(text, max(0, start), end)
    label = _DATA_HEAD.match(head[:400])
    if head[:5].lower() == "data:" or is_base64_image(head):
        return ImagePart(data=plain)
    return None if label is None else ImagePart(data=large_json.cut(plain, label.end(), large_json.measure(plain)))


def _undress(text: str) -> str:
    """Return text without blanks, quotes, brackets and Markdown around it."""
    plain = text.strip(_BLANKS)
    for _ in range(12):
        before = len(plain)
        link = _MARKDOWN.match(plain)
        label = _LABEL.match(plain)
        if link is not None:
            plain = _cut_at_closer(plain[link.end() :])
        elif label is not None:
            plain = plain[label.end() :]
        elif plain[:3] == "```":
            plain = plain.strip("`")
            fence = _FENCE.match(plain)
            plain = plain[fence.end() :] if fence else plain
        elif re.match(r"b['\"]", plain):
            plain = plain[1:]
        elif plain[:1] in _PAIRS:
            plain = plain[1:].removesuffix(_PAIRS[plain[:1]])
        plain = plain.strip(_BLANKS)
        if len(plain) == before:
            break
    return plain


def _cut_at_closer(text: str) -> str:
    """Return what stands in the brackets of a Markdown link, without its title."""
    target = re.match(r"<?[^()\s]{0,8192}(?:\([^()\s]{0,200}\)[^()\s]{0,8192}){0,9}", text[:MAX_URL])
    if target is not None and is_url(target[0].lstrip("<")):
        return target[0]
    return text.partition(")")[0].partition(' "')[0]


def read_url(plain: str) -> str | None:
    """Return the URL that text is, put right where it was escaped or broken into lines, or None."""
    url = plain[: 2 * MAX_URL].rstrip(_CLOSERS + ENDS).replace("\\/", "/")
    if not is_url(url):
        if _BARE_URL.fullmatch(url) is None or not has_image_ending(url):
            return None
        url = f"https://{url.removeprefix('//')}"
    if "&amp;" in url:
        url = html.unescape(url)
    if url.endswith(")") and url.count("(") < url.count(")"):
        url = url[:-1]
    url = re.sub(r"[ \t]{0,20}[\r\n]{1,4}[ \t]{0,20}", "", url).strip()  # a long URL that was broken into lines
    if " " in url and (url.count("://") > 1 or not has_image_ending(url)):  # a sentence, or several URLs
        return None
    url = url.replace(" ", "%20")
    return url if 10 < len(url) <= MAX_URL and not re.search(r"\s", url) else None  # noqa: PLR2004  more than a scheme


def has_image_ending(url: str) -> bool:
    """Say whether the path of a URL, or a file name in its query, ends as an image file does."""
    return any(_IMAGE_ENDING.search(part) for part in re.split(r"[?#&]", url[:MAX_URL]))


def is_base64_image(text: str) -> bool:
    """Say whether text is base64 of an image file, bare or in a data URI, by its first bytes."""
    start = text.find(",", 0, 300) + 1 if text[:5].lower() == "data:" else 0
    head = "".join(text[start : start + 2 * HEAD].split())[:HEAD].replace("-", "+").replace("_", "/").rstrip("=")
    if len(head) < SHORTEST or not re.fullmatch(r"[A-Za-z0-9+/]+", head):
        return False
    try:
        kinds.identify(binascii.a2b_base64(head[: len(head) // 4 * 4]))
    except (ValueError, formats.ImageFileError):
        return False
    return True


def is_image(body: bytes) -> bool:
    """Say whether bytes are a whole image file."""
    try:
        decode.inspect(body)
    except formats.ImageFileError:
        return False
    return True
