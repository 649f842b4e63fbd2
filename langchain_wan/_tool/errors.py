"""How an error of a call reaches a model: as advice in a message, with what a program needs to know beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException
from pydantic import ValidationError

from langchain_wan._text.logs import logger
from langchain_wan._tool.current_call import find_current_call
from langchain_wan.errors import InvalidImageRequestError, WanError
from langchain_wan.requests import invalid_request


def advice_for_model(error: ToolException) -> str:
    """Return what the model reads of an error; what only the operator can fix is also logged as an ERROR."""
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


@contextmanager
def recording_error(*, is_handled: bool) -> Iterator[None]:
    """Record an error of the call, so that `attach_error` can put it beside the message.

    Args:
        is_handled: Whether the tool turns its errors into messages. Otherwise whoever catches the error shows its text
            to a model, so that the text must be the advice.
    """
    try:
        yield
    except WanError as error:
        find_current_call().errors.append(error)
        if is_handled:
            raise
        _tell_operator(error)
        raise error.for_model() from error


def attach_error(output: Any, errors: Sequence[WanError]) -> Any:
    """Return the output of a call; a message with an error gets what a program needs to know of it as artifact."""
    if isinstance(output, ToolMessage) and output.status == "error":
        # No recorded error means that the arguments did not fit the schema.
        error = errors[-1] if errors else InvalidImageRequestError("The arguments are not valid.")
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
