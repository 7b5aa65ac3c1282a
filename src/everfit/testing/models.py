"""Models that misbehave on purpose, for tests and for the demo."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.tree import DecisionTreeRegressor

Floats = npt.NDArray[np.float64]


class ForgetsMonths:
    """Knows the rows it was fitted on almost by heart, and fails on a month it has never seen.

    Judged on those very rows it looks perfect; ``month`` is looked up in a table that holds past
    months only, so that a new one raises KeyError.
    """

    def __init__(self, *, month: str = "mnth") -> None:
        self.month = month

    def fit(self, frame: pl.DataFrame, truth: pl.Series) -> Self:
        """Learn the rows of ``frame`` by heart."""
        self.inputs_ = frame.columns
        self.factor_ = {int(month): 1.0 for month in frame[self.month].unique()}
        self.tree_ = DecisionTreeRegressor(min_samples_leaf=3, random_state=0).fit(
            frame.to_numpy(), truth.to_numpy()
        )
        return self

    def predict(self, frame: pl.DataFrame) -> Floats:
        """Return one value per row."""
        factors = np.array([self.factor_[int(month)] for month in frame[self.month]])
        said: Floats = self.tree_.predict(frame.select(self.inputs_).to_numpy())
        values: Floats = said * factors
        return values
