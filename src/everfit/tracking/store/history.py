"""Rows of metrics' histories, read page by page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from everfit.kernel import Transaction
from everfit.tracking.model import MetricPoint

# The key of the table, and of a page's end: (step, at, value, missing).
Place = tuple[int, int, float, int]
_POINT = "SELECT value, step, at, missing FROM tracking_points WHERE series = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """One metric of one run: its number, and whether its order by step is that by time."""

    number: int
    key: str
    ordered: bool


def get_series(tx: Transaction, run: int, key: str) -> SeriesRow | None:
    """Return the series of a metric, or None where it was never logged."""
    query = "SELECT number, ordered FROM tracking_series WHERE run = ? AND key = ?"
    row = tx.execute(query, (run, key)).first()
    return None if row is None else SeriesRow(number=row[0], key=key, ordered=bool(row[1]))


def points_by_time(
    tx: Transaction, series: SeriesRow, *, after: Place | None, limit: int | None
) -> list[MetricPoint]:
    """Return points by time, then step, then value, from behind the place ``after`` on."""
    names = ("step", "at") if series.ordered else ("at", "step")
    query: str = _POINT
    values: list[float] = [series.number]
    if after is not None:
        step, at_us, value, missing = after
        query += f" AND ({names[0]}, {names[1]}, value, missing) > (?, ?, ?, ?)"
        begin = (step, at_us) if series.ordered else (at_us, step)
        values += [*begin, value, missing]
    query += f" ORDER BY {names[0]}, {names[1]}, value, missing"
    if limit is not None:
        query += " LIMIT ?"
        values.append(limit)
    return _points(series.key, tx.execute(query, tuple(values)))


def count_points(tx: Transaction, series: SeriesRow, first: int | None, last: int | None) -> int:
    """Return how many points lie from step ``first`` to step ``last``."""
    where, values = _between(series, first, last)
    query = f"SELECT count(*) FROM tracking_points WHERE {where}"
    return int(tx.execute(query, tuple(values)).scalar())


def counts(tx: Transaction, run: int) -> dict[str, int]:
    """Return how many points each metric of a run has."""
    query = (
        "SELECT s.key, count(*) FROM tracking_series s "
        "JOIN tracking_points p ON p.series = s.number WHERE s.run = ? GROUP BY s.key"
    )
    return {key: int(count) for key, count in tx.execute(query, (run,))}


def sampled_points(
    tx: Transaction, series: SeriesRow, first: int | None, last: int | None, *, ranks: Sequence[int]
) -> list[MetricPoint]:
    """Return the points of these ranks (0, 1, …, ascending) in the order of step, time, value.

    The database walks over what lies between; of a million points, none but these is read.
    """
    where, values = _between(series, first, last)
    found: list[MetricPoint] = []
    query = f"SELECT value, step, at, missing FROM tracking_points WHERE {where}"
    order = " ORDER BY step, at, value, missing LIMIT 1 OFFSET ?"
    place: list[float] = []
    before = -1
    for rank in ranks:
        behind = " AND (step, at, value, missing) > (?, ?, ?, ?)" if place else ""
        skip = rank - before - 1
        row = tx.execute(query + behind + order, (*values, *place, skip)).one()
        place = [row[1], row[2], row[0], row[3]]
        before = rank
        found += _points(series.key, [row])
    return found


def _between(series: SeriesRow, first: int | None, last: int | None) -> tuple[str, list[int]]:
    where, values = "series = ?", [series.number]
    if first is not None and last is not None:
        where += " AND step >= ? AND step <= ?"
        values += [first, last]
    return where, values


def _points(key: str, rows: Iterable[Sequence[float]]) -> list[MetricPoint]:
    return [
        MetricPoint(key, math.nan if missing else value, int(step), int(at_us))
        for value, step, at_us, missing in rows
    ]
