"""The numbers of attached images: `upload_1`, `upload_2`, ...

A person and a model that sees no label count the images in the messages. A store remembers which number an image had
when it was first seen, so that a name stays where messages are trimmed, summarised or edited. Where the two differ, the
name is ambiguous. Everything here is plain computation; `attached.py` reads and stores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from langchain_wan._storage.ids import IMAGE_ID


@dataclass(frozen=True)
class Attachment:
    """An image block in a human message.

    Attributes:
        message: The index of the message.
        block: The index of the block in its content.
        digest: A digest of what the block contains; it names the block's content without keeping it.
        location: The id of the stored image, a URL with a mark, or why it can't be used.
    """

    message: int
    block: int
    digest: str
    location: str = field(repr=False)

    @property
    def image(self) -> str:
        """The same for two blocks that show one image: another spelling of its base64 changes the digest."""
        return _identify(self.digest, self.location)


@dataclass(frozen=True)
class Numbered:
    """A number that an attached image has.

    Attributes:
        labelled: Whether `WanImageMiddleware` showed the number to the model beside the image.
    """

    number: int
    digest: str
    location: str = field(repr=False)
    labelled: bool = False

    @property
    def name(self) -> str:
        """The name that people and models use."""
        return f"upload_{self.number}"

    @property
    def image(self) -> str:
        """The same for two uploads of one image."""
        return _identify(self.digest, self.location)


def _identify(digest: str, location: str) -> str:
    return location if IMAGE_ID.fullmatch(location) else digest


def number_attachments(
    attachments: Sequence[Attachment], recorded: Iterable[Numbered], told: Mapping[int, str]
) -> list[Numbered]:
    """Return the number of each attachment, in order: the one that it had, else its position, else the next one.

    Args:
        attachments: The image blocks that are in the messages.
        recorded: The numbers that the images had before.
        told: Image ids by number, as the messages still say.
    """
    by_number = {number: Numbered(number, image_id, image_id) for number, image_id in told.items()}
    by_number |= {numbered.number: numbered for numbered in recorded}
    free: dict[str, deque[Numbered]] = {}
    for number in sorted(by_number):
        free.setdefault(by_number[number].image, deque()).append(by_number[number])
    following = max(by_number, default=0) + 1
    numbers: list[Numbered] = []
    for position, attachment in enumerate(attachments, 1):
        same = free.get(attachment.image)
        if same:
            match = same.popleft()
        else:
            number = position if position not in by_number else following
            match = Numbered(number, attachment.digest, attachment.location)
            by_number[number], following = match, max(following, number + 1)
        numbers.append(replace(match, digest=attachment.digest, location=attachment.location))
    return numbers


def find_meanings(
    attachments: Sequence[Numbered], recorded: Iterable[Numbered], told: Mapping[int, str]
) -> dict[int, dict[str, Numbered]]:
    """Return the images that each number can mean, by what identifies them: one, or several.

    Args:
        attachments: The number of each image block that is in the messages, in order.
        recorded: The numbers that images had before, those of blocks that are gone among them.
        told: Image ids by number, as the messages still say.
    """
    meanings: dict[int, list[Numbered]] = {}
    for numbered in (*attachments, *recorded):
        meanings.setdefault(numbered.number, []).append(numbered)
    for number, image_id in told.items():
        meanings.setdefault(number, []).append(Numbered(number, image_id, image_id))
    for position, numbered in enumerate(attachments, 1):
        if not numbered.labelled:  # whoever sees no labels counts
            meanings.setdefault(position, []).append(numbered)
    return {number: {meaning.image: meaning for meaning in reversed(images)} for number, images in meanings.items()}
