"""How MLflow loads a model that Everfit trained: named in the MLmodel file beside the package.

Opening the package runs what it says, in the process of whoever asks for the model by its name:
the same as with every model that MLflow loads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.packages import FittedModel, unpack


class LoadedModel:
    """A model for MLflow's clients: takes frames of pandas or Polars."""

    def __init__(self, fitted: FittedModel) -> None:
        self.fitted = fitted

    def predict(self, model_input: Any, params: object = None) -> NDArray[Any]:
        """Return one prediction per row: label, number or cluster; shape (rows,).

        Raises
        ------
        RowsInvalid
            If columns are missing or values cannot be read.
        """
        return self.fitted.predict(_polars(model_input))

    def predict_proba(self, model_input: Any) -> NDArray[np.float64] | None:
        """Return the classes' probabilities, None where the model has none."""
        return self.fitted.scores(_polars(model_input))

    def get_raw_model(self) -> LoadedModel:
        """Return what MLflow's wrapper hides: this, which gives probabilities too."""
        return self


def _polars(rows: Any) -> pl.DataFrame:
    if isinstance(rows, pl.DataFrame):
        return rows
    # Column by column: pandas' own way into Arrow needs a library that Everfit does without.
    return pl.DataFrame([_series(str(name), rows[name]) for name in rows.columns])


def _series(name: str, column: Any) -> pl.Series:
    if column.dtype.kind in "iufbM":
        return pl.Series(name, column.to_numpy(), nan_to_null=True)
    known = column.notna().to_numpy()
    values = zip(column.tolist(), known, strict=True)
    return pl.Series(name, [value if there else None for value, there in values])


def _load_pyfunc(path: str) -> LoadedModel:
    """Return the model in the package at ``path``; MLflow calls this."""
    return LoadedModel(unpack(Path(path).read_bytes()))
