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
from langchain_wan._tool.tracing import recording_failure
from langchain_wan.errors import InvalidImageRequestError, WanError, error_facts
from langchain_wan.requests import invalid_request

# Where pydantic's own error, or any recorded one, is missing.
_UNKNOWN = InvalidImageRequestError("The arguments are not valid.", advice="The arguments are not valid.")


def advice_for_model(error: ToolException) -> str | ToolMessage:
    """Return what the model reads of an error; what only the operator can fix is also logged as an ERROR."""
    if not isinstance(error, WanError):
        return "The tool failed. Tell the user."
    _tell_operator(error)
    return _build_content(error)


def _tell_operator(error: WanError) -> None:
    if error.needs_operator:
        logger.error("%s", error)


def explain_invalid_arguments(error: Any) -> str | ToolMessage:
    """Return in one line which arguments were wrong, without quoting them."""
    if isinstance(error, ValidationError):
        return _build_content(invalid_request(error))
    return _build_content(_UNKNOWN)


def _build_content(error: WanError) -> str | ToolMessage:
    # The message is built here where the model made the call, so that tracers get it with its artifact.
    call = find_current_call()
    if call.tool_call_id is None:
        return error.advice
    artifact = {"error": error_facts(error)}
    return ToolMessage(error.advice, artifact=artifact, tool_call_id=call.tool_call_id, name=call.name, status="error")


@contextmanager
def recording_error(run_manager: Any, *, is_handled: bool) -> Iterator[None]:
    """Record an error of the call, for its tracers and so that `attach_error` can put it beside the message.

    Args:
        run_manager: LangChain's, of the call.
        is_handled: Whether the tool turns its errors into messages. Otherwise whoever catches the error shows its text
            to a model, so that the text must be the advice.
    """
    try:
        with recording_failure(run_manager):
            yield
    except WanError as error:
        find_current_call().errors.append(error)
        if is_handled:
            raise
        _tell_operator(error)
        raise error.for_model() from error


def attach_error(output: Any, errors: Sequence[WanError]) -> Any:
    """Return the output of a call; a message with an error gets what a program needs to know of it as artifact.

    A handler of errors that a caller set makes messages without it.
    """
    if isinstance(output, ToolMessage) and output.status == "error" and output.artifact is None:
        # No recorded error means that the arguments did not fit the schema.
        output.artifact = {"error": error_facts(errors[-1] if errors else _UNKNOWN)}
    return output
