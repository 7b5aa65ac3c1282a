"""Synthetic rows of a fixed seed: twenty numbers, five of them with nulls, and ten texts."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

SEED = 20_261_123
NUMBERS = [f"number_{at:02}" for at in range(20)]
TEXTS = [f"text_{at:02}" for at in range(10)]
WITH_NULLS = NUMBERS[::4]
KINDS = (3, 5, 8, 12, 20)  # different values of a text column, in turn
TARGET = "label"

Row = dict[str, Any]


def table(count: int) -> pl.DataFrame:
    """Return rows with a label of 0 or 1 that some of the columns tell, with noise."""
    dice = np.random.default_rng(SEED)
    columns: dict[str, pl.Series] = {}
    leaning = np.zeros(count)
    for at, name in enumerate(NUMBERS):
        values = dice.normal(loc=at, scale=1 + at / 4, size=count).round(3)
        leaning += (values - at) / (1 + at / 4) * (at % 5 == 1)
        series = pl.Series(name, values)
        if name in WITH_NULLS:
            gone = pl.Series(dice.random(count) < 0.1)
            series = pl.select(pl.when(~gone).then(series).alias(name)).to_series()
        columns[name] = series
    for at, name in enumerate(TEXTS):
        picked = dice.integers(0, KINDS[at % len(KINDS)], size=count)
        leaning += (picked % 3 - 1) * (at % 4 == 0)
        columns[name] = pl.Series(name, [f"value {number}" for number in picked.tolist()])
    label = leaning + dice.logistic(size=count) > 0
    return pl.DataFrame({**columns, TARGET: label.astype(np.int64)})


def asked(count: int) -> list[Row]:
    """Return rows to ask for, as JSON has them."""
    return table(count).drop(TARGET).to_dicts()


def pieces(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Yield the rows in requests of a size."""
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def as_rows(rows: Sequence[Row]) -> bytes:
    """Return a request of rows, as most servers of one's own take it."""
    return json.dumps({"rows": rows}, separators=(",", ":")).encode()


def as_arrow(rows: Sequence[Row]) -> bytes:
    """Return rows as an Arrow stream."""
    content = io.BytesIO()
    frame = pl.DataFrame(rows, infer_schema_length=None)
    frame.write_ipc_stream(content, compat_level=pl.CompatLevel.oldest())
    return content.getvalue()


def as_split(rows: Sequence[Row]) -> bytes:
    """Return a request in MLflow's form with the fewest letters."""
    columns = list(rows[0])
    split = {"columns": columns, "data": [list(row.values()) for row in rows]}
    return json.dumps({"dataframe_split": split}, separators=(",", ":")).encode()


def write(path: Path, count: int) -> None:
    """Write the table that the models are trained on."""
    table(count).write_parquet(path)
