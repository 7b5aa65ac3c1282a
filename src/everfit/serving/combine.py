"""Two versions' scores of the same rows: one answer per row, and the rows of the log. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.data import Cells, Constant, TableStream
from everfit.packages import Signature, label_text
from everfit.serving.columns import DTYPES
from everfit.serving.model import CANARY, CHAMPION, Answers
from everfit.serving.plain import Plain
from everfit.serving.score import Question, Scored

Array = npt.NDArray[Any]
MOMENT = pl.Datetime("us", "UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# The columns beside the inputs; predictions are numbers in a regression and else texts.
LOGGED: dict[str, pl.DataType] = {
    "id": pl.String(),
    "at": MOMENT,
    "time": MOMENT,
    "key": pl.String(),
    "version": pl.Int64(),
    "arm": pl.String(),
    "prediction": pl.String(),
    "score": pl.Float64(),
    "other_version": pl.Int64(),
    "other_prediction": pl.String(),
    "other_score": pl.Float64(),
    "error": pl.String(),
    "latency_ms": pl.Float64(),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scoring:
    """One request and what was said to it.

    ``candidate`` is the version that is rolling out, ``other`` what it said, ``failed`` why it
    said nothing. ``canary`` marks the rows that were assigned to it, shape ``(rows,)``.
    ``stream`` is that of the log.
    """

    ids: list[str]
    rows: Question
    stream: TableStream
    at: datetime
    champion: Scored
    canary: npt.NDArray[np.bool_]
    candidate: int | None = None
    other: Scored | None = None
    failed: str | None = None


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


def log_schema(signature: Signature) -> dict[str, pl.DataType]:
    """Return the columns of the prediction log of a model, its inputs last."""
    said = pl.Float64() if signature.task == "regression" else pl.String()
    inputs = {f"in.{field.name}": DTYPES[field.kind] for field in signature.inputs}
    return LOGGED | {"prediction": said, "other_prediction": said} | inputs


def log_message(scoring: Scoring, answered: Answers) -> bytes:
    """Return the rows to log as a message of the log's stream."""
    rows, stream = scoring.rows, scoring.stream
    cells = _cells(scoring, answered)
    if isinstance(rows, Plain):
        return stream.of_columns([*cells, *rows.cells], rows.height)
    logged = [
        _series(name, one, stream.schema[name], rows.height)
        for name, one in zip(LOGGED, cells, strict=True)
    ]
    inputs = [rows.frame[name].alias(f"in.{name}") for name in rows.frame.columns]
    return stream.of_frame(pl.DataFrame([*logged, *inputs]))


def _cells(scoring: Scoring, answered: Answers) -> list[Cells]:
    """Return the columns of ``LOGGED``."""
    first, other, canary = scoring.champion, scoring.other, scoring.canary
    # Whatever answered a row, the columns `other_` hold the other version's word on it.
    second: Cells = Constant(None)
    second_scores: Cells = Constant(None)
    other_versions: Cells = Constant(scoring.candidate)
    latencies: Cells = Constant(first.latency_ms)
    if other is not None:
        second = _pick(canary, first.predictions, other.predictions)
        other_versions = np.where(canary, first.version, other.version)
        latencies = np.where(canary, other.latency_ms, first.latency_ms)
        if other.scores is not None and first.scores is not None:
            second_scores = _pick(canary, first.scores, other.scores)
    at, times = Constant((scoring.at - EPOCH) // MICROSECOND), scoring.rows.times
    keys = scoring.rows.keys
    as_logged = _numbers if scoring.stream.schema["prediction"] == pl.Float64() else _labels
    return [
        answered.ids,
        at,
        at if times is None else times.cast(MOMENT).to_physical().to_list(),
        Constant(None) if keys is None else keys,
        answered.versions,
        answered.arms,
        as_logged(answered.predictions),
        Constant(None) if answered.scores is None else answered.scores,
        other_versions,
        as_logged(second),
        second_scores,
        Constant(scoring.failed),
        latencies,
    ]


def _numbers(values: Cells) -> Cells:
    return values if isinstance(values, Constant) else np.asarray(values, dtype=np.float64)


def _labels(values: Cells) -> Cells:
    if isinstance(values, Constant):
        return values
    labels = values.tolist() if isinstance(values, np.ndarray) else values
    if len(set(map(type, labels))) > 1:
        return [label_text(label) for label in labels]
    # Of one type those that are equal have the same text.
    known = {label: label_text(label) for label in set(labels)}
    return [known[label] for label in labels]


def _series(name: str, cells: Cells, dtype: pl.DataType, rows: int) -> pl.Series:
    stored = pl.Int64() if dtype == MOMENT else dtype
    if isinstance(cells, Constant):
        return pl.Series(name, [cells.value], dtype=stored).cast(dtype).new_from_index(0, rows)
    return pl.Series(name, cells, dtype=stored).cast(dtype)


def _pick(mask: npt.NDArray[np.bool_], yes: Array, no: Array) -> Array:
    if yes.dtype.kind != no.dtype.kind:
        # NumPy would turn a label 1 into "1" beside a label "a".
        yes, no = yes.astype(object), no.astype(object)
    return np.where(mask, yes, no)
