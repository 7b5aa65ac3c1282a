"""The ledger: every change of state, append-only, written in the transaction that makes it.

Rows of one project form a hash chain: each holds the digest of the one before it, and
``verify`` recomputes them all. The head row makes a cut-off tail visible too, unless it was set
back as well: against that helps only a head noted outside this database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from everfit.kernel.database import (
    Json,
    Moment,
    canonical_json,
    insert_if_absent,
    locked_rows,
    metadata,
    microseconds,
)

GENESIS = "0" * 64

rows = sa.Table(
    "ledger",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("data", Json, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)
sa.Index("ledger_by_subject", rows.c.project, rows.c.subject)
heads = sa.Table(
    "ledger_heads",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)


# The rows as they are stored, text and whole numbers: what the digest is taken over, so that no
# edit can hide behind decoding. Built once: events are the most frequent write.
_STORED: dict[str, sa.types.TypeEngine[Any]] = {"at": sa.BigInteger(), "data": sa.Text()}
_insert_row = sa.insert(rows).values(
    {column.name: sa.bindparam(column.name, type_=_STORED.get(column.name)) for column in rows.c}
)
_stored_rows = sa.select(
    *(
        sa.type_coerce(column, _STORED[column.name]).label(column.name)
        if column.name in _STORED
        else column
        for column in rows.c
    )
)
_find_head = sa.select(heads.c.number, heads.c.digest).where(
    heads.c.project == sa.bindparam("of_project")
)
_move_head = sa.update(heads).where(heads.c.project == sa.bindparam("of_project"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the ledger: what changed (``kind``), of what (``subject``), by whom, and how."""

    project: str
    number: int
    at: datetime
    kind: str
    subject: str
    actor: str
    data: Mapping[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A place where the chain does not hold."""

    number: int
    reason: str


def digest_of(row: Mapping[str, Any] | sa.RowMapping) -> str:
    """Return the digest a stored row must carry: SHA-256 over all its other columns."""
    body = [row[column.name] for column in rows.c if column.name != "digest"]
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()


def append(
    connection: sa.Connection,
    project: str,
    *,
    at: datetime,
    kind: str,
    subject: str,
    actor: str,
    data: Mapping[str, Any],
) -> int:
    """Add one row in the caller's transaction and return its number, counted from 1."""
    head = _locked_head(connection, project)
    row: dict[str, Any] = {
        "project": project,
        "number": head.number + 1,
        "at": microseconds(at),
        "kind": kind,
        "subject": subject,
        "actor": actor,
        "data": canonical_json(data),
        "previous": head.digest,
    }
    row["digest"] = digest_of(row)
    connection.execute(_insert_row, row)
    position = {"number": row["number"], "digest": row["digest"]}
    connection.execute(_move_head, {"of_project": project, **position})
    return int(row["number"])


def _locked_head(connection: sa.Connection, project: str) -> Any:
    """Return the head row, made first if need be, held until this transaction ends."""
    find = locked_rows(connection, _find_head)
    head = connection.execute(find, {"of_project": project}).one_or_none()
    if head is None:
        # Two writers may both be the first: one of them makes the row, both then queue for it.
        first = {"project": project, "number": 0, "digest": GENESIS}
        connection.execute(insert_if_absent(connection, heads), first)
        head = connection.execute(find, {"of_project": project}).one()
    return head


def events(
    connection: sa.Connection,
    project: str,
    *,
    kinds: Sequence[str] = (),
    subject: str | None = None,
    after: int = 0,
) -> list[Event]:
    """Return the events of ``project`` in order, those of ``kinds`` and ``subject`` if given."""
    query = sa.select(rows).where(rows.c.project == project, rows.c.number > after)
    if kinds:
        query = query.where(rows.c.kind.in_(kinds))
    if subject is not None:
        query = query.where(rows.c.subject == subject)
    found = connection.execute(query.order_by(rows.c.number)).mappings()
    return [Event(**row) for row in found]


def head(connection: sa.Connection, project: str) -> tuple[int, str]:
    """Return the number of the last row and its digest; 0 and zeros before the first."""
    found = connection.execute(_find_head, {"of_project": project}).one_or_none()
    return (found.number, found.digest) if found else (0, GENESIS)


def verify(
    connection: sa.Connection, project: str, *, noted: tuple[int, str] | None = None
) -> list[Break]:
    """Return every break of the chain; an empty list says that nothing was touched.

    Finds rows that were edited, removed, added or put in another order, also at the end. Whoever
    may write to the whole database can also write another chain: hold ``noted``, a head that was
    written down elsewhere, against it.
    """
    found = list(_breaks(connection, project))
    head_number, head_digest = head(connection, project)
    last = connection.execute(
        sa.select(rows.c.number, rows.c.digest)
        .where(rows.c.project == project)
        .order_by(rows.c.number.desc())
        .limit(1)
    ).one_or_none()
    last_number, last_digest = last or (0, GENESIS)
    if head_number != last_number:
        reason = f"the chain ends at row {last_number}, its head says row {head_number}"
        found.append(Break(number=min(head_number, last_number) + 1, reason=reason))
    elif head_digest != last_digest and not found:
        found.append(Break(number=last_number, reason="it is not the row its head was set to"))
    if noted is not None and not _holds(connection, project, noted):
        found.append(Break(number=noted[0], reason="it is not the row that was noted"))
    return found


def _holds(connection: sa.Connection, project: str, noted: tuple[int, str]) -> bool:
    if noted[0] == 0:
        return GENESIS.startswith(noted[1])
    row = sa.select(rows.c.digest).where(rows.c.project == project, rows.c.number == noted[0])
    digest = connection.execute(row).scalar_one_or_none()
    return digest is not None and digest.startswith(noted[1])


def _breaks(connection: sa.Connection, project: str) -> Iterator[Break]:
    number, previous = 0, GENESIS
    query = _stored_rows.where(rows.c.project == project).order_by(rows.c.number)
    for row in connection.execute(query).mappings():
        if row["number"] != number + 1:
            for gone in range(number + 1, row["number"]):
                yield Break(number=gone, reason="it is missing")
        elif row["previous"] != previous:
            yield Break(number=row["number"], reason=f"it does not follow row {number}")
        if row["digest"] != digest_of(row):
            yield Break(number=row["number"], reason="its content was changed")
        number, previous = row["number"], row["digest"]
