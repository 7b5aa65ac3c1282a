"""Rows of trust: the model files that somebody vouches for."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Transaction, insert_if_absent
from everfit.registry.tables import trusted


def insert(tx: Transaction, digest: str, by: str, reason: str) -> bool:
    """Trust ``digest`` and return True, or return False where it is trusted already."""
    row = {"project": tx.project, "digest": digest, "trusted_by": by, "reason": reason}
    statement = insert_if_absent(tx.connection, trusted).returning(trusted.c.digest)
    return tx.connection.execute(statement, {**row, "at": tx.now}).one_or_none() is not None


def holds(tx: Transaction, digest: str) -> bool:
    """Return whether ``digest`` is trusted in this project."""
    here = (trusted.c.project == tx.project, trusted.c.digest == digest)
    return tx.connection.execute(sa.select(trusted.c.digest).where(*here)).first() is not None
