"""What tracers learn of a call: which model answered, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_wan.models import ImageResult


PROVIDER = "aisa"
EVENT = "wan_image"


def model_metadata(model: str) -> dict[str, Any]:
    """Return what LangSmith reads of a run: who serves which model."""
    return {"ls_provider": PROVIDER, "ls_model_name": model}


def record_cost(run_manager: Any, result: ImageResult) -> None:
    """Write the cost into the run of each tracer, where LangSmith shows it; tracing must not break a paid call."""
    usage = {"total_cost": float(result.cost_usd), "input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    metadata = {**model_metadata(result.model), "usage_metadata": usage, "cost_usd": str(result.cost_usd)}
    for handler in getattr(run_manager, "handlers", ()):
        runs = getattr(handler, "run_map", None)
        run = runs.get(str(run_manager.run_id)) if isinstance(runs, Mapping) else None
        extra = getattr(run, "extra", None)
        if isinstance(extra, dict):
            extra.setdefault("metadata", {}).update(metadata)
