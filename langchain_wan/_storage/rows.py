"""The row of an operation: how it is written, and what of it is believed when it is read.

A database notices damage to its structure, not to its values: so a row has a digest of what stands in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_wan._storage.operations import Operation
from langchain_wan._storage.states import STATES
from langchain_wan.errors import StoreError, WanError, error_from_json

_TEXTS = ("service", "id", "scope", "fingerprint", "turn", "state", "owner")
_AMOUNTS = ("max_nano", "cost_nano")
_VALUES = (*_TEXTS, *_AMOUNTS, "created_at")
_JSON = ("request", "error", "result")
COLUMNS = (*_VALUES, *_JSON, "digest")
_LATEST = 253_402_214_400  # seconds: the end of the last whole day that a date can have

_REQUEST: Mapping[str, Callable[[Any], bool]] = {
    "model": lambda value: isinstance(value, str),
    "prompt": lambda value: isinstance(value, str),
    "n": lambda value: type(value) is int and value > 0,
    "parents": lambda value: isinstance(value, list) and all(isinstance(parent, str) for parent in value),
    "metadata": lambda value: isinstance(value, dict),
}


def encode(operation: Operation) -> tuple[Any, ...]:
    """Return the values of a row, in the order of `COLUMNS`."""
    values = [getattr(operation, name) for name in _VALUES]
    facts = [getattr(operation, name) for name in _JSON]
    texts = [None if fact is None else json.dumps(dict(fact)) for fact in facts]
    return (*values, *texts, compute_digest([*values, *texts]))


def compute_digest(values: Sequence[Any]) -> str:
    """Return the digest of the values of a row."""
    text = "\0".join(map(str, values)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def is_whole(row: Sequence[Any]) -> bool:
    """Say whether a row is as it was written, without reading what it says."""
    return bool(row[-1] == compute_digest(row[:-1]))


def decode(row: Sequence[Any]) -> Operation:
    """Return the operation that a row describes.

    Raises:
        StoreError: The row is damaged.
    """
    columns: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    del columns["digest"]
    problem = None if is_whole(row) else "its digest is wrong"
    try:
        for name in _JSON:
            columns[name] = None if columns[name] is None else json.loads(columns[name])
        problem = problem or _find_problem(columns)
    except (ValueError, TypeError, RecursionError):
        problem = problem or "a value is not JSON"
    if problem is not None:
        raise build_damaged(columns["id"], columns["service"], problem)
    return Operation(**columns)


def _find_problem(columns: Mapping[str, Any]) -> str | None:
    request, error, result = (columns[name] for name in _JSON)
    checks = {
        "text": all(isinstance(columns[name], str) for name in _TEXTS),
        "state": columns["state"] in STATES,
        "amount": all(type(columns[name]) is int and columns[name] >= 0 for name in _AMOUNTS),
        "time": isinstance(columns["created_at"], float) and 0 <= columns["created_at"] < _LATEST,
        "request": isinstance(request, dict) and all(check(request.get(name)) for name, check in _REQUEST.items()),
        "error": error is None or isinstance(error, dict),
        "result": result is None or (isinstance(result, dict) and _has_images(result)),
    }
    return next((f"its {name} can't be read" for name, is_right in checks.items() if not is_right), None)


def _has_images(result: Mapping[str, Any]) -> bool:
    images = result.get("images")
    return isinstance(images, list) and all(
        isinstance(image, dict) and isinstance(image.get("id"), str) for image in images
    )


def build_damaged(operation_id: object, service: object, problem: str) -> StoreError:
    """Return the error of a row that can't be believed."""
    return StoreError(
        f"The ledger's row of operation {str(operation_id)[:200]!r} at {str(service)[:200]!r} is damaged: {problem}.",
        next_step="Restore the store from a backup, or use a new operation_id after a look at the account.",
    )


def load_error(operation: Operation) -> WanError | None:
    """Return the error with which an operation ended, or None.

    Raises:
        StoreError: It is damaged.
    """
    if operation.error is None:
        return None
    try:
        error = error_from_json(operation.error)
        str(error)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as problem:
        raise build_damaged(operation.id, operation.service, "its error can't be read") from problem
    return error
