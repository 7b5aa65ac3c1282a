"""A table with everything that real ones have: gaps, rare values, texts, truths of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
import sklearn.ensemble  # noqa: F401 - its OpenMP must be loaded to be limited
import threadpoolctl  # type: ignore[import-untyped]

from everfit.data import Segregation, Split, Task, infer_schema, prepare, segregate

ROWS = 600


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """As in a step worker: side by side with others, OpenMP's waiting threads only burn time."""
    with threadpoolctl.threadpool_limits(1):
        yield


def table(seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    size = random.normal(size=ROWS)
    rooms = random.integers(1, 6, size=ROWS)
    town = random.choice(["aa", "bb", "cc"], size=ROWS, p=[0.6, 0.3, 0.1])
    new = random.random(ROWS) < 0.5
    words = random.choice(["bright flat near the park", "dark flat over a noisy bar"], size=ROWS)
    notes = [f"{text}, number {i} in this list" for i, text in enumerate(words)]
    value = 3 * size + rooms + 2 * (town == "bb") + new + 2 * np.char.startswith(words, "bright")
    value = value + random.normal(scale=0.3, size=ROWS)
    gaps = random.random((2, ROWS)) < 0.05
    frame = pl.DataFrame(
        {"size": size, "rooms": rooms, "town": town, "new": new, "notes": notes, "value": value}
    )
    return frame.with_columns(
        pl.when(pl.Series(gaps[0])).then(None).otherwise(pl.col("size")).alias("size"),
        pl.when(pl.Series(gaps[1])).then(None).otherwise(pl.col("town")).alias("town"),
        dear=pl.when(pl.col("value") > 4).then(pl.lit("yes")).otherwise(pl.lit("no")),
    )


def split_for(task: Task) -> Split:
    frame = table()
    targets = {Task.REGRESSION: "value", Task.CLASSIFICATION: "dear", Task.CLUSTERING: None}
    target = targets[task]
    frame = frame.drop({"value", "dear"} - {target})
    schema = infer_schema(frame, target=target, task=task)
    return segregate(prepare(frame, schema), schema, Segregation(seed=1))


@pytest.fixture(scope="session", params=[Task.REGRESSION, Task.CLASSIFICATION])
def supervised(request: pytest.FixtureRequest) -> Split:
    return split_for(request.param)


@pytest.fixture(scope="session")
def regression() -> Split:
    return split_for(Task.REGRESSION)


@pytest.fixture(scope="session")
def classification() -> Split:
    return split_for(Task.CLASSIFICATION)


@pytest.fixture(scope="session")
def clustering() -> Split:
    return split_for(Task.CLUSTERING)
