"""Rows of governance: the only module of this room that speaks SQL."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from everfit.governance.model import Approval
from everfit.governance.tables import approvals
from everfit.kernel import Transaction


def add(tx: Transaction, approval: Approval) -> None:
    """Add one approval."""
    row = asdict(approval)
    tx.connection.execute(sa.insert(approvals).values(project=tx.project, **row))


def of_version(tx: Transaction, model: str, version: int) -> list[Approval]:
    """Return the approvals of a version in the order in which they were given."""
    query = (
        sa.select(approvals)
        .where(approvals.c.project == tx.project)
        .where(approvals.c.model == model, approvals.c.version == version)
        .order_by(approvals.c.at, approvals.c.person)
    )
    rows = tx.connection.execute(query).mappings()
    return [Approval(**{k: v for k, v in row.items() if k != "project"}) for row in rows]
