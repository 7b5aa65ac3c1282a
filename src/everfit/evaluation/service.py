"""What evaluation remembers: each decision once, with the numbers behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict

import polars as pl

from everfit.errors import NotFound
from everfit.evaluation import store
from everfit.evaluation.model import Report, Verdict
from everfit.kernel import Transaction, canonical_json


def decide(
    tx: Transaction,
    *,
    model: str,
    candidate: int,
    champion: int | None,
    verdicts: Sequence[Verdict],
    rows: pl.DataFrame,
) -> Report:
    """Store the verdicts on ``rows`` as a report, write them into the ledger, return the report.

    The same candidate, champion, rows and approvals are decided once: a second call, after a crash
    or by another worker, returns the first report. A new approval is a new decision.
    """
    digest = digest_of(rows)
    approvals = [dict(v.numbers) for v in verdicts if v.gate == "approve"]
    question = canonical_json([model, candidate, champion, digest, approvals])
    decision = hashlib.sha256(question.encode()).hexdigest()
    before = store.by_decision(tx, decision)
    if before is not None:
        return before
    report = Report(
        id=tx.new_id("report"),
        model=model,
        candidate=candidate,
        champion=champion,
        rows=rows.height,
        rows_digest=digest,
        verdicts=tuple(verdicts),
        at=tx.now,
    )
    store.insert(tx, report, decision)
    tx.record(
        "gates-decided",
        f"{model}/{candidate}",
        report=report.id,
        model=model,
        candidate=candidate,
        champion=champion,
        rows=report.rows,
        rows_digest=digest,
        outcome=report.outcome,
        verdicts=[asdict(verdict) for verdict in report.verdicts],
    )
    return report


def digest_of(rows: pl.DataFrame) -> str:
    """Return a digest of names, types and values of ``rows``, in their order.

    Equal within one version of Polars: enough to know a repeated question again.
    """
    digest = hashlib.sha256(repr(rows.schema).encode())
    if rows.height:
        digest.update(rows.hash_rows().to_numpy().tobytes())
    return digest.hexdigest()


def find_report(tx: Transaction, report_id: str) -> Report:
    """Return one report.

    Raises
    ------
    NotFound
        If there is none of that id.
    """
    report = store.get(tx, report_id)
    if report is None:
        raise NotFound(f"no report {report_id}", hint="`everfit why v3` shows that of a version.")
    return report


def latest_report(tx: Transaction, model: str, candidate: int) -> Report | None:
    """Return the newest report on a candidate, or None where it was never judged."""
    return store.latest(tx, model, candidate)
