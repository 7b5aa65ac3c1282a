"""Rows of traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from everfit.errors import NotFound
from everfit.filters import chunks, listed
from everfit.kernel import Transaction, locked_rows
from everfit.tracing.model import Trace, TraceState
from everfit.tracing.tables import trace_links, traces

_PLAIN = (
    "id",
    "experiment",
    "duration_ms",
    "client_request_id",
    "request_preview",
    "response_preview",
)
_COLUMNS = ", ".join(("number", "started_at", "state", *_PLAIN))
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
METADATA, TAGS = "tracking_trace_metadata", "tracking_trace_tags"

_INSERT = """
INSERT INTO tracking_traces AS t (project, id, experiment, state, started_at, duration_ms,
    client_request_id, request_preview, response_preview) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# A trace that is sent again is brought up to date, but never moves: its files lie where it was.
_PUT = f"""{_INSERT}
ON CONFLICT (project, id) DO UPDATE SET
    state = excluded.state,
    started_at = excluded.started_at,
    duration_ms = excluded.duration_ms,
    client_request_id = excluded.client_request_id,
    request_preview = coalesce(excluded.request_preview, t.request_preview),
    response_preview = coalesce(excluded.response_preview, t.response_preview)
WHERE t.experiment = excluded.experiment RETURNING number
"""


def put_trace(tx: Transaction, trace: Trace) -> int | None:
    """Add or update a trace without its texts; return its number, None if it lies elsewhere."""
    number: int | None = tx.execute(_PUT, _row(tx, trace)).scalar()
    return number


def insert_trace(tx: Transaction, trace: Trace) -> int | None:
    """Add a trace without its texts; return its number, None if its id is taken."""
    query = f"{_INSERT} ON CONFLICT DO NOTHING RETURNING number"
    number: int | None = tx.execute(query, _row(tx, trace)).scalar()
    return number


def _row(tx: Transaction, trace: Trace) -> tuple[object, ...]:
    return (
        tx.project,
        trace.id,
        trace.experiment,
        trace.state,
        (trace.started_at - EPOCH) // MICROSECOND,
        trace.duration_ms,
        trace.client_request_id,
        trace.request_preview,
        trace.response_preview,
    )


def put_texts(tx: Transaction, table: str, trace: int, values: Mapping[str, str]) -> None:
    """Set metadata or tags, replacing those of the same keys."""
    rows = [(trace, key, values[key]) for key in sorted(values)]
    if rows:
        tx.execute(
            f"INSERT INTO {table} (trace, key, value) VALUES (?, ?, ?) "
            "ON CONFLICT (trace, key) DO UPDATE SET value = excluded.value",
            rows,
        )


def delete_tag(tx: Transaction, trace: int, key: str) -> bool:
    """Delete one tag; return whether there was one."""
    query = "DELETE FROM tracking_trace_tags WHERE trace = ? AND key = ?"
    return bool(tx.execute(query, (trace, key)).rowcount)


def held_number(tx: Transaction, trace_id: str) -> int:
    """Return the number of a trace, and hold it until the end; raises NotFound."""
    query = sa.select(traces.c.number).where(
        traces.c.project == tx.project, traces.c.id == trace_id
    )
    found = tx.connection.execute(locked_rows(tx.connection, query)).scalar_one_or_none()
    if found is None:
        raise absent(tx, trace_id)
    return int(found)


def absent(tx: Transaction, trace_id: str) -> NotFound:
    """Return the error of a trace that is not there."""
    # A client takes these words, with the id 'get', to mean that a call is not there.
    return NotFound(
        f"Trace with ID '{trace_id[:100]}' not found in project {tx.project!r}",
        hint="Search for the traces of its experiment; one that was just made may still come.",
        trace=trace_id,
    )


def numbers_of(tx: Transaction, ids: Sequence[str]) -> dict[str, int]:
    """Return the numbers of those of the traces that are there, by id."""
    found: dict[str, int] = {}
    for part in chunks(ids):
        query = sa.select(traces.c.id, traces.c.number).where(
            traces.c.project == tx.project, traces.c.id.in_(part)
        )
        found.update((row.id, row.number) for row in tx.connection.execute(query))
    return found


def load_traces(tx: Transaction, numbers: Sequence[int]) -> list[Trace]:
    """Return the traces of these numbers, in this order."""
    metadata, tags = _texts(tx, METADATA, numbers), _texts(tx, TAGS, numbers)
    found: dict[int, Trace] = {}
    for part in chunks(numbers):
        query = f"SELECT {_COLUMNS} FROM tracking_traces WHERE number IN ({listed(part)})"
        for number, started_at_us, state, *others in tx.execute(query):
            found[number] = Trace(
                **dict(zip(_PLAIN, others, strict=True)),
                started_at=EPOCH + started_at_us * MICROSECOND,
                state=TraceState(state),
                metadata=metadata[number],
                tags=tags[number],
            )
    return [found[number] for number in numbers]


def select_traces(
    tx: Transaction,
    experiment: str,
    *,
    ids: Sequence[str] | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> list[tuple[int, str]]:
    """Return number and id of traces of an experiment, the oldest first, and hold them."""
    query = sa.select(traces.c.number, traces.c.id).where(
        traces.c.project == tx.project, traces.c.experiment == experiment
    )
    if ids is not None:
        query = query.where(traces.c.id.in_(ids))
    if until is not None:
        query = query.where(traces.c.started_at <= until)
    query = query.order_by(traces.c.started_at, traces.c.id).limit(limit)
    rows = tx.connection.execute(locked_rows(tx.connection, query))
    return [(row.number, row.id) for row in rows]


def delete_traces(tx: Transaction, numbers: Sequence[int]) -> None:
    """Delete traces with their metadata and tags."""
    for part in chunks(numbers):
        for table, column in ((METADATA, "trace"), (TAGS, "trace"), ("tracking_traces", "number")):
            tx.execute(f"DELETE FROM {table} WHERE {column} IN ({listed(part)})")


def delete_links(tx: Transaction, ids: Sequence[str]) -> None:
    """Forget which runs these traces belong to."""
    query = "DELETE FROM tracking_trace_links WHERE project = ? AND trace = ?"
    tx.execute(query, [(tx.project, id) for id in ids])


def put_links(tx: Transaction, run_id: str, ids: Sequence[str]) -> None:
    """Note that traces belong to a run; one that does already is left alone."""
    rows = [(tx.project, run_id, id) for id in sorted(set(ids))]
    if rows:
        tx.execute(
            "INSERT INTO tracking_trace_links (project, run, trace) VALUES (?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            rows,
        )


def links(tx: Transaction, ids: Sequence[str]) -> dict[str, set[str]]:
    """Return the runs that these traces were linked to, by the traces' ids."""
    found: dict[str, set[str]] = {}
    for part in chunks(ids):
        query = sa.select(trace_links.c.trace, trace_links.c.run).where(
            trace_links.c.project == tx.project, trace_links.c.trace.in_(part)
        )
        for trace, run in tx.connection.execute(query):
            found.setdefault(trace, set()).add(run)
    return found


def _texts(tx: Transaction, table: str, numbers: Sequence[int]) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {number: {} for number in numbers}
    for part in chunks(numbers):
        query = f"SELECT trace, key, value FROM {table} WHERE trace IN ({listed(part)})"
        for trace, key, value in tx.execute(f"{query} ORDER BY trace, key"):
            found[trace][key] = value
    return found
