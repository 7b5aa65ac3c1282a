"""XGBoost's and LightGBM's own exact TreeSHAP."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everfit.explaining.additive import SINGLE, by_class, margin
from everfit.explaining.model import Method, Output

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Native:
    """A library's contributions: ``ask`` gives them with the base at the end of each row.

    Shape ``(rows, outputs, columns + 1)``.
    """

    ask: Callable[[Floats], Floats]
    classes: int
    output: Output
    method: Method = Method.TREES
    tolerance: float = SINGLE

    def contributions(self, rows: Floats, chosen: Integers) -> tuple[Floats, Floats]:
        """Return bases and contributions."""
        found = np.asarray(self.ask(rows), dtype=np.float64)
        found = found.reshape(len(rows), -1, rows.shape[1] + 1).swapaxes(1, 2)
        if self.classes:
            found = by_class(found)
        own = found[np.arange(len(rows)), :, chosen]
        return own[:, -1], own[:, :-1]


def native(last: Any, *, classes: int) -> Native | None:
    """Return the contributions of a model of XGBoost's or LightGBM's; None for any other."""
    ask = _xgboost(last) if hasattr(last, "get_booster") else _lightgbm(last)
    if ask is None:
        return None
    return Native(ask=ask, classes=classes, output=margin(classes) if classes else Output.VALUE)


def _xgboost(last: Any) -> Callable[[Floats], Floats]:
    xgboost: Any = importlib.import_module("xgboost")
    booster = last.get_booster()
    best = getattr(last, "best_iteration", None)
    rounds = (0, 0) if best is None else (0, best + 1)
    missing = getattr(last, "missing", np.nan)

    def ask(rows: Floats) -> Floats:
        found: Floats = booster.predict(
            xgboost.DMatrix(rows, missing=missing, nthread=1),
            pred_contribs=True,
            validate_features=False,
            iteration_range=rounds,
        )
        return found

    return ask


def _lightgbm(last: Any) -> Callable[[Floats], Floats] | None:
    if not type(last).__module__.startswith("lightgbm."):
        return None
    basic: Any = importlib.import_module("lightgbm.basic")
    booster = getattr(last, "booster_", last)

    def ask(rows: Floats) -> Floats:
        try:
            found: Floats = booster.predict(rows, pred_contrib=True, num_threads=1)
        except basic.LightGBMError as error:
            raise ValueError(str(error)) from error
        return found

    return ask
