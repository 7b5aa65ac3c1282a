"""The logs of an endpoint: predictions, requests and labels, appended before anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

import polars as pl

from everfit.data import TableStream
from everfit.errors import Conflict, Invalid, Overloaded, Problem, RowsInvalid
from everfit.kernel import ARROW, Journal, Position, Workspace, as_utc, frames
from everfit.monitoring.model import EARLIEST, LATEST, LabelReceipt
from everfit.packages import label_texts
from everfit.registry import champion, newest_signature

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
    "cpu_ms": pl.Float64,
    "gib_seconds": pl.Float64,
}
# The arm of what asked only whether there is a model: nobody's request.
PROBE = "probe"
PREDICTIONS, REQUESTS, LABELS = "predictions", "requests", "labels"
LABEL_WRITERS = 32
# So many wrong labels are named; the rest are counted.
MAX_PROBLEMS = 10

Cursor = Mapping[str, Position]


class EndpointLog:
    """One writer's part of a log, an Arrow stream in files; any number of threads may append."""

    def __init__(self, folder: Path, *, writer: str, durable: bool = True) -> None:
        self._journal = Journal(folder, writer=writer, durable=durable, framing=ARROW)
        self._stream: TableStream | None = None

    def append(self, frame: pl.DataFrame) -> None:
        """Write the rows; they are on disk on return, unless the log was opened not durable."""
        if frame.height:
            # Dictionaries would be messages of their own, which not every reader takes anew.
            rows = frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
            stream = self._stream
            if stream is None or stream.schema != rows.schema:
                stream = self._stream = TableStream(rows.schema)
            self.append_message(stream, stream.of_frame(rows))

    def append_message(self, stream: TableStream, message: bytes) -> None:
        """Write one message of a stream, as ``append`` writes rows."""
        self._journal.append(message, preamble=stream.preamble)

    def append_messages(self, stream: TableStream, messages: Sequence[bytes]) -> None:
        """Write several messages of a stream in one go: where that fails, none of them is kept."""
        if messages:
            self._journal.append(b"".join(messages), preamble=stream.preamble)

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
    """One writer's way to hand in labels: opened once by a server or a replay, used often.

    ``numeric`` says whether the endpoint predicts quantities, so that its labels must be numbers;
    None where that is not known.
    """

    def __init__(
        self,
        workspace: Workspace,
        endpoint: str,
        *,
        writer: str = "labels",
        durable: bool = True,
        numeric: bool | None = None,
    ) -> None:
        self._clock = workspace.clock
        self._numeric = numeric
        folder = log_folder(workspace, endpoint, LABELS)
        self._log = EndpointLog(folder, writer=writer, durable=durable)

    def receive(self, frame: pl.DataFrame, *, numeric: bool | None = None) -> LabelReceipt:
        """Take in labels: ``label``, with ``id`` or ``key``, and ``at`` (when it was true).

        They are on disk on return and join their predictions at the next sweep. Sending a label
        again changes nothing; another label for the same prediction corrects the first.
        ``numeric``, if given, stands in the place of what the log was opened with.

        Raises
        ------
        RowsInvalid
            Naming the rows that lack a label or have one that does not fit, name no prediction,
            or have a time that cannot be read.
        """
        numeric = self._numeric if numeric is None else numeric
        checked = _check_labels(frame, numeric=numeric)
        now = pl.lit(self._clock.now()).cast(UTC_TIME)
        # Of one type, whatever they were sent as: a log of one schema stays one stream.
        label = checked["label"].cast(pl.Float64) if numeric else label_texts(checked["label"])
        self._log.append(checked.with_columns(label, at=pl.col("at").fill_null(now)))
        return LabelReceipt(accepted=checked.height)

    def close(self) -> None:
        """Let go of the writer's name."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def receive_labels(workspace: Workspace, endpoint: str, frame: pl.DataFrame) -> LabelReceipt:
    """Take in labels of an endpoint's predictions; see `LabelLog.receive`.

    They must be numbers where the version that answers, or else the newest, predicts numbers.
    """
    numeric = _is_numeric(workspace, endpoint)
    for number in range(LABEL_WRITERS):
        try:
            log = LabelLog(workspace, endpoint, writer=f"labels-{number}", numeric=numeric)
        except Conflict:
            continue  # A server or another command is using this name; the next one is as good.
        with log:
            return log.receive(frame)
    raise Overloaded(
        f"{LABEL_WRITERS} others are handing in labels for {endpoint!r} at this moment",
        hint="Send them again in a moment.",
    )


def _is_numeric(workspace: Workspace, endpoint: str) -> bool | None:
    """Return whether the endpoint's labels are numbers, or None if it has no version yet."""
    with workspace.reading() as tx:
        version = champion(tx, endpoint)
        signature = version.signature if version else newest_signature(tx, endpoint)
    return None if signature is None else signature.task == "regression"


def _check_labels(frame: pl.DataFrame, *, numeric: bool | None) -> pl.DataFrame:
    """Return ``id``, ``key``, ``label`` and ``at`` of every row, or raise RowsInvalid."""
    if "label" not in frame.columns or not {"id", "key"} & set(frame.columns):
        raise _refused(
            "columns",
            ", ".join(frame.columns) or "none",
            "send `label` with `id` or `key`, and `at` if you know it",
        )
    names = {
        name: frame[name].cast(pl.String)
        if name in frame.columns
        else pl.repeat(None, frame.height, dtype=pl.String, eager=True)
        for name in ("id", "key")
    }
    label = as_numbers(frame["label"]) if numeric else frame["label"]
    label = label.fill_nan(None) if label.dtype.is_float() else label
    checked = pl.DataFrame({**names, "label": label, "at": _moments(frame)})
    for name in ("id", "key", "label"):
        _refuse_control(checked[name])
    bad = [problem for row in _suspects(frame, checked) for problem in _row_problems(*row)]
    if bad:
        rest = f" {len(bad) - MAX_PROBLEMS} more are not listed." if len(bad) > MAX_PROBLEMS else ""
        raise RowsInvalid.of(
            "labels",
            bad[:MAX_PROBLEMS],
            hint=f"Of {frame.height} rows nothing was kept; correct them and send all again.{rest}",
        )
    return checked


def _refuse_control(texts: pl.Series) -> None:
    """Raise RowsInvalid for a NUL, which not every database can keep."""
    if texts.dtype == pl.String:
        for row in texts.str.contains("\0", literal=True).arg_true().head(1):
            raise _refused(f"rows[{row}].{texts.name}", _short(texts[row]), "leave out the NUL")


def _refused(path: str, found: str, remedy: str) -> RowsInvalid:
    problem = Problem(path=path, found=found, remedy=remedy)
    return RowsInvalid.of("labels", [problem], hint="Nothing was kept; send them again.")


Row = tuple[int, Mapping[str, object], Mapping[str, object]]


def _suspects(frame: pl.DataFrame, checked: pl.DataFrame) -> Iterator[Row]:
    """Yield the number of every row that may be wrong, as it was given and as it was read."""
    wrong = checked["label"].is_null() | (checked["id"].is_null() & checked["key"].is_null())
    if "at" in frame.columns:
        wrong |= checked["at"].is_null() & frame["at"].is_not_null()
    suspects = checked.with_row_index("row").filter(wrong)
    for read in suspects.iter_rows(named=True):
        yield read["row"], frame.row(read["row"], named=True), read


def _row_problems(
    number: int, given: Mapping[str, object], read: Mapping[str, object]
) -> list[Problem]:
    """Return what is wrong with one row; a time that was not given is not."""
    path, found = f"rows[{number}]", []
    if read["label"] is None:
        nothing = given["label"] is None or given["label"] != given["label"]
        said, remedy = "no label", "give it or leave the row out"
        if not nothing:
            said, remedy = f"the label {_short(given['label'])}", "give a finite number"
        found.append(Problem(path=path, found=said, remedy=remedy))
    if read["id"] is None and read["key"] is None:
        remedy = "give one or leave the row out"
        found.append(Problem(path=path, found="neither id nor key", remedy=remedy))
    if read["at"] is None and given.get("at") is not None:
        said = f"the time {_short(given['at'])}"
        found.append(Problem(path=path, found=said, remedy="write 2026-01-31T12:00:00Z"))
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_numbers(labels: pl.Series) -> pl.Series:
    """Return labels as finite numbers, null where one is none.

    Examples
    --------
    >>> as_numbers(pl.Series(["3.5", " 4 ", "abc", "inf"])).to_list()
    [3.5, 4.0, None, None]
    >>> as_numbers(pl.Series([True])).to_list()
    [None]
    """
    if labels.dtype in (pl.String, pl.Categorical, pl.Enum):
        labels = labels.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    elif not labels.dtype.is_numeric():
        return pl.repeat(None, len(labels), dtype=pl.Float64, eager=True)
    return labels.set(~labels.is_finite(), None) if labels.dtype.is_float() else labels


def _moments(frame: pl.DataFrame) -> pl.Series:
    """Return ``at`` as UTC times, null where it says none; one without a zone is UTC already."""
    if "at" not in frame.columns:
        return pl.repeat(None, frame.height, dtype=UTC_TIME, eager=True)
    given = frame["at"]
    if given.dtype == pl.String:
        return pl.Series("at", [_moment(text) for text in given], UTC_TIME)
    if isinstance(given.dtype, pl.Datetime) and given.dtype.time_zone is None:
        return given.dt.replace_time_zone("UTC").cast(UTC_TIME)
    if isinstance(given.dtype, pl.Datetime) or given.dtype in (pl.Date, pl.Null):
        return given.cast(UTC_TIME)
    raise _refused("at", f"a column of {given.dtype}", "write times such as 2026-01-31T12:00:00Z")


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else as_utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        return None


def normalised(table: pl.DataFrame) -> pl.DataFrame:
    """Return logged predictions with the types of `PREDICTION_SCHEMA`.

    A column of nulls alone has no type of its own in the table that a writer logged. A row whose
    time lies outside all that can be watched has that of its answer.
    """
    inside = table["time"].is_between(EARLIEST, LATEST)
    if not inside.all():
        own = pl.when(inside).then("time").otherwise("at")
        table = table.with_columns(own.alias("time"))
    schema = table.schema
    casts = [
        pl.col(name).cast(dtype)
        for name, dtype in PREDICTION_SCHEMA.items()
        if schema[name] != dtype
    ]
    if schema["other_prediction"] == pl.Null:
        casts.append(pl.col("other_prediction").cast(schema["prediction"]))
    return table.with_columns(casts) if casts else table


def asked(requests: pl.DataFrame) -> pl.DataFrame:
    """Return the requests without the probes among them."""
    return requests.filter(pl.col("arm").ne_missing(PROBE))


def read_log(folder: Path, after: Cursor) -> tuple[list[bytes], dict[str, Position]]:
    """Return the tables logged behind a cursor, encoded, and the cursor behind them."""
    payloads, cursor = [], dict(after)
    for frame in frames(folder, after) if folder.exists() else ():
        payloads.append(frame.payload)
        cursor[frame.writer] = frame.position
    return payloads, cursor
