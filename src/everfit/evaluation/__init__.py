"""Judging a model version: gates with three outcomes, reports, the model card, importance."""

from everfit.evaluation.card import card
from everfit.evaluation.evaluate import evaluate
from everfit.evaluation.explain import importance
from everfit.evaluation.model import (
    Approve,
    Better,
    Fair,
    Fast,
    Gate,
    NoWorse,
    Outcome,
    Report,
    Sufficient,
    Verdict,
    combined,
    default_gates,
)
from everfit.evaluation.service import decide, find_report, latest_report

__all__ = [
    "Approve",
    "Better",
    "Fair",
    "Fast",
    "Gate",
    "NoWorse",
    "Outcome",
    "Report",
    "Sufficient",
    "Verdict",
    "card",
    "combined",
    "decide",
    "default_gates",
    "evaluate",
    "find_report",
    "importance",
    "latest_report",
]
