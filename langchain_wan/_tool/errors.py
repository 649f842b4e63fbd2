"""How an error of a call reaches a model: as advice in a message, with what a program needs to know beside it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException
from pydantic import ValidationError

from langchain_wan.errors import InvalidImageRequestError, WanError
from langchain_wan.requests import invalid_request

logger = logging.getLogger("langchain_wan")

# The error of the call under way: the handler of errors does not know the call, and the message's artifact needs it.
current_failures: ContextVar[list[WanError] | None] = ContextVar("langchain_wanfailure_of_call", default=None)


def advice_for_model(error: ToolException) -> str:
    """Return what the model is told of an error; what only the operator can mend goes to the log as an ERROR."""
    if not isinstance(error, WanError):
        return "The tool failed. Tell the user."
    _tell_operator(error)
    return error.advice


def _tell_operator(error: WanError) -> None:
    if error.needs_operator:
        logger.error("%s", error)


def explain_invalid_arguments(error: Any) -> str:
    """Return in one line which arguments were wrong, without quoting them."""
    return invalid_request(error).advice if isinstance(error, ValidationError) else "The arguments are not valid."


class Remembered:
    """Notes the error of the call, so that `run` can put it beside the message.

    Where the tool does not handle its errors, whoever catches them shows their text to a model: it is the advice.
    """

    def __init__(self, handled: object) -> None:
        self._handled = handled

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        failures = current_failures.get()
        if not isinstance(error, WanError):
            return
        if failures is not None:
            failures.append(error)
        if not self._handled:
            _tell_operator(error)
            raise error.for_model() from error


def attach_error(output: Any, failures: Sequence[WanError]) -> Any:
    if isinstance(output, ToolMessage) and output.status == "error":
        # Without an error of ours, the arguments did not fit the schema.
        error = failures[-1] if failures else InvalidImageRequestError("The arguments are not valid.")
        output.artifact = {
            "error": {
                "type": type(error).__name__,
                "code": error.code,
                "charged": error.charged,
                "operation_id": error.operation_id,
                "max_cost_usd": None if error.max_cost_usd is None else str(error.max_cost_usd),
            }
        }
    return output
