"""Compiled models: a fitted model as ONNX, opened, and proved to answer the same.

Networks of PyTorch and Keras need the extra ``everfit[networks]`` to be compiled, not to be run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from everfit.compiling.attempt import Attempt, attempt
from everfit.compiling.prove import Disagreement, Parity, Tolerance, prove

if TYPE_CHECKING:
    from everfit.compiling.convert import compile_model
    from everfit.compiling.opened import CompiledModel

__all__ = [
    "Attempt",
    "CompiledModel",
    "Disagreement",
    "Parity",
    "Tolerance",
    "attempt",
    "compile_model",
    "prove",
]

# Loaded on first use: a server that opens compiled models has no need of the converters.
_HOMES = {
    "CompiledModel": "everfit.compiling.opened",
    "compile_model": "everfit.compiling.convert",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
