"""Types that the values of a store have in common."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Protocol

from pydantic import AfterValidator, PlainSerializer


class ByteSource(Protocol):
    """Where images find their bytes."""

    def read(self, sha256: str) -> bytes | None:
        """Return the bytes with this digest, or None if they are not here."""
        ...

    def aread(self, sha256: str) -> Awaitable[bytes | None]:
        """Do the same without blocking the event loop."""
        ...


def _with_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


# As text in every dump: encoders such as LangServe's ask pydantic, and know neither Decimal nor datetime.
Dollars = Annotated[Decimal, PlainSerializer(str, return_type=str)]
Moment = Annotated[
    datetime,
    AfterValidator(_with_zone),
    PlainSerializer(lambda moment: moment.isoformat().replace("+00:00", "Z"), return_type=str),
]
