"""What a run is and how its status may change. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from everfit.errors import Conflict, Invalid

Scalar = str | int | float | bool | None
"""A parameter's value: what JSON writes without brackets."""


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of something (``kind``: training, evaluation, …), perhaps inside a parent."""

    id: str
    kind: str
    name: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None = None
    parent: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPoint:
    """One value of a metric. NaN and infinities are values like any other."""

    key: str
    value: float
    step: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A named blob of a run: its digest, size in bytes and media type."""

    name: str
    digest: str
    bytes: int
    media: str
    at: datetime


def resume(run: Run) -> Run:
    """Return ``run`` as it goes on when it is started again under the same id.

    A failed or cancelled run runs again; a finished one stays finished, so that work whose
    last acknowledgement was lost can be repeated.
    """
    if run.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        return replace(run, status=RunStatus.RUNNING, finished_at=None, error=None)
    return run


def finish(run: Run, status: RunStatus, *, at: datetime, error: str | None) -> Run:
    """Return ``run`` ended in ``status``; ending it twice in the same way changes nothing.

    Raises
    ------
    Invalid
        If ``status`` is no end.
    Conflict
        If the run has already ended in another way.
    """
    if status is RunStatus.RUNNING:
        raise Invalid(
            f"run {run.id} cannot be finished as 'running'",
            hint="Finish it as finished, failed or cancelled.",
        )
    if run.status is RunStatus.RUNNING:
        return replace(run, status=status, finished_at=at, error=error)
    if run.status is not status:
        raise Conflict(
            f"run {run.id} is {run.status} already; it cannot become {status}",
            hint="Start it again under the same id first, or start a new run.",
            run=run.id,
        )
    return run
