"""Durable work: what a job is, and every change of state it can go through. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from everfit.errors import Cancelled, Conflict, EverfitError, Invalid, LeaseLost
from everfit.kernel.database import canonical_json

FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(hours=1)
# Processes end for reasons that are not the job's: deployments, restarts, a lack of memory. One
# that ends them all must not go on for ever either.
MOST_LOST = 20


class JobState(StrEnum):
    """Where a job stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of work that outlives the process that asked for it.

    ``attempt`` counts the claims so far and fences them: only the attempt that the database
    names may write its outcome. ``failures`` counts those that ended with an error; after
    ``max_attempts`` of them the job has failed. Attempts whose process ended are not among them,
    but ``MOST_LOST`` of these are too many as well. ``run_after`` is when the next attempt may
    start: while a job runs, when its lease ends. ``error`` and ``hint`` are those of the last
    error.
    """

    id: str
    kind: str
    payload: Mapping[str, Any]
    key: str | None
    state: JobState
    attempt: int
    failures: int
    max_attempts: int
    run_after: datetime
    worker: str | None
    created_at: datetime
    finished_at: datetime | None
    error: str | None
    hint: str | None
    result: Mapping[str, Any] | None


def claimed(job: Job, *, worker: str, now: datetime, lease: timedelta) -> Job:
    """Return ``job`` as the next attempt holds it, or failed if too many processes died of it.

    A job that is due while it runs was lost: its lease ended, so its process did.
    """
    lost = job.attempt - job.failures
    if lost >= MOST_LOST:
        said = f"attempt {job.attempt}: the process of {job.worker} ended, as in {lost} in all"
        hint = "See in its log what ended it; when that is corrected, ask for the work again."
        return replace(job, state=JobState.FAILED, finished_at=now, error=said, hint=hint)
    return replace(
        job,
        state=JobState.RUNNING,
        attempt=job.attempt + 1,
        worker=worker,
        run_after=now + lease,
    )


def done(job: Job, result: Mapping[str, Any] | None, *, now: datetime) -> Job:
    """Return ``job`` as its attempt leaves it on success."""
    return replace(
        job,
        state=JobState.DONE,
        finished_at=now,
        error=None,
        hint=None,
        result=None if result is None else json_mapping(result, of=f"the result of job {job.id}"),
    )


def failed(job: Job, error: BaseException, *, now: datetime) -> Job:
    """Return ``job`` queued for its next attempt, or failed if there is none.

    An input that was refused is not tried again: it would be refused again.
    """
    message, hint = _said(error)
    failures = job.failures + 1
    job = replace(job, failures=failures, error=message, hint=hint)
    if failures >= job.max_attempts or isinstance(error, Invalid):
        return replace(job, state=JobState.FAILED, finished_at=now)
    return replace(job, state=JobState.QUEUED, run_after=now + pause_after(failures))


def given_back(job: Job, *, now: datetime) -> Job:
    """Return ``job`` queued again: its attempt was broken off by a person, and is due at once."""
    return replace(job, state=JobState.QUEUED, run_after=now, worker=None)


def hastened(job: Job, *, now: datetime) -> Job:
    """Return ``job`` due now if it waits for its time; else as it is."""
    if job.state is not JobState.QUEUED or job.run_after <= now:
        return job
    return replace(job, run_after=now)


def cancelled(job: Job, *, now: datetime) -> Job:
    """Return ``job`` cancelled; raises Conflict if it has come to another end already.

    A running attempt is not stopped but fenced: it can no longer write its outcome, and learns
    so at its next ``Lease.check``.
    """
    if job.state in (JobState.DONE, JobState.FAILED):
        raise Conflict(
            f"job {job.id} ({job.kind}) is {job.state} since {job.finished_at}",
            hint="Only a queued or running job can be cancelled.",
            job=job.id,
        )
    if job.state is JobState.CANCELLED:
        return job
    return replace(job, state=JobState.CANCELLED, finished_at=now)


def lost(job: Job, attempt: int) -> Conflict | None:
    """Return why ``attempt`` may not write the outcome of ``job``, or None if it may."""
    if job.state is JobState.RUNNING and job.attempt == attempt:
        return None
    if job.state is JobState.CANCELLED:
        return Cancelled(
            f"job {job.id} ({job.kind}) was cancelled at {job.finished_at}",
            hint="Nothing of this attempt is written; enqueue the work again if it is wanted.",
            job=job.id,
        )
    return LeaseLost(
        f"attempt {attempt} of job {job.id} ({job.kind}) no longer owns it: "
        f"it is {job.state} in attempt {job.attempt} of {job.worker}",
        hint="Nothing of this attempt is written. If attempts often take longer than their lease, "
        "raise lease_seconds.",
        job=job.id,
    )


def pause_after(failures: int) -> timedelta:
    """Return how long to wait after so many errors: 5 s, 20 s, 80 s, … at most an hour.

    Examples
    --------
    >>> [pause_after(failures).total_seconds() for failures in (1, 2, 3, 400)]
    [5.0, 20.0, 80.0, 3600.0]
    """
    # The exponent is bounded first: 4**400 seconds is more than a timedelta holds.
    factor: int = 4 ** min(failures - 1, 10)
    return min(FIRST_PAUSE * factor, LONGEST_PAUSE)


def json_mapping(value: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """Return ``value`` as a dict; raises Invalid if it cannot be stored as JSON."""
    try:
        canonical_json(dict(value))
    except (TypeError, ValueError) as error:
        raise Invalid(
            f"{of} cannot be stored as JSON: {error}",
            hint="Use texts, finite numbers, booleans, None, lists and mappings of these.",
        ) from error
    return dict(value)


def _said(error: BaseException) -> tuple[str, str | None]:
    if isinstance(error, EverfitError):
        return storable(error.message), storable(error.hint)
    return storable(f"{type(error).__name__}: {error}"), None


def storable(text: str) -> str:
    """Return a text as every database takes it: no half surrogate pair and no NUL."""
    mended = text.encode(errors="replace").decode()
    return mended.replace("\0", "\N{REPLACEMENT CHARACTER}")
