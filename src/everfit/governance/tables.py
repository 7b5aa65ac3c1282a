"""Tables of governance."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Moment, metadata

approvals = sa.Table(
    "governance_approvals",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
)
