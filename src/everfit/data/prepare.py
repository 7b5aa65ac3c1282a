"""Prepare: the cleaning that needs no fitting. What must be fitted belongs to the model."""

from __future__ import annotations

import polars as pl

from everfit.data.clean import clean
from everfit.data.infer import refuse_missing_target, unknown_name
from everfit.data.model import Column, Role, Schema
from everfit.data.times import event_times, parse_times
from everfit.errors import DataInvalid, Problem

SHOWN = 5


def prepare(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the schema's columns, cleaned, with times as UTC times and the time column made.

    Row order stays. Equal rows stay too: they may be two events, and dropping them would
    change how often things happen; ``segregate`` keeps them on one side instead. Doing it
    twice changes nothing.

    Raises
    ------
    DataInvalid
        If columns are missing, numbers cannot be read, or rows have no time or target.
    """
    wanted = [column for column in schema.columns if column.name != schema.derived_time]
    absent = [column.name for column in wanted if column.name not in frame.columns]
    if absent:
        problems = [unknown_name("the table", name, frame.columns) for name in absent]
        raise DataInvalid.of(
            "the table", problems, hint="Collect the columns that the schema was made from."
        )
    frame = clean(frame.select(column.name for column in wanted))
    frame = _typed(frame, wanted)
    if schema.time is not None:
        times = event_times(frame, schema.time_from).alias(schema.time)
        frame = frame.with_columns(times)
    if schema.target is not None:
        refuse_missing_target(frame, schema.target, allowed=schema.drop_missing_target)
        frame = frame.filter(pl.col(schema.target).is_not_null())
    return frame


def _typed(frame: pl.DataFrame, columns: list[Column]) -> pl.DataFrame:
    problems: list[Problem] = []
    parsed: list[pl.Series] = []
    for column in columns:
        values = frame[column.name]
        if column.role is Role.TIME:
            times = parse_times(values)
            parsed.append(values if times is None else times)
        elif column.role is Role.NUMERIC and not values.dtype.is_numeric():
            numbers = values.cast(pl.Float64, strict=False)
            parsed.append(numbers)
            problems += _no_numbers(values, numbers)
    if problems:
        raise DataInvalid.of(
            "the table",
            problems,
            hint="Correct the values, or give the column another role under `data.roles`.",
        )
    return frame.with_columns(parsed)


def _no_numbers(values: pl.Series, numbers: pl.Series) -> list[Problem]:
    bad = numbers.is_null() & values.is_not_null()
    if not bad.any():
        return []
    examples = ", ".join(repr(value) for value in values.filter(bad).head(SHOWN))
    lines = ", ".join(str(row + 2) for row in bad.arg_true().head(SHOWN))
    found = f"{int(bad.sum())} values that are no numbers: {examples} (lines {lines})"
    return [Problem(path=f"column {values.name!r}", found=found, remedy="write numbers")]
