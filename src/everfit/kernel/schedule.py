"""Schedules: jobs that come due again and again, by the calendar in UTC or at a fixed distance."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from everfit.errors import Invalid
from everfit.kernel.database import Json, Moment, locked_rows, metadata
from everfit.kernel.work import Job, json_mapping
from everfit.kernel.work_store import enqueue
from everfit.kernel.workspace import Transaction

schedules = sa.Table(
    "work_schedules",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("every", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("next_at", Moment, nullable=False),
)

CALENDAR = ("hourly", "daily", "weekly", "monthly")
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
# Longer than anybody waits, and far from where adding to a date overflows.
LONGEST = timedelta(days=3_650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is enqueued (``kind``, ``payload``), how often, and when next."""

    name: str
    every: str
    kind: str
    payload: Mapping[str, Any]
    next_at: datetime


def parse_duration(text: str) -> timedelta:
    """Return a duration of up to ten years, written such as ``30m``, ``12h``, ``1d`` or ``2w``.

    Raises
    ------
    ValueError
        Saying what to write instead.

    Examples
    --------
    >>> parse_duration("36h")
    datetime.timedelta(days=1, seconds=43200)
    """
    match = re.fullmatch(r"\s*([0-9]+)([smhdw])\s*", text)
    shown = text.strip() if len(text) <= 40 else f"{text.strip()[:37]}..."
    if match is None:
        raise ValueError(f"{shown!r} is no duration; write one such as 30m, 12h, 1d or 2w")
    digits = match[1].lstrip("0") or "0"
    # A number of so many digits is too long in any unit, and int() refuses one of thousands.
    seconds = int(digits) * UNIT_SECONDS[match[2]] if len(digits) <= 10 else math.inf
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{shown!r} is more than 10 years; write a duration such as 1d or 2w")
    return timedelta(seconds=seconds)


def parse_every(every: str) -> timedelta | str:
    """Return the distance that ``every`` states, or the word itself where it names the calendar.

    Raises
    ------
    ValueError
        If ``every`` is neither, saying what can be written.

    Examples
    --------
    >>> parse_every("6h"), parse_every("monthly")
    (datetime.timedelta(seconds=21600), 'monthly')
    """
    if every in CALENDAR:
        return every
    try:
        step = parse_duration(every)
    except ValueError:
        step = timedelta()
    if not step:
        raise ValueError(
            f"{every!r} says no distance in time; write {', '.join(CALENDAR)}, or a whole number "
            "with s, m, h, d or w such as 30m, 6h or 2d, at most ten years"
        )
    return step


def next_time(every: str, *, planned: datetime, now: datetime) -> datetime:
    """Return the first time after ``now`` at which a schedule planned for ``planned`` is due.

    Times that were missed are passed over; a fixed distance keeps its phase.

    Examples
    --------
    >>> from datetime import UTC
    >>> now = datetime(2026, 1, 31, 13, 30, tzinfo=UTC)
    >>> f"{next_time('monthly', planned=now, now=now):%Y-%m-%d %H:%M}"
    '2026-02-01 00:00'
    >>> noon = now.replace(hour=12, minute=0)
    >>> f"{next_time('6h', planned=noon, now=now):%Y-%m-%d %H:%M}"
    '2026-01-31 18:00'
    """
    step = parse_every(every)
    if isinstance(step, timedelta):
        return planned + max((now - planned) // step + 1, 0) * step
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    if step == "hourly":
        return hour + timedelta(hours=1)
    if step == "daily":
        return day + timedelta(days=1)
    if step == "weekly":
        return day + timedelta(days=7 - day.weekday())
    # Day 1 plus 32 days lies in the next month, whatever the month.
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def schedule(
    tx: Transaction, name: str, every: str, kind: str, payload: Mapping[str, Any]
) -> Schedule:
    """Set the schedule ``name`` and return it; one that is so already keeps its next time.

    Raises
    ------
    Invalid
        If ``every`` cannot be read, or the payload is no JSON.
    """
    try:
        next_at = next_time(every, planned=tx.now, now=tx.now)
    except ValueError as error:
        hint = "Correct the schedule."
        raise Invalid(f"schedule {name!r}: {error}", hint=hint) from error
    payload = json_mapping(payload, of=f"the payload of schedule {name!r}")
    query = locked_rows(tx.connection, _of_project(tx).where(schedules.c.name == name))
    before = next((_schedule(row) for row in tx.connection.execute(query)), None)
    if before is not None and before.every == every:
        next_at = before.next_at
    after = Schedule(name=name, every=every, kind=kind, payload=payload, next_at=next_at)
    if after != before:
        _remove(tx, name)
        tx.connection.execute(sa.insert(schedules).values(project=tx.project, **asdict(after)))
        tx.record("schedule-set", name, every=every, kind=kind)
    return after


def unschedule(tx: Transaction, name: str) -> None:
    """Remove the schedule ``name``; an unknown one is no error. Jobs it enqueued stay."""
    if _remove(tx, name):
        tx.record("schedule-removed", name)


def _remove(tx: Transaction, name: str) -> bool:
    gone = sa.delete(schedules).where(schedules.c.project == tx.project, schedules.c.name == name)
    return bool(tx.connection.execute(gone).rowcount)


def list_schedules(tx: Transaction) -> list[Schedule]:
    """Return the schedules of this project by name."""
    query = _of_project(tx).order_by(schedules.c.name)
    return [_schedule(row) for row in tx.connection.execute(query)]


def is_due(tx: Transaction) -> bool:
    """Return whether ``enqueue_due`` would enqueue something."""
    return tx.connection.execute(_due(tx).limit(1)).first() is not None


def enqueue_due(tx: Transaction) -> list[Job]:
    """Enqueue one job for each schedule that is due, however many times were missed.

    The job's key is the schedule's name: while it lives no second one is added.
    """
    query = locked_rows(tx.connection, _due(tx).order_by(schedules.c.name))
    enqueued = []
    for row in tx.connection.execute(query).all():
        due = _schedule(row)
        enqueued.append(enqueue(tx, due.kind, due.payload, key=due.name))
        next_at = next_time(due.every, planned=due.next_at, now=tx.now)
        tx.connection.execute(
            sa.update(schedules)
            .where(schedules.c.project == tx.project, schedules.c.name == due.name)
            .values(next_at=next_at)
        )
    return enqueued


def _of_project(tx: Transaction) -> sa.Select[Any]:
    return sa.select(schedules).where(schedules.c.project == tx.project)


def _due(tx: Transaction) -> sa.Select[Any]:
    return _of_project(tx).where(schedules.c.next_at <= tx.now)


def _schedule(row: Any) -> Schedule:
    return Schedule(
        name=row.name, every=row.every, kind=row.kind, payload=row.payload, next_at=row.next_at
    )
