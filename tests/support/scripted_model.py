"""The sandbox's chat model, which says what a test tells it to, and messages for its script."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage

from langchain_wan.sandbox.chat_model import ScriptedChatModel

__all__ = ["ScriptedChatModel", "calls"]


def calls(*arguments: dict[str, Any], start: int = 0, name: str = "wan_image") -> AIMessage:
    """A message with one tool call for each set of arguments, numbered `call_0`, `call_1`, ..."""
    made = [
        {"name": name, "args": args, "id": f"call_{number}", "type": "tool_call"}
        for number, args in enumerate(arguments, start)
    ]
    return AIMessage("", tool_calls=made)
