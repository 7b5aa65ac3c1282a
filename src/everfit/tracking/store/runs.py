"""Rows of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from everfit.errors import NotFound
from everfit.filters import chunks, listed
from everfit.kernel import Transaction, locked_rows, microseconds, moment
from everfit.tracking.model import Run, RunStatus, Stage
from everfit.tracking.tables import runs

_INSERT = """
INSERT INTO tracking_runs (project, id, experiment, kind, name, status, stage, actor,
    started_at, finished_at, deleted_at, parent, error)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING number
"""
_COLUMNS = [runs.c[field.name] for field in fields(Run)]
_FIELDS = [field.name for field in fields(Run)]
_NAMES = ", ".join(_FIELDS)
_TIMES = ("started_at", "finished_at", "deleted_at")


def insert_run(tx: Transaction, run: Run) -> int | None:
    """Add ``run`` and return its number, or None where its id is taken."""
    moments = [None if at is None else microseconds(at) for at in _moments(run)]
    values = (run.id, run.experiment, run.kind, run.name, run.status, run.stage, run.actor)
    row = (tx.project, *values, *moments, run.parent, run.error)
    number: int | None = tx.execute(_INSERT, row).scalar()
    return number


def _moments(run: Run) -> tuple[datetime | None, ...]:
    return run.started_at, run.finished_at, run.deleted_at


def update_run(tx: Transaction, run: Run) -> None:
    """Write what may change of a run. The caller holds its row (``get_run(lock=True)``)."""
    changing = ("name", "status", "stage", "finished_at", "deleted_at", "error")
    changed = {name: getattr(run, name) for name in changing}
    tx.connection.execute(sa.update(runs).where(*_is(tx, run.id)).values(**changed))


def get_run(tx: Transaction, run_id: str, *, lock: bool = False) -> Run:
    """Return one run; with ``lock`` no other transaction can change it before this one ends.

    Raises
    ------
    NotFound
        If there is none.
    """
    query = sa.select(*_COLUMNS).where(*_is(tx, run_id))
    if lock:
        query = locked_rows(tx.connection, query)
    row = tx.connection.execute(query).mappings().one_or_none()
    if row is None:
        raise absent(tx, run_id)
    return _run(row)


def find(tx: Transaction, run_id: str) -> tuple[int, Stage] | None:
    """Return the number and the stage of a run, or None: what every line that is logged asks."""
    row = tx.execute(
        "SELECT number, stage FROM tracking_runs WHERE project = ? AND id = ?",
        (tx.project, run_id),
    ).first()
    return None if row is None else (row[0], Stage(row[1]))


def absent(tx: Transaction, run_id: str) -> NotFound:
    """Return the error of a run that is not there."""
    return NotFound(
        f"no run {run_id!r} in project {tx.project!r}",
        hint="List the runs of this project, or start the run first.",
        run=run_id,
    )


def list_runs(tx: Transaction, *, kind: str | None, limit: int) -> list[Run]:
    """Return the newest runs that are not deleted first."""
    query = sa.select(*_COLUMNS).where(runs.c.project == tx.project, runs.c.stage == Stage.ACTIVE)
    if kind is not None:
        query = query.where(runs.c.kind == kind)
    query = query.order_by(runs.c.started_at.desc(), runs.c.id.desc()).limit(limit)
    return [_run(row) for row in tx.connection.execute(query).mappings()]


def runs_meant(tx: Transaction, text: str, *, limit: int) -> list[Run]:
    """Return runs that are not deleted and are called ``text`` or have ids that begin so."""
    begins = sa.func.substr(runs.c.id, 1, len(text)) == text
    query = (
        sa.select(*_COLUMNS)
        .where(runs.c.project == tx.project, runs.c.stage == Stage.ACTIVE)
        .where(sa.or_(begins, runs.c.name == text))
        .order_by(runs.c.started_at.desc(), runs.c.id.desc())
        .limit(limit)
    )
    return [_run(row) for row in tx.connection.execute(query).mappings()]


def runs_by_number(tx: Transaction, numbers: Sequence[int]) -> dict[int, Run]:
    """Return the runs of these numbers."""
    found = {}
    for part in chunks(numbers):
        query = f"SELECT number, {_NAMES} FROM tracking_runs WHERE number IN ({listed(part)})"
        for number, *values in tx.execute(query):
            row = dict(zip(_FIELDS, values, strict=True))
            times = {name: moment(row[name]) for name in _TIMES if row[name] is not None}
            found[number] = _run(row | times)
    return found


def runs_by_id(tx: Transaction, ids: Sequence[str]) -> dict[str, Run]:
    """Return those of these runs that are there, by id."""
    found = {}
    for part in chunks(ids):
        query = sa.select(*_COLUMNS).where(runs.c.project == tx.project, runs.c.id.in_(part))
        for row in tx.connection.execute(query).mappings():
            found[row["id"]] = _run(row)
    return found


def runs_of_experiment(tx: Transaction, experiment: str) -> list[Run]:
    """Return every run of an experiment, deleted ones too, and hold them."""
    query = sa.select(*_COLUMNS).where(
        runs.c.project == tx.project, runs.c.experiment == experiment
    )
    query = locked_rows(tx.connection, query.order_by(runs.c.number))
    return [_run(row) for row in tx.connection.execute(query).mappings()]


def _is(tx: Transaction, run_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return runs.c.project == tx.project, runs.c.id == run_id


def _run(row: Any) -> Run:
    return Run(**{**row, "status": RunStatus(row["status"]), "stage": Stage(row["stage"])})
