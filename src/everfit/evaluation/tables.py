"""Tables of evaluation."""

from __future__ import annotations

import sqlalchemy as sa

from everfit.kernel import Json, Moment, metadata

reports = sa.Table(
    "evaluation_reports",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    # Digest of what was decided on: the same question is answered once.
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("candidate", sa.BigInteger, nullable=False),
    sa.Column("champion", sa.BigInteger),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("rows_digest", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
sa.Index("evaluation_reports_by_decision", reports.c.project, reports.c.decision, unique=True)
sa.Index("evaluation_reports_by_candidate", reports.c.project, reports.c.model, reports.c.candidate)
verdicts = sa.Table(
    "evaluation_verdicts",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("report", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("gate", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("numbers", Json, nullable=False),
)
