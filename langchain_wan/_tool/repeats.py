"""How often one run of a node has made the same call.

A node that wants three images of one prompt makes three calls that only differ in their order. When the node runs
again, after an interrupt or a crash, the first of them must be recognised as the first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import count

REMEMBERED_ATTEMPTS = 10_000


@dataclass(frozen=True, eq=False)
class SameObject:
    """Equal where it names the same object; it keeps the object, so that no other one gets its address."""

    value: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameObject) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


_attempts: OrderedDict[Hashable, dict[str, Iterator[int]]] = OrderedDict()


def count_repeats(attempt: Hashable, call: str) -> int:
    """Return how many times this attempt has made this call before.

    Args:
        attempt: Names one run of a node.
        call: The same for calls that do not differ.
    """
    calls = _attempts.setdefault(attempt, {})
    _attempts.move_to_end(attempt)
    number = next(calls.setdefault(call, count()))
    while len(_attempts) > REMEMBERED_ATTEMPTS:
        _attempts.popitem(last=False)
    return number
