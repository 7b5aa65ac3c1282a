"""Rows of evaluation: the only module of this room that speaks SQL."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from everfit.evaluation.model import Outcome, Report, Verdict
from everfit.evaluation.tables import reports, verdicts
from everfit.kernel import Transaction

COLUMNS = ("id", "model", "candidate", "champion", "rows", "rows_digest", "at")


def insert(tx: Transaction, report: Report, decision: str) -> None:
    """Add a report with its verdicts."""
    row = {name: getattr(report, name) for name in COLUMNS}
    tx.connection.execute(sa.insert(reports).values(project=tx.project, decision=decision, **row))
    lines = [
        {"project": tx.project, "report": report.id, "position": position, **asdict(verdict)}
        for position, verdict in enumerate(report.verdicts)
    ]
    if lines:
        tx.connection.execute(sa.insert(verdicts), lines)


def by_decision(tx: Transaction, decision: str) -> Report | None:
    """Return the report that answered this question before, if there is one."""
    return _one(tx, sa.select(reports).where(reports.c.decision == decision))


def get(tx: Transaction, report_id: str) -> Report | None:
    """Return one report by its id."""
    return _one(tx, sa.select(reports).where(reports.c.id == report_id))


def latest(tx: Transaction, model: str, candidate: int) -> Report | None:
    """Return the newest report on a candidate."""
    query = sa.select(reports).where(reports.c.model == model, reports.c.candidate == candidate)
    return _one(tx, query.order_by(reports.c.at.desc(), reports.c.id.desc()).limit(1))


def _one(tx: Transaction, query: sa.Select[Any]) -> Report | None:
    query = query.where(reports.c.project == tx.project)
    row = tx.connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    found = tx.connection.execute(
        sa.select(verdicts)
        .where(verdicts.c.project == tx.project, verdicts.c.report == row["id"])
        .order_by(verdicts.c.position)
    ).mappings()
    lines = tuple(
        Verdict(
            gate=line["gate"],
            outcome=Outcome(line["outcome"]),
            summary=line["summary"],
            numbers=line["numbers"],
        )
        for line in found
    )
    return Report(**{name: row[name] for name in COLUMNS}, verdicts=lines)
