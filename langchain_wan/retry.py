"""When to retry a request that was certainly not processed: the seconds to wait, or None. Nothing here sleeps."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_SECONDS = sys.float_info.max  # for what is written as infinite


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When to retry a request that was certainly not processed (no connection, or a 429 that is not a quota).

    The wait before attempt k+1 is random, between half and all of `min(initial * factor**(k-1), max_backoff)`, unless
    the service asks for another. A request that may have been charged is never retried, whatever this policy says.

    Attributes:
        attempts: Maximum number of requests, including the first; 1 means no retries.
        max_elapsed: Seconds after the start of the first attempt; no attempt starts later.
        retry_after_cap: Maximum `Retry-After` in seconds; if the service asks for more, the error is raised at once.
        initial: Seconds before the second attempt.
        factor: How much longer each wait is than the one before.
        max_backoff: Maximum wait in seconds.

    Raises:
        ValueError: A number is not finite or not positive.
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
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_SECONDS:
                raise ValueError(f"{name} must be a finite number above 0")

    def wait(self, attempt: int, *, elapsed: float, retry_after: float | None, jitter: float) -> float | None:
        """Return the seconds to wait after a failed attempt, or None to give up.

        Args:
            attempt: Number of the attempt that failed; the first is 1.
            elapsed: Seconds since the first attempt started.
            retry_after: Seconds that the service asked for, or None.
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


def parse_retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return `Retry-After` in seconds, finite and never negative, or None if it is missing or not valid.

    An HTTP date is compared with the answer's own `Date`, so that a wrong clock on either side does no harm.
    Source: RFC 9110, section 10.2.3.

    Args:
        headers: Names in lower case.
        now: Used if the answer has no `Date`.
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
            return min(seconds, MAX_SECONDS)
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
