"""Rows of monitoring: the only module of this room that speaks SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from everfit.errors import NotFound, StaleRevision
from everfit.kernel import Transaction, insert_if_absent
from everfit.monitoring import tables
from everfit.monitoring.model import Alert, AlertKind, Quality, Segment, Window

SEGMENT_COLUMNS = [c for c in tables.segments.c if c.name not in ("project", "endpoint")]


def _of(table: sa.Table) -> sa.ColumnElement[bool]:
    return (table.c.project == sa.bindparam("of_project")) & (
        table.c.endpoint == sa.bindparam("of_endpoint")
    )


# What every sweep asks is put together once: building a statement costs more than running it.
STATE = sa.select(tables.states.c.revision, tables.states.c.content).where(_of(tables.states))
NEXT_STATE = (
    sa.update(tables.states)
    .where(_of(tables.states), tables.states.c.revision == sa.bindparam("of_revision"))
    .values(
        revision=sa.bindparam("of_revision", type_=sa.BigInteger) + 1,
        content=sa.bindparam("new_content"),
    )
)
SEGMENTS = (
    sa.select(*SEGMENT_COLUMNS)
    .where(_of(tables.segments), tables.segments.c.kind == sa.bindparam("of_kind"))
    .order_by(tables.segments.c.number)
)
SEGMENTS_BY_ID = SEGMENTS.where(
    tables.segments.c.max_id >= sa.bindparam("low"),
    tables.segments.c.min_id <= sa.bindparam("high"),
)
WINDOWS = (
    sa.select(tables.windows)
    .where(_of(tables.windows))
    .order_by(tables.windows.c.start, tables.windows.c.version)
)
WINDOWS_OPEN = WINDOWS.where(
    (tables.windows.c.closed == 0)
    | tables.windows.c.start.in_(sa.bindparam("starts", expanding=True))
)
DELETE_WINDOW = sa.delete(tables.windows).where(
    _of(tables.windows),
    tables.windows.c.start == sa.bindparam("of_start"),
    tables.windows.c.version == sa.bindparam("of_version"),
)
ALERTS = (
    sa.select(tables.alerts)
    .where(_of(tables.alerts))
    .order_by(tables.alerts.c.opened_at, tables.alerts.c.id)
)
ALERTS_OPEN = ALERTS.where(tables.alerts.c.closed_at.is_(None))
PENDING = (
    sa.select(*(c for c in tables.pending_labels.c if c.name not in ("project", "endpoint")))
    .where(_of(tables.pending_labels))
    .order_by(tables.pending_labels.c.number)
)
DELETE_PENDING = sa.delete(tables.pending_labels).where(
    _of(tables.pending_labels), tables.pending_labels.c.number == sa.bindparam("of_number")
)


def _key(tx: Transaction, endpoint: str) -> dict[str, Any]:
    return {"of_project": tx.project, "of_endpoint": endpoint}


def state(tx: Transaction, endpoint: str) -> tuple[int, str | None]:
    """Return the revision and content of what the last sweep left behind."""
    found = tx.connection.execute(STATE, _key(tx, endpoint)).one_or_none()
    return (0, None) if found is None else (found.revision, found.content)


def save_state(tx: Transaction, endpoint: str, revision: int, content: str) -> None:
    """Write the state that follows ``revision``.

    Raises
    ------
    StaleRevision
        If another sweep came first.
    """
    c = tables.states.c
    if revision == 0:
        row = {"project": tx.project, "endpoint": endpoint, "revision": 1, "content": content}
        first = insert_if_absent(tx.connection, tables.states).values(row)
        written = tx.connection.execute(first.returning(c.revision)).one_or_none() is not None
    else:
        values = {"of_revision": revision, "new_content": content}
        done = tx.connection.execute(NEXT_STATE, _key(tx, endpoint) | values)
        written = done.rowcount == 1
    if not written:
        raise StaleRevision(
            f"another sweep of endpoint {endpoint!r} came first",
            hint="Nothing was written; what it has not seen the next sweep will.",
            endpoint=endpoint,
        )


def insert_segments(tx: Transaction, endpoint: str, segments: Sequence[Segment]) -> None:
    """Add sealed segments."""
    if segments:
        key = {"project": tx.project, "endpoint": endpoint}
        tx.connection.execute(
            sa.insert(tables.segments), [key | asdict(segment) for segment in segments]
        )


def segments(
    tx: Transaction,
    endpoint: str,
    kind: str,
    *,
    ids: tuple[str, str] | None = None,
    times: tuple[datetime | None, datetime | None] = (None, None),
    sealed: tuple[datetime | None, datetime | None] = (None, None),
    after: int | None = None,
) -> list[Segment]:
    """Return segments in order: those whose ids or times reach into the given ranges.

    ``sealed`` asks for those sealed after its first and not after its second moment, ``after``
    for those with higher numbers.
    """
    c = tables.segments.c
    values = _key(tx, endpoint) | {"of_kind": kind}
    query = SEGMENTS
    if ids is not None:
        query, values = SEGMENTS_BY_ID, values | {"low": ids[0], "high": ids[1]}
    if times[0] is not None:
        query = query.where(c.max_time >= times[0])
    if times[1] is not None:
        query = query.where(c.min_time <= times[1])
    if after is not None:
        query = query.where(c.number > after)
    if sealed[0] is not None:
        query = query.where(c.sealed_at > sealed[0])
    if sealed[1] is not None:
        query = query.where(c.sealed_at <= sealed[1])
    return [Segment(**row) for row in tx.connection.execute(query, values).mappings()]


def windows(
    tx: Transaction,
    endpoint: str,
    *,
    starts: Iterable[datetime] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    around: datetime | None = None,
) -> list[Window]:
    """Return windows in order.

    With ``starts`` those that are still open or begin then, with ``since`` and ``until`` those
    that begin in [since, until), with ``around`` those that this moment falls into.
    """
    c = tables.windows.c
    query, values = WINDOWS, _key(tx, endpoint)
    if starts is not None:
        query, values = WINDOWS_OPEN, values | {"starts": list(starts)}
    if since is not None:
        query = query.where(c.start >= since)
    if until is not None:
        query = query.where(c.start < until)
    if around is not None:
        query = query.where(c.start <= around, c.ends > around)
    return [_window(row) for row in tx.connection.execute(query, values).mappings()]


def _window(row: sa.RowMapping) -> Window:
    return Window(
        start=row["start"],
        end=row["ends"],
        version=row["version"],
        rows=row["rows"],
        closed=row["closed"] == 1,
        quality=None if row["quality"] is None else Quality(**row["quality"]),
        drift=row["drift"],
        data_quality=row["data_quality"],
        counts=row["counts"],
    )


def save_windows(tx: Transaction, endpoint: str, changed: Sequence[Window]) -> None:
    """Write windows as they now are."""
    if not changed:
        return
    key = _key(tx, endpoint)
    tx.connection.execute(
        DELETE_WINDOW, [key | {"of_start": w.start, "of_version": w.version} for w in changed]
    )
    tx.connection.execute(
        sa.insert(tables.windows),
        [
            {
                "project": tx.project,
                "endpoint": endpoint,
                "start": window.start,
                "version": window.version,
                "ends": window.end,
                "rows": window.rows,
                "closed": int(window.closed),
                "counts": window.counts,
                "quality": None if window.quality is None else asdict(window.quality),
                "drift": dict(window.drift),
                "data_quality": dict(window.data_quality),
            }
            for window in changed
        ],
    )


def alerts(tx: Transaction, endpoint: str, *, open_only: bool = False) -> list[Alert]:
    """Return alerts in the order in which they were opened."""
    query = ALERTS_OPEN if open_only else ALERTS
    found = tx.connection.execute(query, _key(tx, endpoint)).mappings()
    return [_alert(row) for row in found]


def get_alert(tx: Transaction, alert_id: str) -> Alert:
    """Return one alert.

    Raises
    ------
    NotFound
        If there is none.
    """
    c = tables.alerts.c
    query = sa.select(tables.alerts).where(c.project == tx.project, c.id == alert_id)
    row = tx.connection.execute(query).mappings().one_or_none()
    if row is None:
        hint = "`everfit status` lists the open ones with their ids."
        raise NotFound(f"no alert {alert_id}", hint=hint)
    return _alert(row)


def _alert(row: sa.RowMapping) -> Alert:
    fields = {name: value for name, value in row.items() if name != "project"}
    return Alert(**fields | {"kind": AlertKind(row["kind"]), "columns": tuple(row["columns"])})


def insert_alert(tx: Transaction, alert: Alert) -> None:
    """Add an alert."""
    tx.connection.execute(sa.insert(tables.alerts).values(_row(tx, alert)))


def update_alert(tx: Transaction, alert: Alert) -> None:
    """Write an alert as it now is."""
    c = tables.alerts.c
    tx.connection.execute(
        sa.update(tables.alerts)
        .where(c.project == tx.project, c.id == alert.id)
        .values(_row(tx, alert))
    )


def _row(tx: Transaction, alert: Alert) -> dict[str, Any]:
    changed = {"columns": list(alert.columns), "numbers": dict(alert.numbers)}
    return {"project": tx.project} | asdict(alert) | changed


def pending_labels(tx: Transaction, endpoint: str) -> list[Mapping[str, Any]]:
    """Return labels whose prediction is not known yet, in the order in which they came."""
    found = tx.connection.execute(PENDING, _key(tx, endpoint)).mappings()
    return [dict(row) for row in found]


def insert_pending(tx: Transaction, endpoint: str, labels: Sequence[Mapping[str, Any]]) -> None:
    """Keep labels whose prediction is not known yet."""
    if labels:
        key = {"project": tx.project, "endpoint": endpoint}
        tx.connection.execute(
            sa.insert(tables.pending_labels), [key | dict(label) for label in labels]
        )


def delete_pending(tx: Transaction, endpoint: str, numbers: Sequence[int]) -> None:
    """Forget labels that have joined."""
    if numbers:
        key = _key(tx, endpoint)
        tx.connection.execute(DELETE_PENDING, [key | {"of_number": n} for n in numbers])
