"""When a call that certainly did no work may be sent again: seconds to wait, or None. It never sleeps."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


LONGEST = sys.float_info.max  # seconds; what is called infinite becomes this


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often, and how long, to try again what certainly did no work: no connection, or a 429 that will pass.

    The wait before attempt k+1 is random between half and all of `min(initial * factor**(k-1), max_backoff)`,
    unless the service names one. What may have been paid is never sent again, whatever this policy says.

    Attributes:
        attempts: Requests at most, the first included; 1 never tries again.
        max_elapsed: Seconds after the first attempt began within which the last one may begin.
        retry_after_cap: Seconds of `Retry-After` that are honoured; a longer one is raised at once.
        initial: Seconds.
        factor: Growth of the wait from one attempt to the next.
        max_backoff: Seconds.

    Raises:
        ValueError: A number is not finite, or not positive.
    """

    attempts: int = 3
    max_elapsed: float = 60.0
    retry_after_cap: float = 60.0
    initial: float = 0.5
    factor: float = 2.0
    max_backoff: float = 8.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise ValueError("attempts must be a whole number of at least 1")
        for name in ("max_elapsed", "retry_after_cap", "initial", "factor", "max_backoff"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST:
                raise ValueError(f"{name} must be a finite number above 0")

    def wait(self, attempt: int, *, elapsed: float, retry_after: float | None, jitter: float) -> float | None:
        """Return the seconds to wait after a failed attempt, or None to give up.

        Args:
            attempt: Number of the attempt that failed; the first is 1.
            elapsed: Seconds since the first attempt began.
            retry_after: Seconds that the service asked for; None where it named none.
            jitter: A random number from 0 to 1.
        """
        if attempt >= self.attempts:
            return None
        if retry_after is not None:
            if retry_after > self.retry_after_cap:
                return None
            seconds = retry_after
        else:
            try:
                backoff = self.initial * self.factor ** (attempt - 1)
            except OverflowError:
                backoff = math.inf
            seconds = min(backoff, self.max_backoff) * (0.5 + jitter / 2)
        return seconds if elapsed + seconds <= self.max_elapsed else None


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Read `Retry-After`: seconds, finite and never negative, or None where it says nothing useful.

    An HTTP date counts from the answer's own `Date`, so that a wrong clock on either side does no harm.
    Source: RFC 9110, section 10.2.3.

    Args:
        headers: Lower-case names.
        now: Used where the answer has no `Date`.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text[0].isdigit():
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not math.isnan(seconds):
            return min(seconds, LONGEST)
    date = _http_date(text)
    if date is None:
        return None
    since = _http_date(headers.get("date", "")) or now
    return max(0.0, (date - since).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
