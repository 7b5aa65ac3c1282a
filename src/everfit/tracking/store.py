"""Rows of tracking: the only module of this room that speaks SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from everfit.errors import NotFound
from everfit.kernel import Transaction, insert_if_absent, locked_rows
from everfit.tracking.model import Artifact, MetricPoint, Run, RunStatus, Scalar
from everfit.tracking.tables import artifacts, latest_metrics, metrics, params, runs, tags


def insert_run(tx: Transaction, run: Run) -> bool:
    """Add ``run`` and return True, or return False where its id is taken."""
    row = {"project": tx.project, **asdict(run)}
    statement = insert_if_absent(tx.connection, runs).returning(runs.c.id)
    return tx.connection.execute(statement, row).one_or_none() is not None


def update_run(tx: Transaction, run: Run) -> None:
    """Write what may change of a run. The caller holds its row (``get_run(lock=True)``)."""
    changed = {"status": run.status, "finished_at": run.finished_at, "error": run.error}
    tx.connection.execute(sa.update(runs).where(*_is(tx, run.id)).values(**changed))


def get_run(tx: Transaction, run_id: str, *, lock: bool = False) -> Run:
    """Return one run; with ``lock`` no other transaction can change it before this one ends.

    Raises
    ------
    NotFound
        If there is none.
    """
    query = sa.select(runs).where(*_is(tx, run_id))
    if lock:
        query = locked_rows(tx.connection, query)
    row = tx.connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(
            f"no run {run_id!r} in project {tx.project!r}",
            hint="List the runs of this project, or start the run first.",
            run=run_id,
        )
    return _run(row)


def list_runs(tx: Transaction, *, kind: str | None, limit: int) -> list[Run]:
    """Return the newest runs first."""
    query = sa.select(runs).where(runs.c.project == tx.project)
    if kind is not None:
        query = query.where(runs.c.kind == kind)
    query = query.order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)
    return [_run(row) for row in tx.connection.execute(query).mappings()]


def insert_params(tx: Transaction, run_id: str, texts: Mapping[str, str]) -> None:
    """Add parameters, given as JSON texts."""
    _write(tx, run_id, sa.insert(params), _pairs(texts))


def param_texts(tx: Transaction, run_id: str) -> dict[str, str]:
    """Return the parameters as JSON texts."""
    return _read_pairs(tx, run_id, params)


def get_params(tx: Transaction, run_id: str) -> dict[str, Scalar]:
    """Return the parameters."""
    return {key: json.loads(text) for key, text in param_texts(tx, run_id).items()}


def put_tags(tx: Transaction, run_id: str, values: Mapping[str, str]) -> None:
    """Set tags, replacing those of the same keys."""
    _write(tx, run_id, _upsert(tx, tags), _pairs(values))


def get_tags(tx: Transaction, run_id: str) -> dict[str, str]:
    """Return the tags."""
    return _read_pairs(tx, run_id, tags)


def put_points(tx: Transaction, run_id: str, points: Sequence[MetricPoint]) -> None:
    """Add points to the history, and to the latest values those that come later."""
    latest: dict[str, MetricPoint] = {}
    for point in points:
        before = latest.get(point.key)
        if before is None or (point.step, point.at) >= (before.step, before.at):
            latest[point.key] = point
    _write(tx, run_id, _upsert(tx, metrics), map(_point_row, points))
    _write(tx, run_id, _upsert_later(tx), map(_point_row, latest.values()))


def get_metrics(tx: Transaction, run_id: str) -> dict[str, float]:
    """Return the latest value of each metric."""
    return _read_pairs(tx, run_id, latest_metrics)


def get_history(tx: Transaction, run_id: str, key: str) -> list[MetricPoint]:
    """Return every point of one metric by step, then time."""
    query = (
        sa.select(*metrics.c["key", "value", "step", "at"])
        .where(*_of(tx, run_id, metrics), metrics.c.key == key)
        .order_by(metrics.c.step, metrics.c.at)
    )
    return [MetricPoint(**row) for row in tx.connection.execute(query).mappings()]


def put_artifact(tx: Transaction, run_id: str, artifact: Artifact) -> None:
    """Set one artifact, replacing the one of the same name."""
    _write(tx, run_id, _upsert(tx, artifacts), [asdict(artifact)])


def get_artifacts(tx: Transaction, run_id: str) -> dict[str, Artifact]:
    """Return the artifacts by name."""
    columns = artifacts.c["name", "digest", "bytes", "media", "at"]
    query = sa.select(*columns).where(*_of(tx, run_id, artifacts)).order_by(artifacts.c.name)
    return {row["name"]: Artifact(**row) for row in tx.connection.execute(query).mappings()}


def _is(tx: Transaction, run_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return runs.c.project == tx.project, runs.c.id == run_id


def _of(tx: Transaction, run_id: str, table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.project == tx.project, table.c.run == run_id


def _run(row: sa.RowMapping) -> Run:
    values = {name: value for name, value in row.items() if name != "project"}
    return Run(**{**values, "status": RunStatus(row["status"])})


def _pairs(values: Mapping[str, str]) -> Iterable[dict[str, str]]:
    return ({"key": key, "value": value} for key, value in values.items())


def _read_pairs(tx: Transaction, run_id: str, table: sa.Table) -> dict[str, Any]:
    query = sa.select(*table.c["key", "value"]).where(*_of(tx, run_id, table)).order_by(table.c.key)
    return {row.key: row.value for row in tx.connection.execute(query)}


def _point_row(point: MetricPoint) -> dict[str, Any]:
    return {"key": point.key, "value": point.value, "step": point.step, "at": point.at}


def _write(
    tx: Transaction, run_id: str, statement: sa.Insert, rows: Iterable[Mapping[str, Any]]
) -> None:
    owner = {"project": tx.project, "run": run_id}
    batch = [{**owner, **row} for row in rows]
    if batch:
        tx.connection.execute(statement, batch)


def _insert(tx: Transaction, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """Return the dialect's own insert: Core's has no ``on_conflict_do_update``."""
    if tx.connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def _upsert(tx: Transaction, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    statement = _insert(tx, table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_=_replaced(statement, table)
    )


def _upsert_later(tx: Transaction) -> sqlite.Insert | postgresql.Insert:
    """Return the upsert of latest values that leaves alone a row with a later step or time."""
    statement = _insert(tx, latest_metrics)
    new, old = statement.excluded, latest_metrics.c
    return statement.on_conflict_do_update(
        index_elements=list(latest_metrics.primary_key.columns),
        set_=_replaced(statement, latest_metrics),
        where=sa.tuple_(new.step, new.at) >= sa.tuple_(old.step, old.at),
    )


def _replaced(statement: sqlite.Insert | postgresql.Insert, table: sa.Table) -> dict[str, Any]:
    return {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
