"""Training: steps, pipelines, candidates, search, and the trained version with its evidence."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everfit.training.candidates import ALGORITHMS, Algorithm, Parameter, check_candidates
    from everfit.training.conduct import result_of, train
    from everfit.training.engine import execute, load_value, store_value
    from everfit.training.model import (
        EXTRA_TIME,
        CandidateScore,
        CandidateSpec,
        Encoding,
        TrainingRequest,
        TrainingResult,
    )
    from everfit.training.pipeline import Function, Pipeline
    from everfit.training.plan import METRICS, load_pipeline
    from everfit.training.pool import StepPool
    from everfit.training.records import compare_runs
    from everfit.training.reproduce import reproduce_run
    from everfit.training.reproduction import TOLERANCE, Likeness, Reproduction, Verdict
    from everfit.training.rows import collect_history, hold_out
    from everfit.training.service import run_step, run_steps, spent
    from everfit.training.steps import (
        Call,
        Heartbeat,
        Progress,
        RunStep,
        Spent,
        StepResult,
        quiet,
        step,
    )

__all__ = [
    "ALGORITHMS",
    "EXTRA_TIME",
    "METRICS",
    "TOLERANCE",
    "Algorithm",
    "Call",
    "CandidateScore",
    "CandidateSpec",
    "Encoding",
    "Function",
    "Heartbeat",
    "Likeness",
    "Parameter",
    "Pipeline",
    "Progress",
    "Reproduction",
    "RunStep",
    "Spent",
    "StepPool",
    "StepResult",
    "TrainingRequest",
    "TrainingResult",
    "Verdict",
    "check_candidates",
    "collect_history",
    "compare_runs",
    "execute",
    "hold_out",
    "load_pipeline",
    "load_value",
    "quiet",
    "reproduce_run",
    "result_of",
    "run_step",
    "run_steps",
    "spent",
    "step",
    "store_value",
    "train",
]

# Loaded on first use: who only runs steps waits neither for Polars nor for the candidates. No
# module here may be called like a name of the door, for importing it would take the name's place.
_NAMES = {
    "candidates": ("ALGORITHMS", "Algorithm", "Parameter", "check_candidates"),
    "conduct": ("result_of", "train"),
    "engine": ("execute", "load_value", "store_value"),
    "model": (
        "EXTRA_TIME",
        "CandidateScore",
        "CandidateSpec",
        "Encoding",
        "TrainingRequest",
        "TrainingResult",
    ),
    "pipeline": ("Function", "Pipeline"),
    "plan": ("METRICS", "load_pipeline"),
    "pool": ("StepPool",),
    "records": ("compare_runs",),
    "reproduce": ("reproduce_run",),
    "reproduction": ("TOLERANCE", "Likeness", "Reproduction", "Verdict"),
    "rows": ("collect_history", "hold_out"),
    "service": ("run_step", "run_steps", "spent"),
    "steps": (
        "Call",
        "Heartbeat",
        "Progress",
        "RunStep",
        "Spent",
        "StepResult",
        "quiet",
        "step",
    ),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'everfit.training' has no attribute {name!r}")
    return getattr(import_module(f"everfit.training.{_HOMES[name]}"), name)
