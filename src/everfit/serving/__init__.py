"""The model server: predictions over HTTP or in process, with canary, shadow and a durable log."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everfit.serving.core import ModelServer
    from everfit.serving.launch import serve
    from everfit.serving.model import Answers, Bounds
    from everfit.serving.predictors import HttpPredictor, LocalPredictor
    from everfit.serving.process import BackgroundServer

__all__ = [
    "Answers",
    "BackgroundServer",
    "Bounds",
    "HttpPredictor",
    "LocalPredictor",
    "ModelServer",
    "serve",
]

# Loaded on first use: a worker needs no client, and its supervisor nothing that answers. No module
# here may be called like a name of the door, for importing it would take the name's place.
_NAMES = {
    "core": ("ModelServer",),
    "launch": ("serve",),
    "model": ("Answers", "Bounds"),
    "predictors": ("HttpPredictor", "LocalPredictor"),
    "process": ("BackgroundServer",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"everfit.serving.{_HOMES[name]}"), name)
