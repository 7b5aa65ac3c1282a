"""Columns of a table of runs: what each shows of a run, by its name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from everfit.errors import Invalid, Problem
from everfit.measures.figures import figure
from everfit.tracking.model import RunData, Stage

Value = str | float | datetime | timedelta | None
# More metrics than this make no table that can be read.
MOST_METRICS = 5
# What a run took says little about what it gave: shown where there is room.
SPENT = frozenset({"cost", "cpu_seconds", "wall_seconds", "peak_bytes"})
REPRODUCED_TAG = "everfit.reproduced"
"""Tag with the verdict of the last reproduction of a run."""

ATTRIBUTES: Mapping[str, Callable[[RunData, datetime], Value]] = {
    "id": lambda data, now: data.run.id,
    "name": lambda data, now: data.run.name,
    "kind": lambda data, now: data.run.kind,
    "status": lambda data, now: str(data.run.status),
    "stage": lambda data, now: str(data.run.stage),
    "experiment": lambda data, now: data.run.experiment,
    "actor": lambda data, now: data.run.actor,
    "parent": lambda data, now: data.run.parent,
    "error": lambda data, now: data.run.error,
    "started": lambda data, now: data.run.started_at,
    "finished": lambda data, now: data.run.finished_at,
    "duration": lambda data, now: (data.run.finished_at or now) - data.run.started_at,
}
# As filters and orders call them.
OTHER_NAMES = {
    "run_id": "id",
    "run_name": "name",
    "start_time": "started",
    "end_time": "finished",
    "experiment_id": "experiment",
    "user_id": "actor",
    "lifecycle_stage": "stage",
}
LOGGED: Mapping[str, Callable[[RunData], Mapping[str, str | float]]] = {
    "metrics": lambda data: {point.key: point.value for point in data.metrics},
    "params": lambda data: data.params,
    "tags": lambda data: data.tags,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: an attribute (``group`` is empty), or a key of metrics, params or tags."""

    group: str
    key: str

    @property
    def title(self) -> str:
        """Return the name by which the column is asked for."""
        return f"{self.group}.{self.key}" if self.group else self.key

    @property
    def short(self) -> str:
        """Return a heading for a table in which nobody asked for the column."""
        return self.key.removeprefix("everfit.")

    def value(self, data: RunData, now: datetime) -> Value:
        """Return what the run has there, or None; a run that goes on has lasted until ``now``."""
        if self.group:
            return LOGGED[self.group](data).get(self.key)
        return ATTRIBUTES[self.key](data, now)


def parse_columns(names: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns of these names.

    Raises
    ------
    Invalid
        Naming every one that is none.

    Examples
    --------
    >>> [column.title for column in parse_columns(["run_id", "metric.mae", "params.`max depth`"])]
    ['id', 'metrics.mae', 'params.max depth']
    """
    found = [_column(name.strip()) for name in names]
    problems = [problem for problem in found if isinstance(problem, Problem)]
    if problems:
        raise Invalid.of("the columns", problems, hint="Correct them, or leave them out.")
    return tuple(dict.fromkeys(column for column in found if isinstance(column, Column)))


def _column(name: str) -> Column | Problem:
    before, dot, behind = name.partition(".")
    group, key = f"{before.removesuffix('s')}s" if dot else "", behind.strip('`"')
    if group in LOGGED and key:
        return Column(group=group, key=key)
    attribute = key if group == "attributes" else name
    attribute = OTHER_NAMES.get(attribute, attribute)
    if attribute in ATTRIBUTES:
        return Column(group="", key=attribute)
    remedy = f"write {', '.join(ATTRIBUTES)}, metrics.KEY, params.KEY or tags.KEY"
    return Problem(path="columns", found=repr(name), remedy=remedy)


def usual_columns(found: Sequence[RunData]) -> tuple[tuple[Column, ...], int]:
    """Return the columns that tell these runs apart, and how many metrics they leave out."""
    names = ["id", "name", "kind", "status", "started", "duration"]
    if any(data.run.stage is Stage.DELETED for data in found):
        names.append("stage")
    counts = Counter(point.key for data in found for point in data.metrics)
    metrics = sorted(counts, key=lambda key: (key in SPENT, -counts[key], key))
    columns = [Column(group="", key=name) for name in names]
    if any(REPRODUCED_TAG in data.tags for data in found):
        columns.append(Column(group="tags", key=REPRODUCED_TAG))
    columns += [Column(group="metrics", key=key) for key in metrics[:MOST_METRICS]]
    return tuple(columns), max(0, len(metrics) - MOST_METRICS)


def shown(value: Value) -> str:
    """Return a value as a table shows it.

    Examples
    --------
    >>> shown(None), shown(0.123456), shown(timedelta(seconds=75.2)), shown(timedelta(hours=30))
    ('-', '0.1235', '1m 15s', '30h 00m')
    >>> shown(timedelta(seconds=1.25))
    '1.2s'
    """
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, timedelta):
        return _lasting(value.total_seconds())
    return value if isinstance(value, str) else figure(value)


def _lasting(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours:
        return f"{hours}h {minutes % 60:02}m"
    return f"{minutes}m {int(seconds) % 60:02}s"


def plain(value: Value) -> Any:
    """Return a value as JSON has it: seconds for a duration, a word for what is no number there.

    Examples
    --------
    >>> plain(timedelta(minutes=2)), plain(float("-inf")), plain(0.5)
    (120.0, '-Infinity', 0.5)
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    return value.isoformat() if isinstance(value, datetime) else value


def described(data: RunData, columns: Sequence[Column], now: datetime) -> dict[str, Any]:
    """Return the columns of a run as plain values; without columns everything known of it."""
    if columns:
        return {column.title: plain(column.value(data, now)) for column in columns}
    own = {name: plain(value(data, now)) for name, value in ATTRIBUTES.items()}
    logged = {
        group: {key: plain(value) for key, value in values(data).items()}
        for group, values in LOGGED.items()
    }
    return own | logged
