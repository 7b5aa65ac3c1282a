"""Rows of the tree of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from everfit.kernel import Transaction
from everfit.tracking.model import Artifact
from everfit.tracking.tables import artifacts

# The character behind "/": the paths below a folder lie between "folder/" and "folder0".
BEHIND = "0"


def put_artifact(tx: Transaction, artifact: Artifact) -> None:
    """Set one file, whose name is its whole path, replacing the one that is there."""
    row = {"project": tx.project, **asdict(artifact)}
    row["path"] = row.pop("name")
    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(artifacts)
    changed = {name: statement.excluded[name] for name in ("digest", "bytes", "media", "at")}
    statement = statement.on_conflict_do_update(
        index_elements=list(artifacts.primary_key.columns), set_=changed
    )
    tx.connection.execute(statement, row)


def get_artifact(tx: Transaction, path: str) -> Artifact | None:
    """Return one file, or None."""
    found = _select(tx, artifacts.c.path == path)
    return found[0] if found else None


def artifacts_below(tx: Transaction, folder: str) -> list[Artifact]:
    """Return every file below a folder, by path; of the whole tree where it is empty."""
    return _select(tx, *_below(folder))


def delete_artifacts(tx: Transaction, path: str) -> int:
    """Forget a file, or all files below a folder; return how many there were."""
    here = sa.or_(artifacts.c.path == path, sa.and_(*_below(path)))
    statement = sa.delete(artifacts).where(artifacts.c.project == tx.project, here)
    return tx.connection.execute(statement).rowcount


def delete_folders(tx: Transaction, folders: Sequence[str]) -> None:
    """Forget every file below each of these folders."""
    query = "DELETE FROM tracking_artifacts WHERE project = ? AND path >= ? AND path < ?"
    rows = [(tx.project, f"{folder}/", f"{folder}{BEHIND}") for folder in folders]
    tx.execute(query, rows)


def _below(folder: str) -> Sequence[sa.ColumnElement[bool]]:
    if not folder:
        return [sa.true()]
    return [artifacts.c.path >= f"{folder}/", artifacts.c.path < f"{folder}{BEHIND}"]


def _select(tx: Transaction, *where: sa.ColumnElement[bool]) -> list[Artifact]:
    columns = artifacts.c["path", "digest", "bytes", "media", "at"]
    query = sa.select(*columns).where(artifacts.c.project == tx.project, *where)
    rows = tx.connection.execute(query.order_by(artifacts.c.path)).mappings()
    return [
        Artifact(**{("name" if key == "path" else key): value for key, value in row.items()})
        for row in rows
    ]
