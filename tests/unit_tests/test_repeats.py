"""Calls that only differ in how often one run of a node has made them."""

from __future__ import annotations

import gc

from langchain_wan._tool import repeats
from langchain_wan._tool.repeats import REMEMBERED_ATTEMPTS, SameObject, count_repeats


def test_each_attempt_counts_its_own_calls() -> None:
    assert [count_repeats("first", "fox") for _ in range(3)] == [0, 1, 2]
    assert count_repeats("first", "hare") == 0
    assert count_repeats("second", "fox") == 0


def test_a_new_object_is_another_attempt_even_at_the_address_of_an_old_one() -> None:
    for _ in range(50):
        assert count_repeats(SameObject(object()), "fox") == 0
        gc.collect(0)
    scratchpad = object()
    assert [count_repeats(SameObject(scratchpad), "fox") for _ in range(2)] == [0, 1]


def test_old_attempts_are_forgotten() -> None:
    for number in range(REMEMBERED_ATTEMPTS + 5):
        count_repeats(number, "fox")
    assert len(repeats._attempts) <= REMEMBERED_ATTEMPTS
