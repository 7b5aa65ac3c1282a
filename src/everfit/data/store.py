"""Rows of the data room: the only module of it that speaks SQL to Everfit's database."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.data.model import DatasetVersion
from everfit.data.tables import versions
from everfit.kernel import Transaction


def insert(tx: Transaction, version: DatasetVersion) -> None:
    """Add a version."""
    tx.connection.execute(
        sa.insert(versions).values(
            project=tx.project,
            id=version.id,
            name=version.name,
            row_count=version.rows,
            column_names=list(version.columns),
            chunks=list(version.chunks),
            at=tx.now,
        )
    )


def find(tx: Transaction, version_id: str) -> DatasetVersion | None:
    """Return the version of this project with that id, None if there is none."""
    query = sa.select(versions).where(versions.c.project == tx.project, versions.c.id == version_id)
    row = tx.connection.execute(query).one_or_none()
    if row is None:
        return None
    return DatasetVersion(
        id=row.id,
        name=row.name,
        rows=row.row_count,
        columns=tuple(row.column_names),
        chunks=tuple(row.chunks),
    )
