"""Training: candidates, search, and the trained version with its evidence."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everfit.training.candidates import ALGORITHMS, Algorithm, Parameter, check_candidates
    from everfit.training.conduct import KIND, result_of, train
    from everfit.training.model import (
        EXTRA_TIME,
        CandidateScore,
        CandidateSpec,
        Encoding,
        TrainingRequest,
        TrainingResult,
    )
    from everfit.training.plan import METRICS, load_pipeline
    from everfit.training.recipe import RecordedStep
    from everfit.training.records import compare_runs
    from everfit.training.rows import collect_history, hold_out
    from everfit.training.service import get_recipe

__all__ = [
    "ALGORITHMS",
    "EXTRA_TIME",
    "KIND",
    "METRICS",
    "Algorithm",
    "CandidateScore",
    "CandidateSpec",
    "Encoding",
    "Parameter",
    "RecordedStep",
    "TrainingRequest",
    "TrainingResult",
    "check_candidates",
    "collect_history",
    "compare_runs",
    "get_recipe",
    "hold_out",
    "load_pipeline",
    "result_of",
    "train",
]

# Loaded on first use: who opens a fitted model, or runs one stage, waits only for what that takes.
# No module here may be called like a name of the door, for importing it would take its place.
_NAMES = {
    "candidates": ("ALGORITHMS", "Algorithm", "Parameter", "check_candidates"),
    "conduct": ("KIND", "result_of", "train"),
    "model": (
        "EXTRA_TIME",
        "CandidateScore",
        "CandidateSpec",
        "Encoding",
        "TrainingRequest",
        "TrainingResult",
    ),
    "plan": ("METRICS", "load_pipeline"),
    "recipe": ("RecordedStep",),
    "records": ("compare_runs",),
    "rows": ("collect_history", "hold_out"),
    "service": ("get_recipe",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'everfit.training' has no attribute {name!r}")
    return getattr(import_module(f"everfit.training.{_HOMES[name]}"), name)
