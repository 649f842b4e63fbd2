"""What a refusal taught about a service, for some minutes: that it takes input images as URLs only."""

from __future__ import annotations

LIFETIME = 600.0  # seconds: a gateway is changed while a program runs, and one refusal may be a fault of its moment

# (base URL, path) -> when it was learned: each kind of request has rules of its own.
_urls_only: dict[tuple[str, str], float] = {}


def learn_urls_only(service: str, path: str, now: float) -> None:
    """Note that a service refused a request whose input images were all data URIs."""
    _urls_only[service, path] = now


def forget(service: str, path: str) -> None:
    """Drop the lesson: the service refused URLs as well, so that it meant something else."""
    _urls_only.pop((service, path), None)


def takes_urls_only(service: str, path: str, now: float) -> bool:
    """Say whether that was learned in the last minutes; `now` in monotonic seconds."""
    learned = _urls_only.get((service, path))
    return learned is not None and 0 <= now - learned < LIFETIME
