"""When a call that certainly did no work may be sent again: seconds to wait, or None."""

from __future__ import annotations

import copy
import dataclasses
import math
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_wan.retry import RetryPolicy, parse_retry_after
from tests.support.examples import examples

NOW = datetime(2026, 4, 22, 12, 0, 0, tzinfo=UTC)
DIGITS = "9" * 400


def http_date(seconds: float, base: datetime = NOW) -> str:
    return format_datetime(base + timedelta(seconds=seconds), usegmt=True)


def parse(text: str, **headers: str) -> float | None:
    return parse_retry_after({"retry-after": text, **headers}, now=NOW)


# Retry-After


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20", 20.0),
        (" 20 ", 20.0),
        ("0", 0.0),
        ("61", 61.0),
        ("9999", 9999.0),
        ("2.5", 2.5),
        ("007", 7.0),
        ("-10", None),
        ("-0.5", None),
        ("", None),
        ("   ", None),
        ("inf", None),
        ("-inf", None),
        ("nan", None),
        ("NaN", None),
        ("soon", None),
        ("5 seconds", None),
        ("5s", None),
        ("20, 30", None),
        ("0x10", None),
        ("٢٠", None),
        (http_date(30), 30.0),
        (http_date(0), 0.0),
        (http_date(-30), 0.0),
        (http_date(-(10**9)), 0.0),
        ("Wen, 22 Apr 2026 12:00:30 GMT", 30.0),
        ("Wednesday, 22-Apr-26 12:00:30 GMT", 30.0),
        ("Wed Apr 22 12:00:30 2026", 30.0),
        ("Wed, 22 Apr 2026 14:00:30 +0200", 30.0),
        ("Wed, 22 Apr 2026 12:00:30 -0000", 30.0),
        ("Wed, 22 Apr 100000 12:00:30 GMT", None),
        ("Wed, 32 Apr 2026 12:00:30 GMT", None),
        ("Wed, 22 Apr 2026 25:00:30 GMT", None),
        ("Wed, 22 Apr 2026 12:00:30 +9999", None),
    ],
)
def test_retry_after_is_seconds_from_now_or_nothing(text: str, seconds: float | None) -> None:
    assert parse(text) == seconds


def test_without_a_header_there_is_no_wait_to_keep() -> None:
    assert parse_retry_after({}, now=NOW) is None
    assert parse_retry_after({"date": http_date(0)}, now=NOW) is None


@pytest.mark.parametrize("text", ["1e999", DIGITS, f"{DIGITS}.5", "9" * 5_000, http_date(86_400 * 365 * 100)])
def test_an_enormous_time_is_longer_than_any_cap_or_none(text: str) -> None:
    seconds = parse(text)
    if seconds is not None:
        assert math.isfinite(seconds)
        assert seconds > 10**6
    assert RetryPolicy(retry_after_cap=3_600, max_elapsed=3_600).wait(1, elapsed=0, retry_after=seconds, jitter=0) in {
        None,
        0.25,
    }


@pytest.mark.parametrize("skew", [-86_400, -3_600, 0, 3_600, 86_400])
def test_a_date_is_compared_with_the_answers_own_date_so_that_a_wrong_clock_does_no_harm(skew: int) -> None:
    assert parse(http_date(skew + 30), date=http_date(skew)) == 30.0


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 22 Apr 100000 12:00:00 GMT"])
def test_without_a_readable_date_our_clock_counts(date: str) -> None:
    assert parse(http_date(30), date=date) == 30.0


def test_the_zone_of_our_clock_does_not_matter() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert parse_retry_after({"retry-after": http_date(30)}, now=there) == 30.0


DATES = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9000, 1, 1)).map(  # noqa: DTZ001  made aware below
    lambda date: format_datetime(date.replace(tzinfo=UTC), usegmt=True)
)
TEXTS = (
    st.text(st.characters(), max_size=60)
    | st.integers().map(str)
    | st.floats().map(str)
    | DATES
    | st.from_regex(
        r"(Wed, )?[0-9]{1,3} (Apr|Xyz) [0-9]{1,6} [0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2})? ?(GMT|[+-][0-9]{1,5})?"
    )
    | st.from_regex(r"[0-9]{1,3}(\.[0-9]{0,3})?([eE][0-9]{1,4})?", fullmatch=True)
)


@given(text=TEXTS, date=TEXTS)
@examples(5)
def test_any_header_is_a_finite_time_that_is_not_negative_or_nothing(text: str, date: str) -> None:
    for headers in ({"retry-after": text}, {"retry-after": text, "date": date}):
        seconds = parse_retry_after(headers, now=NOW)
        assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


# The policy


def test_the_defaults_are_the_documented_ones() -> None:
    assert dataclasses.asdict(RetryPolicy()) == {
        "attempts": 3,
        "max_elapsed": 60.0,
        "retry_after_cap": 60.0,
        "initial": 0.5,
        "factor": 2.0,
        "max_backoff": 8.0,
    }


def test_a_policy_cannot_be_changed() -> None:
    policy = RetryPolicy(attempts=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.attempts = 5  # type: ignore[misc]  # the point of the test
    assert policy == RetryPolicy(attempts=2) == copy.deepcopy(policy)
    assert hash(policy) == hash(RetryPolicy(attempts=2))


def test_numbers_must_be_passed_by_name() -> None:
    with pytest.raises(TypeError):
        RetryPolicy(3)  # type: ignore[call-arg]  # the point of the test


@pytest.mark.parametrize("attempts", [0, -1, True, False, 1.0, 2.5, "3", None, math.inf])
def test_attempts_are_a_whole_number_of_at_least_one(attempts: Any) -> None:
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(attempts=attempts)


@pytest.mark.parametrize("field", ["max_elapsed", "retry_after_cap", "initial", "factor", "max_backoff"])
@pytest.mark.parametrize(
    "value", [0, -1, -0.5, math.nan, math.inf, -math.inf, True, 10**400], ids=lambda value: repr(value)[:6]
)
def test_every_time_is_a_finite_number_above_zero(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        RetryPolicy(**{field: value})


@pytest.mark.parametrize("field", ["max_elapsed", "retry_after_cap", "initial", "factor", "max_backoff"])
@pytest.mark.parametrize("value", ["60", None, [], 1j])
def test_a_value_that_is_not_a_number_is_refused_when_the_policy_is_created(field: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        RetryPolicy(**{field: value})


def test_whole_numbers_are_numbers_too() -> None:
    assert RetryPolicy(max_elapsed=60, initial=1, factor=2, max_backoff=8).wait(
        1, elapsed=0, retry_after=None, jitter=1
    ) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("attempt", "backoff"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (5_000, 8.0), (10**9, 8.0)]
)
@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_the_wait_doubles_up_to_the_maximum_and_is_at_least_half_of_it(
    attempt: int, backoff: float, jitter: float
) -> None:
    policy = RetryPolicy(attempts=10**10)
    seconds = policy.wait(attempt, elapsed=0, retry_after=None, jitter=jitter)
    assert seconds == pytest.approx(backoff * (0.5 + jitter / 2))


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
def test_there_is_no_wait_after_the_last_attempt(attempts: int) -> None:
    policy = RetryPolicy(attempts=attempts)
    waits = [policy.wait(attempt, elapsed=0, retry_after=None, jitter=0) for attempt in range(1, attempts + 2)]
    assert None not in waits[: attempts - 1]
    assert waits[attempts - 1 :] == [None, None]


def test_with_one_attempt_there_is_no_retry_even_if_the_service_asks_for_one() -> None:
    assert RetryPolicy(attempts=1).wait(1, elapsed=0, retry_after=0, jitter=0) is None


@pytest.mark.parametrize("seconds", [0.0, 0.1, 2.0, 59.9, 60.0])
def test_the_service_decides_the_pace_up_to_the_cap(seconds: float) -> None:
    for jitter in (0.0, 1.0):
        assert RetryPolicy().wait(1, elapsed=0, retry_after=seconds, jitter=jitter) == seconds


@pytest.mark.parametrize("seconds", [60.1, 9_999.0, 1e300, math.inf, math.nan])
def test_a_wait_longer_than_the_cap_is_not_waited_for(seconds: float) -> None:
    assert RetryPolicy(max_elapsed=1e308).wait(1, elapsed=0, retry_after=seconds, jitter=0) is None


@pytest.mark.parametrize(
    ("elapsed", "retry_after", "expected"),
    [
        (59.0, 1.0, 1.0),
        (59.1, 1.0, None),
        (60.0, 0.0, 0.0),
        (60.1, 0.0, None),
        (59.75, None, 0.25),
        (59.8, None, None),
        (3_600.0, None, None),
    ],
)
def test_the_last_attempt_begins_within_the_time_allowed(
    elapsed: float, retry_after: float | None, expected: float | None
) -> None:
    assert RetryPolicy().wait(1, elapsed=elapsed, retry_after=retry_after, jitter=0) == expected


POSITIVE = st.floats(min_value=1e-6, max_value=1e6)


@given(
    policy=st.builds(
        RetryPolicy,
        attempts=st.integers(1, 10**6),
        max_elapsed=POSITIVE,
        retry_after_cap=POSITIVE,
        initial=POSITIVE,
        factor=POSITIVE,
        max_backoff=POSITIVE,
    ),
    attempt=st.integers(1, 10**6),
    elapsed=st.floats(min_value=0, allow_nan=False),
    retry_after=st.none() | st.floats(min_value=0),
    jitter=st.floats(0, 1),
)
@examples(3)
def test_a_wait_is_finite_not_negative_and_within_every_limit_or_there_is_none(
    policy: RetryPolicy, attempt: int, elapsed: float, retry_after: float | None, jitter: float
) -> None:
    seconds = policy.wait(attempt, elapsed=elapsed, retry_after=retry_after, jitter=jitter)
    if seconds is None:
        return
    assert math.isfinite(seconds)
    assert seconds >= 0
    assert elapsed + seconds <= policy.max_elapsed
    assert seconds <= (policy.max_backoff if retry_after is None else policy.retry_after_cap)
    assert attempt < policy.attempts


@given(text=TEXTS, elapsed=st.floats(0, 60), jitter=st.floats(0, 1))
def test_no_header_makes_a_call_sleep_longer_than_the_policy_allows(text: str, elapsed: float, jitter: float) -> None:
    asked_for = parse_retry_after({"retry-after": text}, now=NOW)
    seconds = RetryPolicy().wait(1, elapsed=elapsed, retry_after=asked_for, jitter=jitter)
    assert seconds is None or 0 <= seconds <= 60
