"""Two versions' scores of the same rows: one answer per row, and the rows of the log. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.packages import label_text
from everfit.serving.model import CANARY, CHAMPION, Answers
from everfit.serving.score import Question, Scored

Array = npt.NDArray[Any]
MOMENT = pl.Datetime("us", "UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scoring:
    """One request and what was said to it.

    ``candidate`` is the version that is rolling out, ``other`` what it said, ``failed`` why it
    said nothing. ``canary`` marks the rows that were assigned to it, shape ``(rows,)``. ``numeric``
    says that predictions are numbers; labels are logged as text.
    """

    ids: list[str]
    rows: Question
    at: datetime
    champion: Scored
    canary: npt.NDArray[np.bool_]
    candidate: int | None = None
    other: Scored | None = None
    failed: str | None = None
    numeric: bool = True


def answers(scoring: Scoring) -> Answers:
    """Return one answer per row: the candidate's on its canary rows, else the champion's."""
    first, other, canary = scoring.champion, scoring.other, scoring.canary
    predictions, scores, versions = first.predictions, first.scores, [first.version] * canary.size
    if other is not None and canary.any():
        predictions = _pick(canary, other.predictions, first.predictions)
        versions = np.where(canary, other.version, first.version).tolist()
        if first.scores is not None and other.scores is not None:
            scores = _pick(canary, other.scores, first.scores)
    return Answers(
        ids=scoring.ids,
        predictions=predictions.tolist(),
        scores=None if scores is None else scores.tolist(),
        versions=versions,
        arms=[CANARY if chosen else CHAMPION for chosen in canary.tolist()],
        candidate=scoring.candidate,
        failed=scoring.failed,
    )


def log_rows(scoring: Scoring, answered: Answers) -> pl.DataFrame:
    """Return the rows to log, in the prediction log's format."""
    rows = len(answered.ids)
    first, other, canary = scoring.champion, scoring.other, scoring.canary
    dtype = pl.Float64() if scoring.numeric else pl.String()
    # Whatever answered a row, the columns `other_` hold the other version's word on it.
    second = None if other is None else _pick(canary, first.predictions, other.predictions)
    second_scores = None
    if other is not None and other.scores is not None and first.scores is not None:
        second_scores = _pick(canary, first.scores, other.scores)
    other_versions: Any = scoring.candidate
    latencies: Any = first.latency_ms
    if other is not None:
        other_versions = np.where(canary, first.version, other.version)
        latencies = np.where(canary, other.latency_ms, first.latency_ms)
    at = _moment("at", scoring.at, rows)
    logged = pl.DataFrame(
        [
            pl.Series("id", answered.ids, dtype=pl.String),
            at,
            (at if scoring.rows.times is None else scoring.rows.times.cast(MOMENT)).alias("time"),
            _column("key", scoring.rows.keys, pl.String(), rows),
            pl.Series("version", answered.versions, dtype=pl.Int64),
            pl.Series("arm", answered.arms, dtype=pl.String),
            _predictions("prediction", answered.predictions, dtype, rows),
            _column("score", answered.scores, pl.Float64(), rows),
            _column("other_version", other_versions, pl.Int64(), rows),
            _predictions("other_prediction", second, dtype, rows),
            _column("other_score", second_scores, pl.Float64(), rows),
            _column("error", scoring.failed, pl.String(), rows),
            _column("latency_ms", latencies, pl.Float64(), rows),
        ]
    )
    inputs = scoring.rows.frame.clone()
    inputs.columns = [f"in.{name}" for name in inputs.columns]
    return logged.hstack(inputs)


def _pick(mask: npt.NDArray[np.bool_], yes: Array, no: Array) -> Array:
    if yes.dtype.kind != no.dtype.kind:
        # NumPy would turn a label 1 into "1" beside a label "a".
        yes, no = yes.astype(object), no.astype(object)
    return np.where(mask, yes, no)


def _moment(name: str, at: datetime, rows: int) -> pl.Series:
    # Ten times faster than to let Polars convert a datetime.
    since = pl.Series(name, [(at - EPOCH) // MICROSECOND], dtype=pl.Int64)
    return since.cast(MOMENT).new_from_index(0, rows)


def _column(name: str, values: Any, dtype: pl.DataType, rows: int) -> pl.Series:
    """Return a column of ``values``, or of one value for every row."""
    if isinstance(values, Sequence | np.ndarray) and not isinstance(values, str):
        return pl.Series(name, values, dtype=dtype)
    return pl.Series(name, [values], dtype=dtype).new_from_index(0, rows)


def _predictions(name: str, values: Any, dtype: pl.DataType, rows: int) -> pl.Series:
    if values is None or dtype == pl.Float64():
        return _column(name, values, dtype, rows)
    labels = values.tolist() if isinstance(values, np.ndarray) else values
    return pl.Series(name, [label_text(label) for label in labels], dtype=dtype)
