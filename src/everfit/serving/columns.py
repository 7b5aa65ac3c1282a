"""JSON values to typed columns: every value is looked at, every problem is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from everfit.errors import Invalid, Problem, RowsInvalid, TooLarge
from everfit.kernel import as_utc
from everfit.monitoring.model import EARLIEST, LATEST
from everfit.packages import Field, Kind

DTYPES: dict[Kind, pl.DataType] = {
    Kind.NUMBER: pl.Float64(),
    Kind.INTEGER: pl.Int64(),
    Kind.TEXT: pl.String(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.TIME: pl.Datetime("us", "UTC"),
}
REMEDIES = {
    Kind.NUMBER: "write a number",
    Kind.INTEGER: "write a whole number of at most 64 bits",
    Kind.TEXT: "write a text in quotes",
    Kind.BOOLEAN: "write true or false",
    Kind.TIME: "write a time such as 2026-01-31T12:00:00Z",
}
# What needs no second look, by the type of the value alone.
PLAIN: dict[Kind, frozenset[type]] = {
    Kind.NUMBER: frozenset({float, int}),
    Kind.INTEGER: frozenset({int}),
    Kind.TEXT: frozenset({str}),
    Kind.BOOLEAN: frozenset({bool}),
}
MAX_PROBLEMS = 100
HINT = "Correct them all and send the request again; GET /v2/models/NAME lists the inputs."


@dataclass(slots=True)
class Problems:
    """The problems of one request: a hundred are named, the rest are counted."""

    found: list[Problem] = default(default_factory=list)
    more: int = 0

    def add(self, path: str, found: str, remedy: str) -> None:
        """Note one problem."""
        if len(self.found) < MAX_PROBLEMS:
            self.found.append(Problem(path=path, found=found, remedy=remedy))
        else:
            self.more += 1

    def raise_any(self) -> None:
        """Raise RowsInvalid if there is a problem."""
        if not self.found:
            return
        rest = [Problem(path="…", found=f"{self.more} more", remedy="as above")]
        problems = self.found + (rest if self.more else [])
        raise RowsInvalid.of("the request", problems, hint=HINT)


def column(
    field: Field, values: Sequence[Any], problems: Problems, place: Callable[[int], str]
) -> pl.Series:
    """Return ``values`` as the column that ``field`` describes; ``place(row)`` names one value.

    A value that does not fit is noted in ``problems`` and left out of the column as null.
    """
    quick = _plain_column(field, values)
    if quick is not None:
        return quick
    kept: list[Any] = []
    for row, value in enumerate(values):
        if value is None and field.nullable:
            kept.append(None)
            continue
        try:
            kept.append(PARSERS[field.kind](value))
        except (ValueError, TypeError, OverflowError):
            problems.add(place(row), describe(value), remedy(field))
            kept.append(None)
    return pl.Series(field.name, kept, dtype=DTYPES[field.kind])


def _plain_column(field: Field, values: Sequence[Any]) -> pl.Series | None:
    """Return the column where every value is plainly of its kind, else None."""
    kinds = set(map(type, values))
    if field.nullable:
        kinds.discard(type(None))
    if not kinds <= PLAIN.get(field.kind, frozenset()):
        return None
    try:
        series = pl.Series(field.name, values, dtype=DTYPES[field.kind])
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return None  # a whole number of more than 64 bits
    return None if series.dtype.is_float() and not series.is_finite().all() else series


def describe(value: object) -> str:
    """Return ``value`` as a person wrote it in JSON, cut to fit a line."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        # JSON is read deeper than it is written, and so are whole numbers of thousands of digits.
        return "a value that is too deep or too long to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


def remedy(field: Field) -> str:
    """Return what to write for an input of that kind."""
    known = field.categories[:5] if field.kind is Kind.TEXT else ()
    example = f", such as {', '.join(map(repr, known))}" if known else ""
    null = " or null" if field.nullable else ""
    return REMEDIES[field.kind] + example + null


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if number != int(number) or not -(2**63) <= value < 2**63:
        raise ValueError(value)
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _moment(value: Any) -> datetime:
    return as_utc(datetime.fromisoformat(_text(value)))


PARSERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.NUMBER: _number,
    Kind.INTEGER: _integer,
    Kind.TEXT: _text,
    Kind.BOOLEAN: _boolean,
    Kind.TIME: _moment,
}


def as_json(body: bytes) -> Any:
    """Return what the JSON text ``body`` says; raises Invalid if it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(
            f"the body is no JSON: {error}",
            hint='Send JSON in UTF-8, such as {"rows": [{"temp": 0.3}]}; JSON has no NaN.',
        ) from error


def check_count(count: int, most: int) -> None:
    """Refuse a request without rows (RowsInvalid), or with more than ``most`` (TooLarge)."""
    if count == 0:
        raise RowsInvalid("the request has no rows", hint="Send at least one row.")
    if count > most:
        raise TooLarge(
            f"the request has {count:,} rows; one request may have {most:,}",
            hint="Send them in several requests.",
            rows=count,
        )


def keys_and_times(
    keys: Any, times: Any, count: int, problems: Problems
) -> tuple[list[str | None] | None, pl.Series | None]:
    """Return the caller's key and time of each row, as far as it gave any."""
    fields = {
        "keys": Field(name="keys", kind=Kind.TEXT, nullable=True),
        "times": Field(name="times", kind=Kind.TIME),
    }
    found: dict[str, pl.Series | None] = {"keys": None, "times": None}
    for name, given in (("keys", keys), ("times", times)):
        if given is None:
            continue
        if not isinstance(given, list) or len(given) != count:
            problems.add(name, describe(given), f"write a list of {count}, one for each row")
            continue
        found[name] = column(fields[name], given, problems, f"{name}[{{}}]".format)
    moments = found["times"]
    if moments is not None:
        for row in (~moments.is_between(EARLIEST, LATEST)).fill_null(value=False).arg_true():
            problems.add(f"times[{row}]", describe(times[row]), "write the time of the row")
    series = found["keys"]
    return None if series is None else series.to_list(), found["times"]
