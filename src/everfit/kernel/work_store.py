"""Durable work in the database: every write is conditional on the state that was read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from everfit.errors import Invalid, NotFound
from everfit.kernel import work
from everfit.kernel.database import Json, Moment, insert_if_absent, locked_rows, metadata
from everfit.kernel.work import Job, JobState
from everfit.kernel.workspace import Transaction

jobs = sa.Table(
    "work_jobs",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("key", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("max_attempts", sa.BigInteger, nullable=False),
    sa.Column("run_after", Moment, nullable=False),
    sa.Column("worker", sa.Text),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.Column("error", sa.Text),
    sa.Column("hint", sa.Text),
    sa.Column("result", Json),
)
COLUMNS = tuple(field.name for field in fields(Job))
CHANGING = (
    "state",
    "attempt",
    "failures",
    "run_after",
    "worker",
    "finished_at",
    "error",
    "hint",
    "result",
)
# Literal text, in the indexes and in every query: SQLite uses a partial index only where the
# query repeats its condition word for word.
LIVE = sa.text("state IN ('queued', 'running')")
sa.Index(
    "work_jobs_due",
    jobs.c.project,
    jobs.c.run_after,
    jobs.c.id,
    sqlite_where=LIVE,
    postgresql_where=LIVE,
)
# At most one live job of a kind and key: the database says so, whatever processes do.
sa.Index(
    "work_jobs_live_key",
    jobs.c.project,
    jobs.c.kind,
    jobs.c.key,
    unique=True,
    sqlite_where=LIVE,
    postgresql_where=LIVE,
)

# Built once: putting a statement together costs SQLAlchemy more than the database needs to run it.
_of_project = sa.select(jobs).where(jobs.c.project == sa.bindparam("of_project"))
_by_id = _of_project.where(jobs.c.id == sa.bindparam("of_id"))
_by_key = _of_project.where(
    jobs.c.kind == sa.bindparam("of_kind"), jobs.c.key == sa.bindparam("of_key"), LIVE
)
_next_due = (
    _of_project.where(
        LIVE,
        jobs.c.run_after <= sa.bindparam("now"),
        jobs.c.kind.in_(sa.bindparam("kinds", expanding=True)),
    )
    .order_by(jobs.c.run_after, jobs.c.id)
    .limit(1)
)
# Postgres: rows that another worker is taking now are passed over, not waited for.
_take_next_due = _next_due.with_for_update(skip_locked=True)
_owned = sa.update(jobs).where(
    jobs.c.project == sa.bindparam("of_project"),
    jobs.c.id == sa.bindparam("of_id"),
    jobs.c.state == sa.bindparam("of_state"),
    jobs.c.attempt == sa.bindparam("of_attempt"),
)
_save = _owned.values({name: sa.bindparam(name) for name in CHANGING})
_renew = _owned.values(run_after=sa.bindparam("run_after"))


def enqueue(
    tx: Transaction,
    kind: str,
    payload: Mapping[str, Any],
    *,
    key: str | None = None,
    run_after: datetime | None = None,
    max_attempts: int = 5,
) -> Job:
    """Add a job and return it; where one of this kind and ``key`` is live, return that one."""
    if max_attempts < 1:
        raise Invalid(f"max_attempts is {max_attempts}", hint="A job needs at least one attempt.")
    job = Job(
        id=tx.new_id("job"),
        kind=kind,
        payload=work.json_mapping(payload, of=f"the payload of a {kind!r} job"),
        key=key,
        state=JobState.QUEUED,
        attempt=0,
        failures=0,
        max_attempts=max_attempts,
        run_after=tx.now if run_after is None else run_after,
        worker=None,
        created_at=tx.now,
        finished_at=None,
        error=None,
        hint=None,
        result=None,
    )
    insert = insert_if_absent(tx.connection, jobs).returning(jobs.c.id)
    row = {"project": tx.project, **_row(job)}
    while tx.connection.execute(insert, row).first() is None:
        if live := _first(tx, _by_key, of_kind=kind, of_key=key):
            return live
        # It came to its end between the two statements: the key is free, try again.
    return job


def cancel(tx: Transaction, job_id: str) -> Job:
    """Cancel a queued job at once, a running one from its next check on, and return it."""
    job = _one(tx, locked_rows(tx.connection, _by_id), job_id)
    ended = work.cancelled(job, now=tx.now)
    if ended is not job:
        save(tx, job, ended)
        record_end(tx, ended)
    return ended


def hasten(tx: Transaction, job_id: str) -> Job:
    """Let a queued job be due now, whatever it waits for, and return it."""
    job = _one(tx, locked_rows(tx.connection, _by_id), job_id)
    sooner = work.hastened(job, now=tx.now)
    if sooner is not job:
        save(tx, job, sooner)
    return sooner


def get_job(tx: Transaction, job_id: str) -> Job:
    """Return one job; raises NotFound."""
    return _one(tx, _by_id, job_id)


def list_jobs(tx: Transaction, *, states: Collection[JobState] = ()) -> list[Job]:
    """Return the jobs in any of ``states`` (all, if none is given), oldest first."""
    query = _of_project.order_by(jobs.c.created_at, jobs.c.id)
    if states:
        query = query.where(jobs.c.state.in_([JobState(state).value for state in states]))
    found = tx.connection.execute(query, {"of_project": tx.project})
    return [_job(row) for row in found.mappings()]


def is_due(tx: Transaction, kinds: Collection[str]) -> bool:
    """Return whether a job of ``kinds`` waits for a worker."""
    return _first(tx, _next_due, now=tx.now, kinds=list(kinds)) is not None


def claim(tx: Transaction, kinds: Collection[str], *, worker: str, lease: timedelta) -> Job | None:
    """Take the job of ``kinds`` that is due longest, also one whose lease ended, or None."""
    while before := _first(tx, _take_next_due, now=tx.now, kinds=list(kinds)):
        job = work.claimed(before, worker=worker, now=tx.now, lease=lease)
        save(tx, before, job)
        if job.state is JobState.RUNNING:
            return job
        record_end(tx, job)
    return None


def renew(tx: Transaction, job: Job, *, lease: timedelta) -> bool:
    """Extend the lease of this attempt; return False if it no longer owns the job."""
    changed = {"run_after": tx.now + lease}
    return bool(tx.connection.execute(_renew, _as_read(tx, job) | changed).rowcount)


def save(tx: Transaction, before: Job, after: Job) -> bool:
    """Write ``after`` if the job still stands as ``before``; return whether it did."""
    row = _row(after)
    changed = {name: row[name] for name in CHANGING}
    return bool(tx.connection.execute(_save, _as_read(tx, before) | changed).rowcount)


def record_end(tx: Transaction, job: Job) -> None:
    """Write the ledger event of a job that came to its end."""
    error = {} if job.error is None else {"error": job.error}
    tx.record(f"job-{job.state}", job.id, kind=job.kind, attempt=job.attempt, **error)


def _as_read(tx: Transaction, job: Job) -> dict[str, Any]:
    return {
        "of_project": tx.project,
        "of_id": job.id,
        "of_state": job.state.value,
        "of_attempt": job.attempt,
    }


def _first(tx: Transaction, query: sa.Select[Any], **values: Any) -> Job | None:
    found = tx.connection.execute(query, {"of_project": tx.project, **values}).mappings().first()
    return None if found is None else _job(found)


def _one(tx: Transaction, query: sa.Select[Any], job_id: str) -> Job:
    job = _first(tx, query, of_id=job_id)
    if job is None:
        raise NotFound(
            f"no job {job_id!r} in project {tx.project!r}",
            hint="`everfit status` lists the work that is queued or runs.",
            job=job_id,
        )
    return job


def _row(job: Job) -> dict[str, Any]:
    row = {name: getattr(job, name) for name in COLUMNS}
    return row | {"state": job.state.value}


def _job(row: sa.RowMapping) -> Job:
    values: dict[str, Any] = {name: row[name] for name in COLUMNS}
    return Job(**values | {"state": JobState(row["state"])})
