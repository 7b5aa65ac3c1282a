"""Rows of those tables of MLflow's database that are there, with the columns that they have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from everfit.errors import Invalid
from everfit.foreign import entities
from everfit.foreign.entities import WORKSPACE, Row
from everfit.foreign.model import Report

T = TypeVar("T")


class SqlRows:
    """Reads tables by their names; rows that make no sense are noted in the report."""

    def __init__(self, connection: sa.Connection, names: Collection[str], report: Report) -> None:
        self.connection = connection
        self.tables = _tables(connection, names)
        self._report = report

    def columns(self, name: str) -> set[str]:
        """Return the names of a table's columns, none where there is no table."""
        table = self.tables.get(name)
        return set() if table is None else set(table.c.keys())

    def in_our_experiments(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """Return the condition that ``column`` is an experiment of the workspace we read."""
        owners = self.tables["experiments"].c
        if "workspace" not in owners:
            return sa.true()
        return column.in_(sa.select(owners.experiment_id).where(owners.workspace == WORKSPACE))

    def rows(
        self,
        name: str,
        column: str | None = None,
        values: Sequence[object] = (),
        *,
        order: str | None = None,
    ) -> Sequence[Row]:
        """Return the rows of a table, those of ``values`` if asked for; none without the table."""
        table = self.tables.get(name)
        if table is None:
            return []
        query = sa.select(table)
        if column is not None:
            query = query.where(table.c[column].in_(values)).order_by(table.c[column])
        if order is not None:
            query = query.order_by(table.c[order])
        return [dict(row) for row in self.connection.execute(query).mappings()]

    def texts(
        self,
        name: str,
        owner: str,
        ids: Sequence[str] | None = None,
        *,
        names: tuple[str, str] = ("key", "value"),
    ) -> dict[Any, dict[str, str]]:
        """Return the texts of a table by owner and key, those of ``ids`` if they are given."""
        rows = self.rows(name) if ids is None else self.rows(name, owner, ids)
        key, value = names
        return entities.texts([(row[owner], row[key], row[value]) for row in rows if is_ours(row)])

    def read(
        self, rows: Sequence[Row], named: Callable[[Row], str], build: Callable[[Row], T]
    ) -> list[T]:
        """Return what ``build`` makes of the rows; one that it cannot read is noted."""
        found = []
        for row in rows:
            try:
                found.append(build(row))
            except (Invalid, KeyError, TypeError, ValueError) as error:
                self._report.refuse(named(row), str(error), "mend it in MLflow, then import again")
        return found


def is_ours(row: Row) -> bool:
    """Return whether a row lies in the workspace that we read."""
    return bool(row.get("workspace", WORKSPACE) == WORKSPACE)


def _tables(connection: sa.Connection, names: Collection[str]) -> dict[str, sa.TableClause]:
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    return {
        name: sa.table(name, *(sa.column(one["name"]) for one in inspector.get_columns(name)))
        for name in names
        if name in there
    }
