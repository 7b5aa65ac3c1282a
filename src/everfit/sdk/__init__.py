"""One client for predictions and labels over HTTP, and the runs of a project in this process."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everfit.sdk.client import Answer, Client
    from everfit.sdk.local import Run, find_run, runs

__all__ = ["Answer", "Client", "Run", "find_run", "runs"]

# Loaded on first use: who only sends rows waits neither for the database nor for what trains.
_HOMES = {
    "Answer": "client",
    "Client": "client",
    "Run": "local",
    "find_run": "local",
    "runs": "local",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'everfit.sdk' has no attribute {name!r}")
    return getattr(import_module(f"everfit.sdk.{_HOMES[name]}"), name)
