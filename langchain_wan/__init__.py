"""Wan 2.7 image generation and editing for LangChain: a tool for agents and a Runnable for chains."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from langchain_wan._version import __version__

if TYPE_CHECKING:
    from langchain_wan._sources import ImageSource
    from langchain_wan.budget import Budget, price_usd
    from langchain_wan.client import WanClient
    from langchain_wan.errors import WanConfigurationError, WanError
    from langchain_wan.models import GeneratedImage, ImageFailure, ImageRequest, ImageResult, WanEvent, WanImageInput
    from langchain_wan.retry import RetryPolicy
    from langchain_wan.runnables import WanImageGenerator
    from langchain_wan.store import ImageStore
    from langchain_wan.tools import WanImageTool

_MODULES = {
    "Budget": "budget",
    # Images read from JSON look in the default store, which `store` registers.
    "GeneratedImage": "store",
    "ImageFailure": "models",
    "ImageRequest": "models",
    "ImageResult": "store",
    "ImageSource": "_sources",
    "ImageStore": "store",
    "RetryPolicy": "retry",
    "WanClient": "client",
    "WanConfigurationError": "errors",
    "WanError": "errors",
    "WanEvent": "models",
    "WanImageGenerator": "runnables",
    "WanImageInput": "models",
    "WanImageTool": "tools",
    "price_usd": "budget",
}

__all__ = [
    "Budget",
    "GeneratedImage",
    "ImageFailure",
    "ImageRequest",
    "ImageResult",
    "ImageSource",
    "ImageStore",
    "RetryPolicy",
    "WanClient",
    "WanConfigurationError",
    "WanError",
    "WanEvent",
    "WanImageGenerator",
    "WanImageInput",
    "WanImageTool",
    "__version__",
    "price_usd",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"langchain_wan.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
