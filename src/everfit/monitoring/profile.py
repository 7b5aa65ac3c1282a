"""The step of a training that makes the reference profile of the version that it trained."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from everfit.data import Split, Task
from everfit.evaluation import importance
from everfit.measures.scores import losses
from everfit.monitoring.reference import reference_profile
from everfit.packages import FittedModel

# What a column is worth to the model is asked of so many held-out rows: enough to rank columns.
IMPORTANCE_ROWS = 500


def profiled(fitted: FittedModel, segregated: Split, window_seconds: float | None) -> bytes:
    """Return the reference profile: all rows of the split, predictions on the held-out ones.

    Predictions on rows that the model learned from are spread wider than any it makes later. The
    losses that production is held against are those of the held-out rows.
    """
    split = segregated
    return profile_of(
        fitted,
        pl.concat([split.train, split.validation, split.test]),
        split.test,
        truth=(split.schema.target, split.schema.task),
        time=split.schema.time,
        window_seconds=window_seconds,
    )


def profile_of(
    fitted: FittedModel,
    rows: pl.DataFrame,
    held_out: pl.DataFrame,
    *,
    truth: tuple[str | None, Task | None],
    time: str | None,
    window_seconds: float | None,
) -> bytes:
    """Return the reference profile of ``rows``, with the predictions on the held-out ones.

    ``truth`` is the column of the target, if there is one, and the task.
    """
    target, task = truth
    supervised = target is not None and task is not Task.CLUSTERING
    metric = "accuracy" if task is Task.CLASSIFICATION else "mae"
    predictions = fitted.predict(held_out)
    return reference_profile(
        rows,
        fitted.signature.names,
        time=time,
        window=None if window_seconds is None else timedelta(seconds=window_seconds),
        predictions=predictions,
        losses=(
            losses(task, held_out[target].to_numpy(), predictions)
            if supervised and task is not None and target is not None
            else None
        ),
        importance=importance(
            fitted, held_out, target if supervised else None, metric, rows=IMPORTANCE_ROWS
        ),
    )
