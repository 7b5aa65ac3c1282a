"""Rows of deliveries: how far the journal of each writer is applied."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from everfit.kernel import Transaction, insert_if_absent, locked_rows
from everfit.tracking.tables import deliveries


def hold(tx: Transaction, writer: str) -> tuple[tuple[int, int], list[Any]]:
    """Return how far a writer's journal is applied, and what its last batch was refused.

    The row, made now if there is none, is held: another delivery of the writer waits.
    """
    start = {"segment": 0, "byte": 0, "refused": [], "at": tx.now}
    row = {"project": tx.project, "writer": writer, **start}
    tx.connection.execute(insert_if_absent(tx.connection, deliveries), row)
    query = sa.select(*deliveries.c["segment", "byte", "refused"]).where(*_is(tx, writer))
    segment, byte, refused = tx.connection.execute(locked_rows(tx.connection, query)).one()
    return (segment, byte), refused


def advance(tx: Transaction, writer: str, place: tuple[int, int], refused: list[Any]) -> None:
    """Write how far a writer's journal is applied now. The caller holds its row (``hold``)."""
    segment, byte = place
    values = {"segment": segment, "byte": byte, "refused": refused, "at": tx.now}
    tx.connection.execute(sa.update(deliveries).where(*_is(tx, writer)).values(**values))


def _is(tx: Transaction, writer: str) -> tuple[sa.ColumnElement[bool], ...]:
    return deliveries.c.project == tx.project, deliveries.c.writer == writer
