"""Makes estimators that want pandas or NumPy take Polars frames, and answer in one shape."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.packages.model import Scalar

# MLflow's types as NumPy's; a column with gaps keeps what NumPy makes of it.
_DTYPES: Mapping[str, str] = {
    "double": "float64",
    "float": "float32",
    "long": "int64",
    "integer": "int32",
    "boolean": "bool",
    "datetime": "datetime64[ns]",
}


class Adapted:
    """An estimator from outside, asked with Polars frames of its signature's columns."""

    def __init__(self, model: Any, types: Mapping[str, str], *, matrix: bool) -> None:
        self.model = model
        self.types = types
        self._rows_of = as_matrix if matrix else as_table
        # Named as in scikit-learn, where a threshold in the last step decides the label.
        self.steps = getattr(model, "steps", None) or [("model", model)]
        classes = getattr(model, "classes_", None)
        if classes is not None:
            self.classes_ = classes

    def rows(self, frame: pl.DataFrame) -> Any:
        """Return the rows as the model wants them."""
        return self._rows_of(frame, self.types)

    def predict(self, frame: pl.DataFrame) -> NDArray[Any]:
        """Return one answer per row."""
        answers = np.asarray(self.model.predict(self.rows(frame)))
        return answers[:, 0] if answers.ndim == 2 and answers.shape[1] == 1 else answers


class AdaptedScores(Adapted):
    """The same of one that has a probability for each class."""

    def predict_proba(self, frame: pl.DataFrame) -> NDArray[Any]:
        """Return the probabilities of the classes, shape (rows, classes)."""
        return np.asarray(self.model.predict_proba(self.rows(frame)))


class ScoreTable:
    """A model that answers one score per class, with the labels beside them."""

    def __init__(self, model: Any, classes: tuple[Scalar, ...]) -> None:
        self.model = model
        self.classes_ = np.array(classes)

    def predict_proba(self, rows: Any) -> NDArray[Any]:
        """Return the scores of the classes."""
        return np.asarray(self.model.predict(rows))

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the label of the highest score."""
        best: NDArray[Any] = self.classes_[self.predict_proba(rows).argmax(axis=1)]
        return best


def adapted(model: Any, types: Mapping[str, str], *, matrix: bool = False) -> Adapted:
    """Return ``model`` as one that takes Polars frames; ``types`` are MLflow's, by column."""
    # Asked of the model and not of its class: some have it only under some settings.
    kind = AdaptedScores if hasattr(model, "predict_proba") else Adapted
    return kind(model, types, matrix=matrix)


def as_matrix(frame: pl.DataFrame, types: Mapping[str, str]) -> NDArray[Any]:
    """Return the rows as one NumPy matrix of the columns' common type."""
    return np.column_stack([_column(series, types[series.name]) for series in frame])


def as_table(frame: pl.DataFrame, types: Mapping[str, str]) -> Any:
    """Return the rows as a pandas frame; without pandas as a NumPy matrix if all are numbers."""
    columns = {series.name: _column(series, types[series.name]) for series in frame}
    try:
        pandas: Any = importlib.import_module("pandas")
    except ImportError:
        numbers = all(column.dtype.kind in "biuf" for column in columns.values())
        return np.column_stack(list(columns.values())) if numbers else frame
    return pandas.DataFrame(columns)


def _column(series: pl.Series, kind: str) -> NDArray[Any]:
    """Return a column as pandas reads it from a file: what is missing is NaN, or NaT."""
    if kind == "datetime":
        return series.dt.replace_time_zone(None).cast(pl.Datetime("ns")).to_numpy()
    if kind in _DTYPES and not series.null_count():
        return series.to_numpy().astype(_DTYPES[kind])
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).to_numpy()
    values = np.array(series.to_list(), dtype=object)
    values[series.is_null().to_numpy()] = np.nan
    return values
