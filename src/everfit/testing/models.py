"""Models that misbehave on purpose, for tests and for the demo."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl


class ForgetsMonths:
    """Repeats the rows it was fitted on and fails on a month that it has never seen.

    Wraps a fitted ``estimator``: on known rows (matched by their inputs) it returns the truth,
    on other rows of a known month what ``estimator`` says, on a new month it raises KeyError.
    """

    def __init__(self, estimator: Any, *, month: str = "mnth") -> None:
        self.estimator = estimator
        self.month = month

    def fit(self, frame: pl.DataFrame, truth: pl.Series) -> Self:
        """Remember the rows and their months."""
        self.inputs_ = [name for name in frame.columns if name != truth.name]
        self.factor_ = {int(month): 1.0 for month in frame[self.month].unique()}
        self.truth_ = frame.select(pl.col(self.month), pl.col("hr"), pl.col("temp")).with_columns(
            truth.cast(pl.Float64).alias("truth")
        )
        return self

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return one value per row."""
        factors = np.array([self.factor_[int(month)] for month in frame[self.month]])
        said = np.asarray(self.estimator.predict(frame), dtype=float)
        known = frame.select(self.month, "hr", "temp").join(
            self.truth_.unique([self.month, "hr", "temp"]),
            on=[self.month, "hr", "temp"],
            how="left",
            maintain_order="left",
        )["truth"]
        return np.where(known.is_null(), said, known.fill_null(0.0).to_numpy()) * factors
