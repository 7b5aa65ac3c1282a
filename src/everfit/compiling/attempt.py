"""Compiles a model and proves it, or says why the native one serves. Never raises for a model."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass

import polars as pl

from everfit.compiling.prove import Parity, Tolerance, prove
from everfit.errors import EverfitError
from everfit.packages import FittedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How compiling a model went: its content where it may serve, else the reason it may not.

    ``seconds`` is what converting, opening and proving took.
    """

    content: bytes | None
    reason: str
    parity: Parity | None
    seconds: float


def attempt(fitted: FittedModel, rows: pl.DataFrame, tolerance: Tolerance | None = None) -> Attempt:
    """Return the compiled model if it answers ``rows`` as ``fitted`` does, else why there is none.

    Whatever goes wrong is a reason, for a model that cannot be compiled serves natively.
    """
    started = time.perf_counter()
    content, reason, parity = _tried(fitted, rows, tolerance)
    seconds = time.perf_counter() - started
    return Attempt(content=content, reason=reason, parity=parity, seconds=seconds)


def _tried(
    fitted: FittedModel, rows: pl.DataFrame, tolerance: Tolerance | None
) -> tuple[bytes | None, str, Parity | None]:
    try:
        content: bytes = importlib.import_module("everfit.compiling.convert").compile_model(fitted)
        opened = importlib.import_module("everfit.compiling.opened")
        parity = prove(fitted, opened.CompiledModel(content, fitted.signature), rows, tolerance)
    except EverfitError as error:
        return None, error.message, None
    except Exception as error:  # noqa: BLE001 - converters of other projects raise what they like
        return None, f"compiling raised {type(error).__name__}: {error}"[:500], None
    return (content if parity.equal else None), str(parity), parity
