"""Rows made to fit a signature, and the signature that training rows have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import polars as pl

from everfit.errors import DataInvalid, Problem, RowsInvalid
from everfit.kernel import as_utc
from everfit.packages.model import Field, Kind, Scalar, Signature

MAX_PROBLEMS = 20
MAX_CATEGORIES = 1_000
MAX_CATEGORY_CHARACTERS = 200

DTYPES: dict[Kind, pl.DataType] = {
    Kind.NUMBER: pl.Float64(),
    Kind.INTEGER: pl.Int64(),
    Kind.TEXT: pl.String(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.TIME: pl.Datetime("us", "UTC"),
}
_WANTED = {
    Kind.NUMBER: "a finite number",
    Kind.INTEGER: "a whole number",
    Kind.TEXT: "a text",
    Kind.BOOLEAN: "true or false",
    Kind.TIME: "a time such as 2026-01-31T12:00:00Z",
}


def cast(frame: pl.DataFrame, signature: Signature, *, allow_nulls: bool = False) -> pl.DataFrame:
    """Return the columns of ``signature``, in its order and types, from those of ``frame``.

    Every conversion that loses nothing is made: whole floats to integers, numbers spelled as
    text, 0 and 1 to booleans, integers to text, times to UTC. A NaN is a missing value. Other
    columns are ignored, and so are categories and ranges, which only inform.
    ``allow_nulls`` lets missing values pass where training saw none.

    Raises
    ------
    RowsInvalid
        Naming column, row (counted from 0) and value of the first 20 problems.

    Examples
    --------
    >>> wanted = Signature(
    ...     inputs=(Field(name="temp", kind=Kind.NUMBER), Field(name="day", kind=Kind.INTEGER)),
    ...     output=Field(name="cnt", kind=Kind.NUMBER),
    ...     task="regression",
    ... )
    >>> cast(pl.DataFrame({"day": [3.0], "temp": ["0.5"], "more": [1]}), wanted).rows()
    [(0.5, 3)]
    """
    given = set(frame.columns)
    columns: list[pl.Series] = []
    missing: list[Problem] = []
    wrong: list[_Column] = []
    for field in signature.inputs:
        if field.name not in given:
            missing.append(_no_column(field))
            continue
        series = frame.get_column(field.name)
        if not _fits(series, field, nulls=allow_nulls or field.nullable):
            column = _Column(series, field, nulls=allow_nulls or field.nullable)
            wrong.append(column)
            series = column.converted
        columns.append(series)
    count = len(missing) + sum(column.count for column in wrong)
    if count:
        raise _rows_invalid(missing, wrong, count)
    # `select` would start the query engine: ten times slower on a single row.
    return pl.DataFrame(columns) if wrong else frame[signature.names]


def infer_signature(
    frame: pl.DataFrame, target: pl.Series | None, task: str, classes: Sequence[Scalar] = ()
) -> Signature:
    """Return the signature of a model trained on the features in ``frame``.

    A field is nullable if a value is missing in ``frame``: give it every row that is known,
    not those of the training part alone. ``target`` is None for a clustering; ``classes`` are
    the labels in the order of the model's scores.

    Raises
    ------
    DataInvalid
        Naming every column of a type no signature has.
    """
    problems = [
        Problem(
            path=series.name,
            found=f"a column of {series.dtype}",
            remedy="exclude it, or prepare numbers, texts, booleans or times from it",
        )
        for series in frame
        if _kind(series.dtype) is None
    ]
    if problems:
        raise DataInvalid.of("features", problems, hint="Prepare these columns, then train again.")
    return Signature(
        inputs=tuple(_field(series) for series in frame),
        output=_output(target, task, classes),
        task=task,
        classes=tuple(classes),
    )


class _Column:
    """A column that does not fit as it is: what it converts to, and the rows where it cannot."""

    def __init__(self, series: pl.Series, field: Field, *, nulls: bool) -> None:
        self.series = series
        self.field = field
        converted = _CONVERT[field.kind](series)
        self.unsupported = converted is None
        self.converted = series if converted is None else converted
        self.bad = [] if converted is None else _bad_rows(series, converted, nulls=nulls)
        self.count = 1 if converted is None else len(self.bad)
        if field.kind is Kind.NUMBER and not self.count:
            self.converted = self.converted.fill_nan(None)

    def problems(self) -> Iterator[tuple[int, Problem]]:
        """Yield the first problems with their rows; -1 for the column as a whole."""
        wanted = _WANTED[self.field.kind]
        if self.unsupported:
            found = f"a column of {self.series.dtype}"
            yield -1, Problem(path=self.field.name, found=found, remedy=f"send {wanted}")
        for row in self.bad[:MAX_PROBLEMS]:
            value = self.series[row]
            path = f"rows[{row}].{self.field.name}"
            if value is None or (isinstance(value, float) and math.isnan(value)):
                remedy = f"send {wanted}: training never saw this column empty"
                yield row, Problem(path=path, found="no value", remedy=remedy)
            else:
                yield row, Problem(path=path, found=_short(value), remedy=f"send {wanted}")


def _fits(series: pl.Series, field: Field, *, nulls: bool) -> bool:
    """Return whether the column can be used as it is: the usual case, and a quick answer."""
    if series.dtype != DTYPES[field.kind] or (series.null_count() and not nulls):
        return False
    # A finite sum has no NaN or infinity in it, and costs a hundredth of asking each value.
    return field.kind is not Kind.NUMBER or math.isfinite(series.sum())


def _bad_rows(series: pl.Series, converted: pl.Series, *, nulls: bool) -> list[int]:
    empty = series.is_null()
    if series.dtype.is_float():
        empty |= series.is_nan().fill_null(value=False)
    good = converted.is_not_null()
    if converted.dtype.is_float():
        good &= converted.is_finite().fill_null(value=False)
    bad = ~good & ~empty if nulls else ~good
    rows: list[int] = bad.arg_true().to_list()
    return rows


def _rows_invalid(missing: list[Problem], wrong: list[_Column], count: int) -> RowsInvalid:
    found = [
        (row, place, problem)
        for place, column in enumerate(wrong)
        for row, problem in column.problems()
    ]
    found.sort(key=lambda problem: problem[:2])
    problems = [*missing, *(problem for _, _, problem in found)][:MAX_PROBLEMS]
    rest = f" {count - len(problems)} more are not listed." if count > len(problems) else ""
    return RowsInvalid.of("the rows", problems, hint=f"Correct them and send the rows again.{rest}")


def _no_column(field: Field) -> Problem:
    remedy = f"send a column {field.name!r} with {_WANTED[field.kind]} in each row"
    return Problem(path=field.name, found="no such column", remedy=remedy)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _number(series: pl.Series) -> pl.Series | None:
    if series.dtype == pl.String:
        return series.str.strip_chars().cast(pl.Float64, strict=False)
    if series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.Null):
        return series.cast(pl.Float64, strict=False)
    return None


def _integer(series: pl.Series) -> pl.Series | None:
    if series.dtype.is_float() or series.dtype.is_decimal():
        number = series.cast(pl.Float64)
        whole = number.cast(pl.Int64, strict=False)
        return whole.set(whole.cast(pl.Float64) != number, None)
    if series.dtype == pl.String:
        return series.str.strip_chars().cast(pl.Int64, strict=False)
    if series.dtype.is_integer() or series.dtype in (pl.Boolean, pl.Null):
        return series.cast(pl.Int64, strict=False)
    return None


def _text(series: pl.Series) -> pl.Series | None:
    # Not from floats: the category "1" would become "1.0", and so unknown without a word.
    known = (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null)
    if series.dtype.is_integer() or series.dtype in known:
        return series.cast(pl.String)
    return None


def _boolean(series: pl.Series) -> pl.Series | None:
    if series.dtype in (pl.Boolean, pl.Null):
        return series.cast(pl.Boolean)
    if series.dtype == pl.String:
        word = series.str.strip_chars().str.to_lowercase()
        return (word == "true").set(~word.is_in(["true", "false"]), None)
    if series.dtype.is_numeric():
        number = series.cast(pl.Float64)
        return (number == 1).set(~number.is_in([0.0, 1.0]), None)
    return None


def _time(series: pl.Series) -> pl.Series | None:
    if series.dtype == pl.String:
        return pl.Series(series.name, [_moment(text) for text in series], DTYPES[Kind.TIME])
    if isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None:
        return series.dt.convert_time_zone("UTC").cast(DTYPES[Kind.TIME])
    if series.dtype in (pl.Datetime, pl.Date, pl.Null):
        return series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return None


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else as_utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        return None


_CONVERT: dict[Kind, Callable[[pl.Series], pl.Series | None]] = {
    Kind.NUMBER: _number,
    Kind.INTEGER: _integer,
    Kind.TEXT: _text,
    Kind.BOOLEAN: _boolean,
    Kind.TIME: _time,
}


def _kind(dtype: pl.DataType) -> Kind | None:
    if dtype.is_integer():
        return Kind.INTEGER
    if dtype.is_numeric():
        return Kind.NUMBER
    if dtype == pl.Boolean:
        return Kind.BOOLEAN
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return Kind.TEXT
    return Kind.TIME if dtype in (pl.Date, pl.Datetime) else None


def _field(series: pl.Series) -> Field:
    kind = _kind(series.dtype)
    if kind is Kind.TEXT:
        return Field(
            name=series.name,
            kind=kind,
            nullable=series.null_count() > 0,
            categories=_categories(series),
        )
    if kind not in (Kind.NUMBER, Kind.INTEGER):
        return Field(name=series.name, kind=kind or Kind.TIME, nullable=series.null_count() > 0)
    numbers = series.cast(pl.Float64)
    known = numbers.filter(numbers.is_finite())
    return Field(
        name=series.name,
        kind=kind,
        nullable=bool(series.null_count() or numbers.is_nan().any()),
        minimum=_edge(known.min()),
        maximum=_edge(known.max()),
    )


def _edge(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _categories(series: pl.Series) -> tuple[str, ...]:
    """Return the known values, or none where they are too many or too long to be categories."""
    known = series.cast(pl.String).unique().drop_nulls()
    if len(known) > MAX_CATEGORIES or (known.str.len_chars() > MAX_CATEGORY_CHARACTERS).any():
        return ()
    return tuple(known.sort())


def _output(target: pl.Series | None, task: str, classes: Sequence[Scalar]) -> Field:
    if target is None:
        return Field(name="cluster", kind=Kind.INTEGER)
    if task != "classification":
        return Field(name=target.name, kind=Kind.NUMBER)
    kinds = {label_kind(label) for label in classes}
    kind = kinds.pop() if len(kinds) == 1 else Kind.TEXT
    categories = tuple(str(label) for label in classes) if kind is Kind.TEXT else ()
    return Field(name=target.name, kind=kind, categories=categories)


def label_kind(label: Scalar) -> Kind:
    """Return what a class label is."""
    if isinstance(label, bool):
        return Kind.BOOLEAN
    if isinstance(label, int):
        return Kind.INTEGER
    return Kind.NUMBER if isinstance(label, float) else Kind.TEXT
