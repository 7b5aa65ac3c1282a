"""Tables of tracking."""

from __future__ import annotations

import math

import sqlalchemy as sa

from everfit.kernel import Moment, metadata


class Double(sa.types.TypeDecorator[float]):
    """A double in which NaN is kept too, as NULL: SQLite would turn it into that anyway."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: object) -> float | None:
        """Write NaN as NULL."""
        return None if value is None or math.isnan(value) else value

    def process_result_value(self, value: float | None, dialect: object) -> float:
        """Read NULL as NaN."""
        return math.nan if value is None else value


runs = sa.Table(
    "tracking_runs",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.Column("parent", sa.Text),
    sa.Column("error", sa.Text),
)
sa.Index("tracking_runs_by_start", runs.c.project, runs.c.started_at)
params = sa.Table(
    "tracking_params",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),  # JSON, so that null is a value too
)
metrics = sa.Table(
    "tracking_metrics",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, primary_key=True, autoincrement=False),
    sa.Column("value", Double),
)
# Kept beside the history: a table of runs must not read a million points to show the last ones.
latest_metrics = sa.Table(
    "tracking_latest_metrics",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("value", Double),
)
tags = sa.Table(
    "tracking_tags",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
artifacts = sa.Table(
    "tracking_artifacts",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("media", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
