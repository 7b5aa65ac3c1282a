"""The logs of an endpoint: predictions, requests and labels, appended before anything else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import polars as pl

from everfit.data import encode_frame
from everfit.errors import Conflict, Invalid, Overloaded, Problem, RowsInvalid
from everfit.kernel import Journal, Position, Workspace, frames
from everfit.monitoring.model import LabelReceipt

UTC_TIME = pl.Datetime("us", "UTC")
# The columns of a logged prediction beside its inputs, which are called "in.<name>".
# `prediction` and `other_prediction` are Float64 in a regression, String in a classification.
PREDICTION_SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String,
    "at": UTC_TIME,
    "time": UTC_TIME,
    "key": pl.String,
    "version": pl.Int64,
    "arm": pl.String,
    "score": pl.Float64,
    "other_version": pl.Int64,
    "other_score": pl.Float64,
    "error": pl.String,
    "latency_ms": pl.Float64,
}
REQUEST_SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "at": UTC_TIME,
    "status": pl.Int64,
    "rows": pl.Int64,
    "latency_ms": pl.Float64,
    "version": pl.Int64,
    "arm": pl.String,
}
PREDICTIONS, REQUESTS, LABELS = "predictions", "requests", "labels"
LABEL_WRITERS = 32

Cursor = Mapping[str, Position]


class EndpointLog:
    """One writer's part of a log; any number of threads may append."""

    def __init__(self, folder: Path, *, writer: str, durable: bool = True) -> None:
        self._journal = Journal(folder, writer=writer, durable=durable)

    def append(self, frame: pl.DataFrame) -> None:
        """Write the rows; they are on disk on return, unless the log was opened not durable."""
        if frame.height:
            self._journal.append(encode_frame(frame))

    def close(self) -> None:
        """Let go of the writer's name."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def log_folder(workspace: Workspace, endpoint: str, kind: str) -> Path:
    """Return where the logs of one kind lie.

    Raises
    ------
    Invalid
        If the endpoint's name could not be a folder of its own.
    """
    if not re.fullmatch(r"[\w.\-][\w.\- ]{0,199}", endpoint) or endpoint in (".", ".."):
        raise Invalid(
            f"{endpoint!r} is no endpoint name",
            hint="Use up to 200 letters, digits, spaces, '.', '_' and '-'.",
        )
    return workspace.home / "log" / endpoint / kind


def prediction_log(
    workspace: Workspace, endpoint: str, *, writer: str, durable: bool = True
) -> EndpointLog:
    """Open the prediction log of an endpoint for one writer (`PREDICTION_SCHEMA` and inputs)."""
    return EndpointLog(log_folder(workspace, endpoint, PREDICTIONS), writer=writer, durable=durable)


def request_log(
    workspace: Workspace, endpoint: str, *, writer: str, durable: bool = True
) -> EndpointLog:
    """Open the request log of an endpoint for one writer (`REQUEST_SCHEMA`)."""
    return EndpointLog(log_folder(workspace, endpoint, REQUESTS), writer=writer, durable=durable)


class LabelLog:
    """One writer's way to hand in labels: opened once by a server or a replay, used often."""

    def __init__(
        self, workspace: Workspace, endpoint: str, *, writer: str = "labels", durable: bool = True
    ) -> None:
        self._clock = workspace.clock
        folder = log_folder(workspace, endpoint, LABELS)
        self._log = EndpointLog(folder, writer=writer, durable=durable)

    def receive(self, frame: pl.DataFrame) -> LabelReceipt:
        """Take in labels: ``label``, with ``id`` or ``key``, and ``at`` (when it was true).

        They are on disk on return and join their predictions at the next sweep. Sending a label
        again changes nothing; another label for the same prediction corrects the first.

        Raises
        ------
        RowsInvalid
            If rows lack a label, or name no prediction.
        """
        checked = _check_labels(frame)
        now = pl.lit(self._clock.now()).cast(UTC_TIME)
        self._log.append(checked.with_columns(at=pl.col("at").fill_null(now)))
        return LabelReceipt(accepted=checked.height)

    def close(self) -> None:
        """Let go of the writer's name."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def receive_labels(workspace: Workspace, endpoint: str, frame: pl.DataFrame) -> LabelReceipt:
    """Take in labels of an endpoint's predictions; see `LabelLog.receive`."""
    for number in range(LABEL_WRITERS):
        try:
            log = LabelLog(workspace, endpoint, writer=f"labels-{number}")
        except Conflict:
            continue  # A server or another command is using this name; the next one is as good.
        with log:
            return log.receive(frame)
    raise Overloaded(
        f"{LABEL_WRITERS} others are handing in labels for {endpoint!r} at this moment",
        hint="Send them again in a moment.",
    )


def _check_labels(frame: pl.DataFrame) -> pl.DataFrame:
    problems = []
    if "label" not in frame.columns or not {"id", "key"} & set(frame.columns):
        problems.append(
            Problem(
                path="columns",
                found=", ".join(frame.columns) or "none",
                remedy="send `label` with `id` or `key`, and `at` if you know it",
            )
        )
        raise RowsInvalid.of("labels", problems, hint="Nothing was kept; send them again.")
    named: list[pl.Expr] = [
        pl.col(name).cast(pl.String) for name in ("id", "key") if name in frame.columns
    ]
    absent = [pl.lit(None, pl.String).alias(n) for n in ("id", "key") if n not in frame.columns]
    label = pl.col("label").fill_nan(None) if frame["label"].dtype.is_float() else pl.col("label")
    checked = frame.select(*named, *absent, label, at=_moments(frame))
    bad = checked.with_row_index("row").filter(
        pl.col("label").is_null() | (pl.col("id").is_null() & pl.col("key").is_null())
    )
    for row in bad.head(10).iter_rows(named=True):
        found = "no label" if row["label"] is None else "neither id nor key"
        problems.append(
            Problem(path=f"rows[{row['row']}]", found=found, remedy="give it or leave the row out")
        )
    if problems:
        hint = f"{bad.height} of {frame.height} rows are wrong; nothing was kept."
        raise RowsInvalid.of("labels", problems, hint=hint)
    return checked


def _moments(frame: pl.DataFrame) -> pl.Expr:
    """Return ``at`` as UTC times; a time without a zone is UTC already."""
    if "at" not in frame.columns:
        return pl.lit(None, UTC_TIME)
    dtype = frame.schema["at"]
    if dtype == pl.String:
        return pl.col("at").str.to_datetime(time_unit="us", time_zone="UTC")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        return pl.col("at").dt.replace_time_zone("UTC").cast(UTC_TIME)
    return pl.col("at").cast(UTC_TIME)


def normalised(table: pl.DataFrame) -> pl.DataFrame:
    """Return logged predictions with the types of `PREDICTION_SCHEMA`.

    A column of nulls alone has no type of its own in the table that a writer logged.
    """
    schema = table.schema
    casts = [
        pl.col(name).cast(dtype)
        for name, dtype in PREDICTION_SCHEMA.items()
        if schema[name] != dtype
    ]
    if schema["other_prediction"] == pl.Null:
        casts.append(pl.col("other_prediction").cast(schema["prediction"]))
    return table.with_columns(casts) if casts else table


def read_log(folder: Path, after: Cursor) -> tuple[list[bytes], dict[str, Position]]:
    """Return the tables logged behind a cursor, encoded, and the cursor behind them."""
    payloads, cursor = [], dict(after)
    for frame in frames(folder, after) if folder.exists() else ():
        payloads.append(frame.payload)
        cursor[frame.writer] = frame.position
    return payloads, cursor
