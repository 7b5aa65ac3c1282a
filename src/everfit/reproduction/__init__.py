"""Reproduction: a training run again from its record, and how near each of its steps comes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everfit.reproduction.model import TOLERANCE, Likeness, Reproduction, Verdict
    from everfit.reproduction.reproduce import reproduce_run

__all__ = ["TOLERANCE", "Likeness", "Reproduction", "Verdict", "reproduce_run"]

# Loaded on first use: the process that compares two values waits for nothing that trains.
_HOMES = {
    "TOLERANCE": "model",
    "Likeness": "model",
    "Reproduction": "model",
    "Verdict": "model",
    "reproduce_run": "reproduce",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'everfit.reproduction' has no attribute {name!r}")
    return getattr(import_module(f"everfit.reproduction.{_HOMES[name]}"), name)
