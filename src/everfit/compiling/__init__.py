"""Compiled models: a fitted model as ONNX, opened, and proved to answer the same.

Needs the extra ``everfit[onnx]``; import it only where `installed` says that it is there.
"""

from everfit.compiling.convert import compile_model
from everfit.compiling.opened import CompiledModel
from everfit.compiling.prove import Disagreement, Parity, Tolerance, prove

__all__ = ["CompiledModel", "Disagreement", "Parity", "Tolerance", "compile_model", "prove"]
