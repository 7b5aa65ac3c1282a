"""Everfit keeps models fit: train, gate, release, watch, learn from late truth, retrain."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everfit.data import Source, Split
    from everfit.errors import EverfitError
    from everfit.sdk import (
        Client,
        Run,
        find_run,
        log,
        log_file,
        log_params,
        runs,
        set_tags,
        start_run,
    )
    from everfit.steps import step

__version__ = "0.1.0"
__all__ = [
    "Client",
    "EverfitError",
    "Run",
    "Source",
    "Split",
    "__version__",
    "find_run",
    "log",
    "log_file",
    "log_params",
    "runs",
    "set_tags",
    "start_run",
    "step",
]

# Loaded on first use: `import everfit` itself stays free of NumPy, SQLAlchemy and the rest.
_HOMES = {
    "Client": "everfit.sdk",
    "EverfitError": "everfit.errors",
    "Run": "everfit.sdk",
    "Source": "everfit.data",
    "Split": "everfit.data",
    "find_run": "everfit.sdk",
    "log": "everfit.sdk",
    "log_file": "everfit.sdk",
    "log_params": "everfit.sdk",
    "runs": "everfit.sdk",
    "set_tags": "everfit.sdk",
    "start_run": "everfit.sdk",
    "step": "everfit.steps",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'everfit' has no attribute {name!r}")
    # Kept: the next use, of `everfit.log` in a loop say, finds it without asking here.
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found
