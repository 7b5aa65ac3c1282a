"""The rows that a model learns from: logged inputs beside the truth that came later."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from everfit.monitoring.model import INPUT
from everfit.monitoring.segments import stack

NOTHING = pl.DataFrame()


def learnable(
    labels: pl.DataFrame,
    tables: Iterable[pl.DataFrame],
    *,
    target: str,
    time: str | None,
    key: str | None,
) -> pl.DataFrame:
    """Return the inputs of labelled predictions with their label as ``target``, by time.

    ``labels`` has one row per prediction; ``tables`` are logged predictions among which they are.
    A label is a number where the prediction is one. ``key`` names the column for the rows' keys,
    if that is no input.
    """
    numeric = labels.schema["prediction"].is_numeric()
    label = pl.col("label").cast(pl.Float64, strict=False) if numeric else pl.col("label")
    truth = labels.select(pl.col("id").alias(ID), label.alias(target))
    held = [table for table in tables if table.height]
    if not held:
        return NOTHING
    rows = stack(held)
    inputs = [pl.col(n).alias(n.removeprefix(INPUT)) for n in rows.columns if n.startswith(INPUT)]
    if time is not None and INPUT + time not in rows.columns:
        inputs.append(pl.col("time").alias(time))
    if key is not None and INPUT + key not in rows.columns:
        inputs.append(pl.col("key").alias(key))
    given = rows.select(pl.col("id").alias(ID), pl.col("time").alias(TIME), *inputs)
    joined = given.join(truth, on=ID, how="inner").sort(TIME, ID).drop(TIME, ID)
    return joined.drop_nulls(target)


# No input is called so: inputs lose their prefix, this keeps it.
TIME, ID = INPUT + "time of the row", INPUT + "id of the row"
