"""Steps: what they are, how they run in processes of their own, and what is remembered of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everfit.steps.codec import tidied
    from everfit.steps.engine import execute, hand_over, load_value, store_value
    from everfit.steps.logs import StepLogs
    from everfit.steps.model import (
        BLOB,
        Call,
        Heartbeat,
        Progress,
        RunStep,
        Spent,
        StepResult,
        StoredValue,
        quiet,
        step,
    )
    from everfit.steps.pipeline import Function, Pipeline, load_pipeline
    from everfit.steps.pool import StepPool
    from everfit.steps.service import record_values, run_step, run_steps, spent, value_kinds

__all__ = [
    "BLOB",
    "Call",
    "Function",
    "Heartbeat",
    "Pipeline",
    "Progress",
    "RunStep",
    "Spent",
    "StepLogs",
    "StepPool",
    "StepResult",
    "StoredValue",
    "execute",
    "hand_over",
    "load_pipeline",
    "load_value",
    "quiet",
    "record_values",
    "run_step",
    "run_steps",
    "spent",
    "step",
    "store_value",
    "tidied",
    "value_kinds",
]

# Loaded on first use: the process of a step takes a name or two and waits for no database. No
# module here may be called like a name of the door, for importing it would take the name's place.
_NAMES = {
    "codec": ("tidied",),
    "engine": ("execute", "hand_over", "load_value", "store_value"),
    "logs": ("StepLogs",),
    "model": (
        "BLOB",
        "Call",
        "Heartbeat",
        "Progress",
        "RunStep",
        "Spent",
        "StepResult",
        "StoredValue",
        "quiet",
        "step",
    ),
    "pipeline": ("Function", "Pipeline", "load_pipeline"),
    "pool": ("StepPool",),
    "service": ("record_values", "run_step", "run_steps", "spent", "value_kinds"),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'everfit.steps' has no attribute {name!r}")
    return getattr(import_module(f"everfit.steps.{_HOMES[name]}"), name)
