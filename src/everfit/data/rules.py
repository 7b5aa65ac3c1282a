"""The rules that can be expected of a column: how each is written, and which rows fail it."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from everfit.data.times import UTC_TIME

TYPES = ("integer", "number", "text", "boolean", "time")
PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: reads what a policy says (None refuses it), and finds the rows that fail.

    ``failing`` gets the column, its type and what ``read`` returned. Its result is true where
    a value is there and not provably as expected: a text is no number between 0 and 1.
    """

    read: Callable[[Any], object | None]
    remedy: str
    failing: Callable[[pl.Expr, pl.DataType, Any], pl.Expr]


def _read_between(argument: Any) -> object | None:
    """Return (low, high), both numbers or both times, one of them None for an open end."""
    if not isinstance(argument, list | tuple) or len(argument) != 2:
        return None
    ends = [end for end in argument if end is not None]
    if not ends or not (all(map(_is_number, ends)) or all(isinstance(e, dt.date) for e in ends)):
        return None
    if len(ends) == 2 and not _in_order(*ends):
        return None
    return tuple(argument)


def _in_order(low: Any, high: Any) -> bool:
    return bool(_moment(low) <= _moment(high)) if isinstance(low, dt.date) else bool(low <= high)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _moment(value: dt.date) -> dt.datetime:
    """Return a date or time of a policy in UTC."""
    if not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _read_in(argument: Any) -> object | None:
    plain = str | int | float | bool
    if not isinstance(argument, list | tuple) or not argument:
        return None
    return tuple(argument) if all(isinstance(value, plain) for value in argument) else None


def _read_matches(argument: Any) -> object | None:
    """Return the pattern if Polars, whose expressions take linear time, can use it."""
    if not isinstance(argument, str):
        return None
    try:
        pl.Series([""]).str.contains(argument)
    except pl.exceptions.ComputeError:
        return None
    return argument


def _read_share(argument: Any) -> object | None:
    """Return the share 0 to 1 that `5%` or `0` says."""
    if isinstance(argument, str) and (found := PERCENT.fullmatch(argument.strip())):
        share = float(found[1]) / 100
    elif _is_number(argument):
        share = float(argument)
    else:
        return None
    return share if 0 <= share <= 1 else None


def _outside(values: pl.Expr, kind: pl.DataType, bounds: Any) -> pl.Expr:
    low, high = bounds
    of_times = isinstance(low if low is not None else high, dt.date)
    if of_times:
        if not (isinstance(kind, pl.Datetime) or kind == pl.Date):
            return values.is_not_null()
        comparable = _as_moments(values, kind)
        low, high = (None if end is None else pl.lit(_moment(end), UTC_TIME) for end in bounds)
    elif kind.is_numeric() or kind == pl.String:
        comparable = _as_numbers(values, kind)
    else:
        return values.is_not_null()
    inside = pl.lit(value=True)
    if low is not None:
        inside = inside & (comparable >= low)
    if high is not None:
        inside = inside & (comparable <= high)
    return values.is_not_null() & ~inside.fill_null(value=False)


def _as_numbers(values: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return texts as numbers, null where they are none (NaN included)."""
    if kind != pl.String:
        return values
    return values.cast(pl.Float64, strict=False).fill_nan(None)


def _as_moments(values: pl.Expr, kind: pl.DataType) -> pl.Expr:
    if getattr(kind, "time_zone", None):
        return values.dt.convert_time_zone("UTC").cast(UTC_TIME)
    return values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _not_in(values: pl.Expr, kind: pl.DataType, allowed: Any) -> pl.Expr:
    if kind.is_numeric():
        numbers = [float(value) for value in allowed if _is_number(value)]
        return ~values.cast(pl.Float64).is_in(numbers)
    if kind == pl.Boolean:
        return ~values.is_in([value for value in allowed if isinstance(value, bool)])
    return ~values.cast(pl.String).is_in([str(value) for value in allowed])


def _unmatched(values: pl.Expr, kind: pl.DataType, pattern: Any) -> pl.Expr:
    return ~values.cast(pl.String).str.contains(f"^(?:{pattern})$")


def _other_type(values: pl.Expr, kind: pl.DataType, wanted: Any) -> pl.Expr:
    if wanted in ("integer", "number") and (kind.is_numeric() or kind == pl.String):
        numbers = _as_numbers(values, kind)
        fits: pl.Expr = numbers.is_not_null() if wanted == "number" else numbers == numbers.round()
        return values.is_not_null() & ~fits.fill_null(value=False)
    is_time = isinstance(kind, pl.Datetime) or kind == pl.Date
    is_wanted = {"text": kind == pl.String, "boolean": kind == pl.Boolean, "time": is_time}
    return values.is_not_null() & pl.lit(value=not is_wanted.get(wanted, False))


def _repeated(values: pl.Expr, kind: pl.DataType, wanted: Any) -> pl.Expr:
    """Fail every row of a repeated value but the first."""
    return values.is_not_null() & ~values.is_first_distinct()


def _too_often_missing(values: pl.Expr, kind: pl.DataType, most: Any) -> pl.Expr:
    missing = values.is_null()
    seldom: pl.Expr = missing.mean() <= most
    return missing & ~seldom


RULES = {
    "between": Rule(
        read=_read_between,
        remedy="write the least and the greatest, such as [0, 1]; null leaves an end open",
        failing=_outside,
    ),
    "in": Rule(read=_read_in, remedy="write the values, such as [a, b]", failing=_not_in),
    "matches": Rule(
        read=_read_matches,
        remedy="write a regular expression for the whole text, without look-around",
        failing=_unmatched,
    ),
    "type": Rule(
        read=lambda argument: argument if argument in TYPES else None,
        remedy=f"use {', '.join(TYPES)}",
        failing=_other_type,
    ),
    "unique": Rule(
        read=lambda argument: True if argument is True else None,
        remedy="write true, or leave it out",
        failing=_repeated,
    ),
    "missing": Rule(
        read=_read_share,
        remedy="write the share that may be missing, such as 5% or 0",
        failing=_too_often_missing,
    ),
}
