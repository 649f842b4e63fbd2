"""How many examples Hypothesis tries: a fifth in everyday runs, all of them with `--hypothesis-profile=thorough`."""

from __future__ import annotations

from hypothesis import settings


def load_quick_profile() -> None:
    # Examples differ in length, and machines in speed: there is no deadline.
    settings.register_profile("thorough", deadline=None, max_examples=100)
    settings.register_profile("quick", deadline=None, max_examples=20)
    settings.load_profile("quick")


def examples(times: int) -> settings:
    """So many times the examples of the profile, where the input has many forms."""
    return settings(max_examples=times * settings().max_examples)


def slow_examples(thorough: int) -> settings:
    """So many with the thorough profile, and a twenty-fifth in everyday runs: examples that start processes."""
    is_thorough = settings().max_examples == settings.get_profile("thorough").max_examples
    return settings(max_examples=thorough if is_thorough else thorough // 25)
