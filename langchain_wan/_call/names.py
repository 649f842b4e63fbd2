"""What images are called in a conversation, as far as a call needs to know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from langchain_wan.models import GeneratedImage

UPLOAD = re.compile(r"upload_[1-9][0-9]{0,3}")
ASK_TO_ATTACH = "ask the user to attach the picture itself"
ONLY_A_URL = f"it was attached by URL, which is not accepted here: {ASK_TO_ATTACH}"
ONLY_A_FILE_ID = f"it is in a model provider's file store: {ASK_TO_ATTACH}"
NOT_A_WEB_URL = f"its URL is not a valid http(s) URL: {ASK_TO_ATTACH}"
AT_A_PRIVATE_ADDRESS = f"it is at a private address: {ASK_TO_ATTACH}"


@dataclass(frozen=True)
class Upload:
    """An image that a user attached; exactly one of `image_id`, `url` and `problem` is set.

    Attributes:
        name: `upload_1`, `upload_2`, ... as the conversation first saw them.
        image_id: The id under which it is stored.
        url: Where it is, if it was attached by URL and not downloaded yet.
        problem: Why it can't be used.
        is_ambiguous: Whether that is because the name can mean several images.
    """

    name: str
    image_id: str | None = None
    url: str | None = field(default=None, repr=False)
    problem: str | None = None
    is_ambiguous: bool = False


class ImageNames(Protocol):
    """What images are called in one conversation."""

    def upload(self, name: str) -> Upload | None:
        """Return the upload with this name, or None if there is none."""
        ...

    def downloaded(self, name: str, image_id: str) -> None:
        """Note under which id an upload is stored whose URL was downloaded."""
        ...

    def failed(self, name: str, problem: str) -> None:
        """Record why an upload can never be used."""
        ...

    def known(self, image_id: str) -> GeneratedImage | None:
        """Return the image with this id that may be named here, or None."""
        ...

    def carried(self, image_id: str) -> GeneratedImage | None:
        """Return what a tool message says of an image and its URL, or None; a client may have made it up."""
        ...

    def at_url(self, url: str) -> str | None:
        """Return the id, upload name or whole URL of what a URL shows in this conversation, or None."""
        ...

    def uploads(self) -> list[Upload]:
        """Return the images that people attached, in order."""
        ...

    def unused(self, also: Sequence[str] = ()) -> list[Upload]:
        """Return what the newest human message brought and no call since then has named."""
        ...

    def names(self) -> list[str]:
        """Return what may be named, the newest last, to be listed in a refusal."""
        ...
