"""For programs: predictions and labels over HTTP, runs read, and runs logged."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everfit.sdk.client import Answer, Client
    from everfit.sdk.current import log, log_file, log_params, set_tags, start_run
    from everfit.sdk.local import Run, find_run, runs
    from everfit.sdk.open_run import OpenRun

__all__ = [
    "Answer",
    "Client",
    "OpenRun",
    "Run",
    "find_run",
    "log",
    "log_file",
    "log_params",
    "runs",
    "set_tags",
    "start_run",
]

# Loaded on first use: who only sends rows waits neither for the database nor for what trains.
_HOMES = {
    "Answer": "client",
    "Client": "client",
    "OpenRun": "open_run",
    "Run": "local",
    "find_run": "local",
    "log": "current",
    "log_file": "current",
    "log_params": "current",
    "runs": "local",
    "set_tags": "current",
    "start_run": "current",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'everfit.sdk' has no attribute {name!r}")
    return getattr(import_module(f"everfit.sdk.{_HOMES[name]}"), name)
