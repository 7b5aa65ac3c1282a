"""MLflow's database, of any version from 2.0 on, on SQLite, Postgres or MySQL: read only.

Tables and columns came and went with MLflow's versions, so every query takes what is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from everfit.errors import Invalid, NotFound, Unavailable
from everfit.foreign import entities
from everfit.foreign.entities import DELETED_VERSION, WORKSPACE, Row
from everfit.foreign.model import ForeignModel, ForeignRegistered, ForeignRun, Report
from everfit.foreign.sql_rows import SqlRows, is_ours
from everfit.foreign.sql_traces import OF_TRACES, SqlTraces
from everfit.tracking import (
    DatasetInput,
    Experiment,
    LoggedModelData,
    MetricPoint,
    ModelOutput,
    ModelPoint,
    RunData,
)

# What every version from 2.0 on has: a database without it is none of MLflow's, or an older one.
REQUIRED = {
    "experiments": {"experiment_id", "name", "lifecycle_stage", "artifact_location"},
    "runs": {"run_uuid", "experiment_id", "name", "status", "artifact_uri", "deleted_time"},
    "metrics": {"run_uuid", "key", "value", "timestamp", "step", "is_nan"},
    "params": {"run_uuid", "key", "value"},
    "tags": {"run_uuid", "key", "value"},
    "experiment_tags": {"experiment_id", "key", "value"},
}
OPTIONAL = (
    "datasets",
    "inputs",
    "input_tags",
    "logged_models",
    "logged_model_params",
    "logged_model_tags",
    "logged_model_metrics",
    "registered_models",
    "registered_model_tags",
    "registered_model_aliases",
    "model_versions",
    "model_version_tags",
)
LEFT_OUT = {
    "assessments": "assessments of traces",
    "issues": "issues",
    "label_schemas": "label schemas",
    "review_queues": "review queues",
    "evaluation_datasets": "evaluation datasets",
    "scorers": "scorers",
    "webhooks": "webhooks",
}
WORKSPACED = {"experiments": "experiments", "registered_models": "registered models"}
AT_ONCE = 5_000


def open_sqlite(file: Path) -> sa.Engine:
    """Return an engine that reads the SQLite database ``file``; raises NotFound."""
    if not file.is_file():
        raise NotFound(f"no file {file}", hint="Name MLflow's database, often mlflow.db.")
    uri = f"{file.resolve().as_uri()}?mode=ro"
    return sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(uri, uri=True),
        poolclass=sa.pool.StaticPool,
    )


def open_url(url: str) -> sa.Engine:
    """Return an engine that reads the database at ``url``; raises Invalid."""
    try:
        parsed = sa.make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        options = {}
        if parsed.get_backend_name() == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        return sa.create_engine(parsed).execution_options(**options)
    except (sa.exc.ArgumentError, ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
        raise Invalid(
            f"cannot open the database {url!r}: {error}",
            hint="Use sqlite:///FILE, postgresql://… or mysql+pymysql://… and install its driver.",
        ) from error


class SqlStore:
    """MLflow's database behind the port ``ForeignStore``."""

    def __init__(self, engine: sa.Engine, report: Report, *, name: str) -> None:
        self.name = name
        self._report = report
        self._engine = engine
        try:
            self._connection = engine.connect()
            self._there = SqlRows(self._connection, (*REQUIRED, *OPTIONAL, *OF_TRACES), report)
        except (sa.exc.OperationalError, sqlite3.OperationalError) as error:
            raise Unavailable(
                f"the database {name} cannot be read: {error}",
                hint="Check that it is running, and that this process may read it.",
            ) from error
        except (sa.exc.DatabaseError, sqlite3.DatabaseError) as error:
            raise Invalid(
                f"{name} is no database: {error}",
                hint="Name MLflow's SQLite file, its folder mlruns, or the URL of its database.",
            ) from error
        self._refuse_unknown()
        self._note_workspaces()
        self.traces = SqlTraces(self._there)

    def experiments(self) -> list[Experiment]:
        """Return all experiments, deleted ones too."""
        tags = self._there.texts("experiment_tags", "experiment_id")
        return self._there.read(
            [row for row in self._there.rows("experiments", order="experiment_id") if is_ours(row)],
            lambda row: f"experiment {row['experiment_id']}",
            lambda row: entities.experiment(row, tags.get(row["experiment_id"], {})),
        )

    def run_ids(self) -> list[str]:
        """Return the ids of all runs, by experiment."""
        runs = self._there.tables["runs"].c
        query = sa.select(runs.run_uuid).where(self._there.in_our_experiments(runs.experiment_id))
        query = query.order_by(runs.experiment_id, runs.run_uuid)
        return list(self._connection.execute(query).scalars())

    def runs(self, ids: Sequence[str]) -> list[ForeignRun]:
        """Return these runs without their points."""
        params, tags = (self._there.texts(name, "run_uuid", ids) for name in ("params", "tags"))
        used, models, outputs = self._used(ids), self._linked(ids, "IN"), self._linked(ids, "OUT")

        def build(row: Row) -> ForeignRun:
            id = row["run_uuid"]
            data = RunData(
                run=entities.run(row, tags.get(id, {})),
                metrics=(),
                params=params.get(id, {}),
                tags=tags.get(id, {}),
                datasets=tuple(used.get(id, ())),
                models=tuple(one.model for one in models.get(id, ())),
                outputs=tuple(outputs.get(id, ())),
            )
            return ForeignRun(data=data, artifact_uri=row["artifact_uri"] or "")

        rows = self._there.rows("runs", "run_uuid", ids)
        return self._there.read(rows, lambda row: f"run {row['run_uuid']}", build)

    def points(self, run_id: str) -> Iterator[MetricPoint]:
        """Yield the points of a run's metrics, metric by metric."""
        metrics = self._there.tables["metrics"].c
        columns = (metrics.key, metrics.value, metrics.timestamp, metrics.step, metrics.is_nan)
        query = sa.select(*columns).where(metrics.run_uuid == run_id)
        query = query.order_by(metrics.key, metrics.step, metrics.timestamp)
        options = {"yield_per": AT_ONCE}
        for row in self._connection.execute(query, execution_options=options):
            yield entities.point(*row)

    def model_ids(self) -> list[str]:
        """Return the ids of all logged models."""
        known = {one.id for one in self.experiments()}
        rows = self._there.rows("logged_models", order="model_id")
        return [row["model_id"] for row in rows if str(row["experiment_id"]) in known]

    def models(self, ids: Sequence[str]) -> list[ForeignModel]:
        """Return these logged models."""
        params = self._there.texts("logged_model_params", "model_id", ids, names=_OF_PARAM)
        tags = self._there.texts("logged_model_tags", "model_id", ids, names=_OF_TAG)
        points: dict[str, list[ModelPoint]] = {}
        for row in self._there.rows("logged_model_metrics", "model_id", ids):
            points.setdefault(row["model_id"], []).append(_model_point(row))

        def build(row: Row) -> ForeignModel:
            id = row["model_id"]
            data = LoggedModelData(
                model=entities.logged_model(row),
                params=params.get(id, {}),
                tags=tags.get(id, {}),
                points=tuple(points.get(id, ())),
            )
            return ForeignModel(data=data, artifact_uri=row["artifact_location"] or "")

        rows = self._there.rows("logged_models", "model_id", ids)
        return self._there.read(rows, lambda row: f"logged model {row['model_id']}", build)

    def registered(self) -> list[ForeignRegistered]:
        """Return all registered models with the versions that are not deleted."""
        tags = self._there.texts("registered_model_tags", "name")
        aliases: dict[str, dict[str, int]] = {}
        for row in filter(is_ours, self._there.rows("registered_model_aliases")):
            aliases.setdefault(row["name"], {})[row["alias"]] = int(row["version"])
        versions: dict[str, list[Row]] = {}
        for row in filter(is_ours, self._there.rows("model_versions", order="version")):
            versions.setdefault(row["name"], []).append(row)
        notes = self._version_tags()

        def build(row: Row) -> ForeignRegistered:
            name, known = row["name"], versions.get(row["name"], [])
            return ForeignRegistered(
                model=entities.registered_model(row, tags.get(name, {}), aliases.get(name, {})),
                last_number=max((int(one["version"]) for one in known), default=0),
                versions=self._there.read(
                    [one for one in known if one["current_stage"] != DELETED_VERSION],
                    lambda one: f"version {name}/{one['version']}",
                    lambda one: entities.version(one, notes.get((name, one["version"]), {})),
                ),
            )

        rows = [row for row in self._there.rows("registered_models", order="name") if is_ours(row)]
        return self._there.read(rows, lambda row: f"registered model {row['name']!r}", build)

    def left_out(self) -> dict[str, int]:
        """Return how many there are of kinds that do not come over."""
        inspector = sa.inspect(self._connection)
        found = {}
        for name, said in LEFT_OUT.items():
            if inspector.has_table(name):
                query = sa.select(sa.func.count()).select_from(sa.table(name))
                found[said] = int(self._connection.execute(query).scalar_one())
        return found | self.traces.left_out()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        self._engine.dispose()

    def _refuse_unknown(self) -> None:
        missing = [
            f"{name}.{column}"
            for name, columns in REQUIRED.items()
            for column in sorted(columns - self._there.columns(name))
        ]
        if missing:
            raise Invalid(
                f"{self.name} is no database of MLflow 2.0 or newer: it lacks "
                f"{', '.join(missing[:5])}",
                hint="Name MLflow's own database; upgrade an older one with `mlflow db upgrade`.",
            )

    def _note_workspaces(self) -> None:
        for name, said in WORKSPACED.items():
            others: dict[str, int] = {}
            for row in self._there.rows(name):
                if not is_ours(row):
                    others[row["workspace"]] = others.get(row["workspace"], 0) + 1
            for workspace, count in others.items():
                remedy = f"only the workspace {WORKSPACE!r} is imported"
                self._report.refuse(f"workspace {workspace}", f"{count} {said}", remedy)

    def _version_tags(self) -> dict[Any, dict[str, str]]:
        rows = filter(is_ours, self._there.rows("model_version_tags"))
        return entities.texts(
            [((row["name"], row["version"]), row["key"], row["value"]) for row in rows]
        )

    def _used(self, ids: Sequence[str]) -> dict[str, list[DatasetInput]]:
        """Return the datasets that these runs used."""
        links = [
            row
            for row in self._there.rows("inputs", "destination_id", ids)
            if (row["source_type"], row["destination_type"]) == ("DATASET", "RUN")
        ]
        wanted = sorted({row["source_id"] for row in links})
        datasets = {
            row["dataset_uuid"]: entities.dataset(row)
            for row in self._there.rows("datasets", "dataset_uuid", wanted)
        }
        uuids = [row["input_uuid"] for row in links]
        tags = self._there.texts("input_tags", "input_uuid", uuids, names=("name", "value"))
        found: dict[str, list[DatasetInput]] = {}
        for row in links:
            if row["source_id"] in datasets:
                used = DatasetInput(
                    dataset=datasets[row["source_id"]], tags=tags.get(row["input_uuid"], {})
                )
                found.setdefault(row["destination_id"], []).append(used)
        return found

    def _linked(self, ids: Sequence[str], way: str) -> dict[str, list[ModelOutput]]:
        """Return the logged models that these runs took (IN) or made (OUT)."""
        found: dict[str, list[ModelOutput]] = {}
        for row in self._there.rows("inputs", "source_id", ids):
            if row["source_type"] == f"RUN_{way}PUT":
                made = ModelOutput(model=row["destination_id"], step=row.get("step") or 0)
                found.setdefault(row["source_id"], []).append(made)
        return found


_OF_PARAM, _OF_TAG = ("param_key", "param_value"), ("tag_key", "tag_value")


def _model_point(row: Row) -> ModelPoint:
    value, time_ms, step = row["metric_value"], row["metric_timestamp_ms"], row["metric_step"]
    return ModelPoint(
        point=entities.point(row["metric_name"], value, time_ms, step, value is None),
        model=row["model_id"],
        dataset=row["dataset_name"] or "",
        digest=row["dataset_digest"] or "",
        run=row["run_id"],
    )
