"""Rows of compiling: what came of it for a package."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Transaction
from everfit.packages import Signature
from everfit.registry.model import Compiled
from everfit.registry.tables import compiled


def put(tx: Transaction, found: Compiled) -> None:
    """Keep what came of compiling a package, in the place of what came of it before."""
    here = (compiled.c.project == tx.project, compiled.c.package == found.package)
    tx.connection.execute(sa.delete(compiled).where(*here))
    tx.connection.execute(
        sa.insert(compiled),
        {
            "project": tx.project,
            "package": found.package,
            "content": found.content,
            "reason": found.reason,
            "signature": found.signature.to_builtins(),
            "seconds": found.seconds,
            "at": tx.now,
        },
    )


def get(tx: Transaction, package: str) -> Compiled | None:
    """Return what came of compiling a package, or None where nobody has tried."""
    here = (compiled.c.project == tx.project, compiled.c.package == package)
    row = tx.connection.execute(sa.select(compiled).where(*here)).mappings().one_or_none()
    if row is None:
        return None
    return Compiled(
        package=package,
        content=row["content"],
        reason=row["reason"],
        signature=Signature.from_builtins(row["signature"]),
        seconds=row["seconds"],
    )
