"""Tables of tracking."""

from __future__ import annotations

import math

import sqlalchemy as sa

from everfit.kernel import Json, Moment, metadata


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


def _number() -> sa.Column[int]:
    """Return the key that a row is given when it is added: small, and in the order of adding."""
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("number", kind, sa.Identity(), primary_key=True)


experiments = sa.Table(
    "tracking_experiments",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("location", sa.Text),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)
sa.Index("tracking_experiments_by_name", experiments.c.project, experiments.c.name, unique=True)
experiment_tags = sa.Table(
    "tracking_experiment_tags",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
runs = sa.Table(
    "tracking_runs",
    metadata,
    _number(),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.Column("deleted_at", Moment),
    sa.Column("parent", sa.Text),
    sa.Column("error", sa.Text),
)
sa.Index("tracking_runs_by_id", runs.c.project, runs.c.id, unique=True)
sa.Index("tracking_runs_by_kind", runs.c.project, runs.c.kind, runs.c.started_at)
sa.Index(
    "tracking_runs_by_experiment",
    *runs.c["project", "experiment", "stage", "started_at", "id"],
)
# Rows of a run name it by its number: a text of 26 characters in ten million rows, and in their
# indexes, is most of the database.
params = sa.Table(
    "tracking_params",
    metadata,
    sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),  # text, or json where it was no text
    sqlite_with_rowid=False,
)
tags = sa.Table(
    "tracking_tags",
    metadata,
    sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
for _table in (params, tags):
    # Postgres refuses to index a text of thousands of characters: only its beginning is.
    _start = sa.func.substr(_table.c.value, sa.text("1"), sa.text("200"))
    sa.Index(f"{_table.name}_by_value", _table.c.key, _start, _table.columns[0])
# One row per metric of a run, with its latest value: a table of runs must not read a million
# points to show the last ones. `ordered` says that the points' order by step is that by time.
series = sa.Table(
    "tracking_series",
    metadata,
    _number(),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("value", Double),
    sa.Column("ordered", sa.SmallInteger, nullable=False),
)
sa.Index("tracking_series_by_run", series.c.run, series.c.key, unique=True)
sa.Index("tracking_series_by_value", series.c.key, series.c.value, series.c.run)
# The value belongs to the key: the same step and time may have several, and one that is sent
# twice is one. NaN, which no key may hold, is `missing` with the value 0.
points = sa.Table(
    "tracking_points",
    metadata,
    sa.Column("series", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Double, primary_key=True, autoincrement=False),
    sa.Column("missing", sa.SmallInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
# One tree of files: a run's lie below EXPERIMENT/RUN/artifacts. Paths are ordered byte by byte on
# every database: what lies below a folder is a range.
_Path = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
artifacts = sa.Table(
    "tracking_artifacts",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("path", _Path, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("media", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
# A dataset is kept once in an experiment: its schema and profile can be megabytes.
datasets = sa.Table(
    "tracking_datasets",
    metadata,
    _number(),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("source_type", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("schema", sa.Text),
    sa.Column("profile", sa.Text),
)
sa.Index(
    "tracking_datasets_by_name",
    *datasets.c["project", "experiment", "name", "digest"],
    unique=True,
)
# With what a search of runs asks for, so that it reads this table alone.
inputs = sa.Table(
    "tracking_inputs",
    metadata,
    _number(),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("dataset", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("context", sa.Text),
    sa.Column("tags", Json, nullable=False),
)
sa.Index("tracking_inputs_by_run", inputs.c.run, inputs.c.dataset, unique=True)
sa.Index("tracking_inputs_by_dataset", inputs.c.dataset, inputs.c.context)
# The logged models that a run used (role: input) and made (role: output), by their ids.
run_models = sa.Table(
    "tracking_run_models",
    metadata,
    sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
logged_models = sa.Table(
    "tracking_logged_models",
    metadata,
    _number(),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("source_run", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)
sa.Index("tracking_logged_models_by_id", *logged_models.c["project", "id"], unique=True)
sa.Index(
    "tracking_logged_models_by_experiment",
    *logged_models.c["project", "experiment", "stage", "created_at", "id"],
)
logged_model_params = sa.Table(
    "tracking_logged_model_params",
    metadata,
    sa.Column("model", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
logged_model_tags = sa.Table(
    "tracking_logged_model_tags",
    metadata,
    sa.Column("model", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
# One row per logged model, series of a run that measures it, and dataset, with the latest value
# by time; without a dataset both its texts are empty.
model_series = sa.Table(
    "tracking_model_series",
    metadata,
    _number(),
    sa.Column("model", sa.BigInteger, nullable=False),
    sa.Column("run_series", sa.BigInteger, nullable=False),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("value", Double),
)
sa.Index(
    "tracking_model_series_by_series",
    *model_series.c["model", "run_series", "dataset", "digest"],
    unique=True,
)
sa.Index("tracking_model_series_by_key", *model_series.c["model", "key"])
# As a run's points, in the order of time.
model_points = sa.Table(
    "tracking_model_points",
    metadata,
    sa.Column("series", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Double, primary_key=True, autoincrement=False),
    sa.Column("missing", sa.SmallInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
# How far the journal of each writer is applied, written with what was applied: a batch that is
# sent again finds its records behind it. `refused` is the last batch's, for a lost answer.
deliveries = sa.Table(
    "tracking_deliveries",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("writer", sa.Text, primary_key=True),
    sa.Column("segment", sa.BigInteger, nullable=False),
    sa.Column("byte", sa.BigInteger, nullable=False),
    sa.Column("refused", Json, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
