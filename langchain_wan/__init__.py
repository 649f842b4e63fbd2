"""Wan 2.7 image generation and editing for LangChain: a tool for agents and a Runnable for chains."""

import importlib
from typing import Any

__version__ = "0.1.0"

# Public names by module, loaded when they are first used. Their types are in `__init__.pyi`.
_MODULES = {
    "Budget": "budget",
    "GeneratedImage": "models",
    "HistoryEntry": "history",
    "ImageFailure": "models",
    "ImageRequest": "requests",
    "ImageResult": "models",
    "ImageSource": "requests",
    "Lineage": "history",
    "RetryPolicy": "retry",
    "WanClient": "client",
    "WanConfigurationError": "errors",
    "WanError": "errors",
    "WanEvent": "models",
    "WanImageGenerator": "runnables",
    "WanImageInput": "_tool.arguments",
    "WanImageTool": "tools",
    "WanStore": "store",
    "price_usd": "budget",
}

__all__ = ["__version__", *_MODULES]  # noqa: PLE0604  each is a string


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
