"""What evaluation remembers: each decision once, with the numbers behind it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from everfit.errors import NotFound
from everfit.evaluation import store
from everfit.evaluation.model import Gate, Report, Verdict
from everfit.kernel import Transaction, canonical_json


def decide(
    tx: Transaction,
    *,
    model: str,
    candidate: int,
    champion: int | None,
    verdicts: Sequence[Verdict],
    rows: pl.DataFrame,
    gates: Sequence[Gate] = (),
    metric: str | None = None,
) -> Report:
    """Store the verdicts on ``rows`` as a report, write them into the ledger, return the report.

    The same question with the same answer is decided once: a second call, after a crash or by
    another worker, returns the first report, although the times of the gate on speed differ.
    Other ``gates``, another ``metric``, a new approval or another outcome is a new decision.
    """
    digest = digest_of(rows)
    asked = [{"gate": type(gate).__name__, **asdict(gate)} for gate in gates]
    found = [_repeatable(verdict) for verdict in verdicts]
    question = canonical_json([model, candidate, champion, digest, metric, asked, found])
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


def _repeatable(verdict: Verdict) -> dict[str, Any]:
    """Return the part of a verdict that comes out again when it is asked for again."""
    kept = asdict(verdict)
    if verdict.gate == "fast":
        del kept["summary"]
        kept["numbers"] = {name: verdict.numbers.get(name) for name in ("limit_ms", "confidence")}
    return kept


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
