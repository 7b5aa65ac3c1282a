"""Rows of what runs log: metrics with their history, parameters, tags.

Statements are literal: these run for every line that a training logs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from everfit.filters import chunks, listed
from everfit.kernel import Transaction
from everfit.tracking.model import MetricPoint, recency

# A later point takes the place of the latest value. The order by step stays that by time as long
# as what comes is later in both than everything before.
_PUT_SERIES = """
INSERT INTO tracking_series AS s (run, key, step, at, value, ordered) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (run, key) DO UPDATE SET
    ordered = CASE WHEN ? >= s.step AND ? >= s.at THEN s.ordered * excluded.ordered ELSE 0 END,
    value = CASE WHEN (excluded.step, excluded.at, coalesce(excluded.value, 0.0))
        > (s.step, s.at, coalesce(s.value, 0.0)) THEN excluded.value ELSE s.value END,
    at = CASE WHEN (excluded.step, excluded.at) > (s.step, s.at) THEN excluded.at ELSE s.at END,
    step = CASE WHEN excluded.step > s.step THEN excluded.step ELSE s.step END
"""
_PUT_POINT = """
INSERT INTO tracking_points (series, step, at, value, missing) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""
# So many rows in one statement take two thirds of the time that they take one by one.
TOGETHER = 100
_PUT_POINTS = _PUT_POINT.replace("(?, ?, ?, ?, ?)", ", ".join(["(?, ?, ?, ?, ?)"] * TOGETHER))
# So many keys are named in the statement; for more, all series of the run are read.
FEW_KEYS = 50


def put_points(tx: Transaction, run: int, points: Sequence[MetricPoint]) -> None:
    """Add points to the history, and to the latest values those that come later."""
    found: dict[str, list[MetricPoint]] = {}
    for point in points:
        found.setdefault(point[0], []).append(point)
    # In one order everywhere: two writers that hold each other's rows would wait for ever.
    rows = [_series_row(run, found[key]) for key in sorted(found)]
    if len(rows) == 1:
        numbers = {points[0].key: tx.execute(f"{_PUT_SERIES} RETURNING number", rows[0]).scalar()}
    else:
        tx.execute(_PUT_SERIES, rows)
        numbers = {key: n for key, n in series_numbers(tx, run, list(found)) if key in found}
    _put_history(tx, {numbers[key]: found[key] for key in sorted(found, key=numbers.__getitem__)})


def _put_history(tx: Transaction, found: Mapping[int, Sequence[MetricPoint]]) -> None:
    """Add points by the numbers of their series, which ascend: the order in which they lie."""
    # NaN is the only value that differs from itself.
    rows = [
        (series, step, at_us, value, 0) if value == value else (series, step, at_us, 0.0, 1)
        for series, points in found.items()
        for _, value, step, at_us in points
    ]
    whole = len(rows) - len(rows) % TOGETHER
    for first in range(0, whole, TOGETHER):
        tx.execute(_PUT_POINTS, tuple(chain.from_iterable(rows[first : first + TOGETHER])))
    if rows[whole:]:
        tx.execute(_PUT_POINT, rows[whole:])


def _series_row(run: int, points: Sequence[MetricPoint]) -> tuple[object, ...]:
    """Return what a batch says of one metric: its first and its latest point, whether in order."""
    first, last = points[0], points[-1]
    if len(points) == 1:
        latest, ordered = last, True
    else:
        steps, times = [point[2] for point in points], [point[3] for point in points]
        ordered = steps == sorted(steps) and times == sorted(times)
        # Of several points at one step and time, the largest value counts.
        latest = last if ordered and points[-2][2:] < last[2:] else max(points, key=recency)
    kept = None if math.isnan(latest.value) else latest.value
    shape = int(ordered), first.step, first.at_us
    return run, latest.key, latest.step, latest.at_us, kept, *shape


def series_numbers(tx: Transaction, run: int, keys: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield metrics of a run with the numbers of their series: these, and perhaps others."""
    query = "SELECT key, number FROM tracking_series WHERE run = ?"
    values: list[object] = [run]
    if len(keys) <= FEW_KEYS:
        query += f" AND key IN ({', '.join('?' * len(keys))})"
        values += keys
    return ((key, number) for key, number in tx.execute(query, tuple(values)))


def latest_points(tx: Transaction, runs: Sequence[int]) -> dict[int, list[MetricPoint]]:
    """Return the latest point of every metric of these runs, by key."""
    found: dict[int, list[MetricPoint]] = {run: [] for run in runs}
    for part in chunks(runs):
        query = (
            f"SELECT run, key, value, step, at FROM tracking_series WHERE run IN ({listed(part)})"
        )
        for run, key, value, step, at_us in tx.execute(f"{query} ORDER BY run, key"):
            point = key, math.nan if value is None else value, step, at_us
            # What MetricPoint's own constructor does, without its detour through Python.
            found[run].append(tuple.__new__(MetricPoint, point))
    return found


def put_params(tx: Transaction, run: int, values: Mapping[str, tuple[str, str]]) -> None:
    """Add parameters, given as text and kind."""
    rows = [(run, key, text, kind) for key, (text, kind) in values.items()]
    if rows:
        tx.execute("INSERT INTO tracking_params (run, key, value, kind) VALUES (?, ?, ?, ?)", rows)


def get_params(tx: Transaction, run: int) -> dict[str, tuple[str, str]]:
    """Return each parameter's text and kind."""
    query = "SELECT key, value, kind FROM tracking_params WHERE run = ? ORDER BY key"
    return {key: (value, kind) for key, value, kind in tx.execute(query, (run,))}


def put_tags(tx: Transaction, run: int, values: Mapping[str, str]) -> None:
    """Set tags, replacing those of the same keys."""
    rows = [(run, key, values[key]) for key in sorted(values)]
    if rows:
        tx.execute(
            "INSERT INTO tracking_tags (run, key, value) VALUES (?, ?, ?) "
            "ON CONFLICT (run, key) DO UPDATE SET value = excluded.value",
            rows,
        )


def delete_tag(tx: Transaction, run: int, key: str) -> bool:
    """Delete one tag; return whether there was one."""
    query = "DELETE FROM tracking_tags WHERE run = ? AND key = ?"
    return bool(tx.execute(query, (run, key)).rowcount)


def texts(tx: Transaction, table: str, runs: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return the texts by key of these runs in ``tracking_params`` or ``tracking_tags``."""
    found: dict[int, dict[str, str]] = {run: {} for run in runs}
    for part in chunks(runs):
        query = f"SELECT run, key, value FROM {table} WHERE run IN ({listed(part)})"
        for run, key, value in tx.execute(f"{query} ORDER BY run, key"):
            found[run][key] = value
    return found
