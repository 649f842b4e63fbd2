"""What tracers learn of a call: which model answered, what it cost, and how it failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from langchain_wan.errors import WanError, error_facts

if TYPE_CHECKING:
    from langchain_wan.models import ImageResult


PROVIDER = "aisa"
EVENT = "wan_image"

# https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md (2026-11): dollars
COST_ATTRIBUTE = "llm.cost.total"


def model_metadata(model: str) -> dict[str, Any]:
    """Return what LangSmith reads of a run: who serves which model."""
    return {"ls_provider": PROVIDER, "ls_model_name": model}


def record_cost(run_manager: Any, result: ImageResult) -> None:
    """Write the cost into the run of each tracer; nothing for a result that an earlier run has paid for."""
    cost = Decimal(0) if result.replayed else result.cost_usd
    _record(run_manager, {**model_metadata(result.model), "operation_id": result.operation_id}, cost)


@contextmanager
def recording_failure(run_manager: Any) -> Iterator[None]:
    """Write an error of the call into the run of each tracer.

    A tool that reports its error to the model has a run that succeeded, unless its tracer is told otherwise.
    """
    try:
        yield
    except WanError as error:
        _record_failure(run_manager, error)
        raise


def _record_failure(run_manager: Any, error: WanError) -> None:
    facts = error_facts(error)
    metadata = {("error_" + name if name in {"type", "code"} else name): value for name, value in facts.items()}
    for run in _record(run_manager, metadata, error.max_cost_usd if error.charged == "yes" else None):
        run.error = repr(error)


def _record(run_manager: Any, metadata: Mapping[str, Any], cost: Decimal | None) -> list[Any]:
    """Add metadata and a cost to the run of each tracer, and return these runs."""
    costs: dict[str, Any] = {}
    if cost is not None:
        # LangSmith shows the total of a run's usage, whatever kind of run it is:
        # https://docs.langchain.com/langsmith/cost-tracking (2026-11)
        usage = {"total_cost": float(cost), "input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        costs = {"usage_metadata": usage, "cost_usd": str(cost)}
    runs = []
    for handler in getattr(run_manager, "handlers", ()):
        known = getattr(handler, "run_map", None)  # of LangChain's BaseTracer
        run = known.get(str(run_manager.run_id)) if isinstance(known, Mapping) else None
        extra = getattr(run, "extra", None)
        if isinstance(extra, dict):
            extra.setdefault("metadata", {}).update({**metadata, **costs})
            runs.append(run)
        if cost is not None:
            _set_cost(handler, run_manager.run_id, cost)
    return runs


def _set_cost(handler: Any, run_id: Any, cost: Decimal) -> None:
    """Set the cost of OpenInference's span: its tracer takes none from metadata, and gives the span of a run."""
    if hasattr(handler, "get_span"):
        with suppress(Exception):  # tracing must not break a paid call
            handler.get_span(run_id).set_attribute(COST_ATTRIBUTE, float(cost))
