"""Models and rows for these tests: estimators whose quality is set by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.evaluation import Gate, Verdict, evaluate
from everfit.packages import Field, FittedModel, Kind, Signature


class Says:
    """Answers with one of its input columns: the test decides how good the model is."""

    def __init__(self, column: str) -> None:
        self.column = column

    def predict(self, rows: pl.DataFrame) -> npt.NDArray[Any]:
        return rows[self.column].to_numpy()


class SaysChance(Says):
    """Answers yes with the probability in one of its input columns."""

    classes_ = ("no", "yes")

    def predict(self, rows: pl.DataFrame) -> npt.NDArray[Any]:
        return np.where(rows[self.column].to_numpy() > 0.5, "yes", "no")

    def predict_proba(self, rows: pl.DataFrame) -> npt.NDArray[np.float64]:
        chance = rows[self.column].to_numpy()
        return np.column_stack([1 - chance, chance])


class Breaks:
    """Fails on any row."""

    def predict(self, rows: pl.DataFrame) -> npt.NDArray[Any]:
        raise KeyError("a month it never saw")


def regression(estimator: Any, *inputs: str) -> FittedModel:
    """A regression over number columns; ``kind`` is a category with known values."""
    fields = [Field(name=name, kind=Kind.NUMBER) for name in inputs]
    fields.append(Field(name="kind", kind=Kind.TEXT, categories=("a", "b")))
    output = Field(name="y", kind=Kind.NUMBER)
    return FittedModel(estimator, Signature(inputs=tuple(fields), output=output, task="regression"))


def classification(column: str) -> FittedModel:
    """A yes/no model that says the probability in ``column``."""
    taken = Field(name=column, kind=Kind.NUMBER)
    signature = Signature(
        inputs=(taken,),
        output=Field(name="y", kind=Kind.TEXT, categories=("no", "yes")),
        task="classification",
        classes=("no", "yes"),
    )
    return FittedModel(SaysChance(column), signature)


def rows_of(n: int, *, better: float = 0.2, seed: int = 0, harmed: float = 0.0) -> pl.DataFrame:
    """Rows whose column ``new`` errs by ``better`` less than ``old``, but more where kind is b."""
    rng = np.random.default_rng(seed)
    truth = rng.gamma(4, 25, n)
    error = rng.normal(size=n) * 10
    kind = rng.choice(["a", "b"], n, p=[0.8, 0.2])
    factor = np.where(kind == "b", 1 + harmed if harmed else 1 - better, 1 - better)
    own = rng.normal(size=n) * 2
    start = np.datetime64("2026-01-01T00:00:00", "us")
    return pl.DataFrame(
        {
            "y": truth,
            "old": truth + error,
            "new": truth + error * factor + own,
            "kind": kind,
            "time": start + np.arange(n) * np.timedelta64(3_600_000_000, "us"),
        }
    )


NEW, OLD = regression(Says("new"), "new", "old"), regression(Says("old"), "new", "old")


def judge(
    gate: Gate,
    rows: pl.DataFrame,
    *,
    candidate: FittedModel = NEW,
    champion: FittedModel | None = OLD,
    metric: str = "mae",
    time: str | None = None,
) -> Verdict:
    return evaluate(
        candidate,
        champion,
        rows,
        target="y",
        time=time,
        metric=metric,
        gates=[gate],
        champion_name="champion v3",
    )[0]
