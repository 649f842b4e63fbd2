"""Fakes of the services, on this machine: the documented API over real HTTP, and a chat model; no key and no cost."""

from typing import TYPE_CHECKING, Any

from langchain_wan.sandbox.app import Sandbox, SandboxRequest

if TYPE_CHECKING:
    from langchain_wan.sandbox.chat_model import ScriptedChatModel, call_tool

__all__ = ["Sandbox", "SandboxRequest", "ScriptedChatModel", "call_tool"]


def __getattr__(name: str) -> Any:
    if name not in ("ScriptedChatModel", "call_tool"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from langchain_wan.sandbox import chat_model  # it loads LangChain, which the server does without

    return getattr(chat_model, name)
