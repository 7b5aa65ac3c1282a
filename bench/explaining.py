"""What reasons cost: CPU per explained row, beside that of the prediction, by kind of model.

    python -m bench.explaining

20 numbers and 10 categories, 20,000 rows; the model's own encoder included. Contributions are per
row of 20 in one request; ``alone`` is a request of one row.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import lightgbm
import numpy as np
import polars as pl
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from everfit.explaining import Background, Explainer
from everfit.packages import FittedModel, infer_signature

ROWS, NUMBERS, CATEGORIES = 20_000, 20, 10
AT_ONCE = 20
SECONDS = 1.0


def table() -> tuple[pl.DataFrame, pl.Series]:
    """Return rows and their classes."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"n{i}": rng.normal(size=ROWS) for i in range(NUMBERS)}
    columns |= {f"c{i}": rng.choice(list("abcdefgh"), ROWS) for i in range(CATEGORIES)}
    frame = pl.DataFrame(columns)
    pull = columns["n0"] * columns["n1"] + columns["n2"] + (columns["c0"] == "a")
    return frame, pl.Series("y", (pull + rng.normal(size=ROWS) > 0).astype(np.int64))


def models() -> Iterator[tuple[str, Any, bool]]:
    """Yield the name of each, the last step, and whether its encoder is one for trees."""
    yield "logistic", LogisticRegression(max_iter=500), False
    yield "XGBoost, 100 x depth 6", xgboost.XGBClassifier(n_jobs=1), True
    yield "LightGBM, 100 x 31 leaves", lightgbm.LGBMClassifier(n_jobs=1, verbose=-1), True
    yield "histogram boosting, 100 x 31 leaves", HistGradientBoostingClassifier(), True
    yield "forest, 100 x depth 10", RandomForestClassifier(100, max_depth=10), True
    yield "forest, 100 x full depth", RandomForestClassifier(100), True
    yield "15 nearest (by sampling)", KNeighborsClassifier(15), False


def encoder(*, trees: bool) -> ColumnTransformer:
    """Return the encoder of 30 columns."""
    numbers = [f"n{i}" for i in range(NUMBERS)]
    categories = [f"c{i}" for i in range(CATEGORIES)]
    return ColumnTransformer(
        [
            ("numbers", "passthrough" if trees else StandardScaler(), numbers),
            ("rest", OrdinalEncoder() if trees else OneHotEncoder(), categories),
        ],
        sparse_threshold=0.0,
    )


def spent(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call, the least of several."""
    work()
    least, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    return least


def main() -> None:
    """Print a row per kind of model, in microseconds of CPU per row."""
    frame, truth = table()
    print("| us per row | method | predicted | explained | alone | contributions | made in ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, model, trees in models():
        pipeline = make_pipeline(encoder(trees=trees), model).fit(frame, truth.to_numpy())
        fitted = FittedModel(pipeline, infer_signature(frame, truth, "classification", [0, 1]))
        background = Background(frame=frame[:5_000], name="bench")
        start = time.process_time()
        made = Explainer(fitted, background)
        ready = time.process_time() - start
        some = frame[:AT_ONCE]
        predicted = spent(lambda fitted=fitted, some=some: fitted.predict(some)) / AT_ONCE  # type: ignore[misc]
        explained = spent(lambda made=made, some=some: made.explain(some)) / AT_ONCE  # type: ignore[misc]
        alone = spent(lambda made=made, some=some: made.explain(some[:1]))  # type: ignore[misc]
        figures = (predicted, explained, alone, explained - predicted)
        cells = " | ".join(f"{1e6 * figure:,.0f}" for figure in figures)
        print(f"| {name} | {made.method} | {cells} | {1e3 * ready:,.0f} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
