from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from tests.evaluation.conftest import Says, classification, regression, rows_of

from everfit.errors import NotFound
from everfit.evaluation import (
    Approve,
    Better,
    Gate,
    NoWorse,
    Outcome,
    Sufficient,
    Verdict,
    card,
    combined,
    decide,
    evaluate,
    find_report,
    importance,
    latest_report,
)
from everfit.evaluation.model import verdict
from everfit.kernel import ManualClock, Transaction, Workspace, metadata
from everfit.packages import Field, Kind, Signature
from everfit.registry import ModelVersion, Origin

ROWS = rows_of(500)
NEW, OLD = regression(Says("new"), "new", "old"), regression(Says("old"), "new", "old")


def verdicts_with(*approvals: str) -> tuple[Verdict, ...]:
    return evaluate(
        NEW, OLD, ROWS, target="y", metric="mae", gates=[Better(), Approve()], approvals=approvals
    )


def decided(tx: Transaction, verdicts: tuple[Verdict, ...], candidate: int = 4) -> str:
    report = decide(
        tx, model="bikes", candidate=candidate, champion=3, verdicts=verdicts, rows=ROWS
    )
    return report.id


def test_a_report_comes_back_as_it_was_decided(any_workspace: Workspace) -> None:
    verdicts = verdicts_with("ann")
    with any_workspace.transaction() as tx:
        report = decide(tx, model="bikes", candidate=4, champion=3, verdicts=verdicts, rows=ROWS)
    with any_workspace.reading() as tx:
        found = latest_report(tx, "bikes", 4)
        assert latest_report(tx, "bikes", 5) is None
    assert found == report
    assert found.outcome is Outcome.PASS
    assert found.rows == 500


def test_the_ledger_holds_every_number(any_workspace: Workspace) -> None:
    verdicts = verdicts_with()
    with any_workspace.transaction() as tx:
        decided(tx, verdicts)
    with any_workspace.reading() as tx:
        (event,) = tx.events("gates-decided", subject="bikes/4")
    assert event.data["outcome"] == "undecided"
    assert event.data["verdicts"][0]["numbers"] == dict(verdicts[0].numbers)


def test_a_report_is_found_by_its_id(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        identifier = decided(tx, verdicts_with())
    with any_workspace.reading() as tx:
        assert find_report(tx, identifier).id == identifier
        with pytest.raises(NotFound, match="report_x"):
            find_report(tx, "report_x")


def test_the_same_question_is_decided_once(any_workspace: Workspace, clock: ManualClock) -> None:
    with any_workspace.transaction() as tx:
        first = decided(tx, verdicts_with())
        assert decided(tx, verdicts_with()) == first
        assert decided(tx, verdicts_with(), candidate=5) != first
        approved = decided(tx, verdicts_with("ann"))
        assert approved != first
    with any_workspace.reading() as tx:
        assert len(tx.events("gates-decided")) == 3


def test_another_policy_is_another_decision(any_workspace: Workspace) -> None:
    def report(metric: str = "mae", margin: float = 0.0, said: tuple[Verdict, ...] = ()) -> str:
        gates: list[Gate] = [Better(margin=margin), NoWorse(min_rows=100)]
        with any_workspace.transaction() as tx:
            return decide(
                tx,
                model="bikes",
                candidate=4,
                champion=3,
                verdicts=said or verdicts_with(),
                rows=ROWS,
                gates=gates,
                metric=metric,
            ).id

    first = report()
    assert report() == first
    # Even where the verdicts are word for word the same.
    assert len({first, report(metric="rmse"), report(margin=0.01)}) == 3


def test_verdicts_on_other_gates_are_another_decision(any_workspace: Workspace) -> None:
    def judged(*gates: Gate) -> tuple[Verdict, ...]:
        return evaluate(NEW, OLD, ROWS, target="y", metric="mae", gates=gates)

    asked: list[Gate] = [Better(), Better(margin=0.01), NoWorse(), NoWorse(min_rows=50)]
    asked += [NoWorse(confidence=0.9), Sufficient(relative=0.3)]
    with any_workspace.transaction() as tx:
        reports = [decided(tx, judged(gate)) for gate in asked]
        assert len(set(reports)) == len(asked)
        assert [decided(tx, judged(gate)) for gate in asked] == reports


def test_measured_times_do_not_make_a_second_decision(any_workspace: Workspace) -> None:
    def timed(p95: float, limit: float = 20.0) -> tuple[Verdict, ...]:
        outcome = Outcome.PASS if p95 < limit else Outcome.FAIL
        numbers = {"p95_ms": p95, "low": p95 - 1, "high": p95 + 1, "limit_ms": limit}
        return (verdict("fast", outcome, f"within {p95} ms", **numbers, confidence=0.95),)

    with any_workspace.transaction() as tx:
        first = decided(tx, timed(5.0))
        assert decided(tx, timed(6.0)) == first
        assert decided(tx, timed(5.0, limit=30.0)) != first
        assert decided(tx, timed(25.0)) != first


def test_the_newest_report_counts(any_workspace: Workspace, clock: ManualClock) -> None:
    with any_workspace.transaction() as tx:
        decided(tx, verdicts_with())
    clock.move_to(datetime(2026, 1, 2, tzinfo=UTC))
    with any_workspace.transaction() as tx:
        newest = decided(tx, verdicts_with("ann"))
    with any_workspace.reading() as tx:
        found = latest_report(tx, "bikes", 4)
    assert found is not None
    assert found.id == newest


def test_the_migration_makes_the_tables_that_the_code_expects(any_workspace: Workspace) -> None:
    inspector = sa.inspect(any_workspace.engine)
    for name in ("evaluation_reports", "evaluation_verdicts"):
        table = metadata.tables[name]
        found = {column["name"]: column["nullable"] for column in inspector.get_columns(name)}
        assert found == {column.name: bool(column.nullable) for column in table.columns}
        key = inspector.get_pk_constraint(name)["constrained_columns"]
        assert key == [column.name for column in table.primary_key.columns]
        indexes = {index["name"] for index in inspector.get_indexes(name)}
        assert indexes == {index.name for index in table.indexes}


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("pass pass", "pass"),
        ("pass undecided", "undecided"),
        ("undecided fail pass", "fail"),
        ("", "undecided"),
    ],
)
def test_a_report_is_as_good_as_its_worst_verdict(outcomes: str, expected: str) -> None:
    assert combined(Outcome(word) for word in outcomes.split()) == expected


def test_an_open_interval_is_written_as_none() -> None:
    found = verdict("better", Outcome.UNDECIDED, "", low=float("-inf"), high=1.0, nan=float("nan"))
    assert found.numbers == {"low": None, "high": 1.0, "nan": None}


VERSION = ModelVersion(
    model="bikes",
    number=4,
    run="run_1",
    package="ab" * 32,
    dataset="cd" * 32,
    profile=None,
    signature=Signature(
        inputs=(Field(name="temp", kind=Kind.NUMBER, nullable=True),),
        output=Field(name="cnt", kind=Kind.NUMBER),
        task="regression",
    ),
    metrics={"mae": 12.5},
    algorithm="forest",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    updated_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_the_card_says_what_is_known_and_what_nobody_checked(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        report = decide(
            tx, model="bikes", candidate=4, champion=3, verdicts=verdicts_with(), rows=ROWS
        )
    text = card(VERSION, report, importance={"temp": 0.25})
    assert text.startswith("# bikes v4\n")
    assert "- `temp`: number, may be missing, 25% of importance" in text
    assert f"- better: pass. {report.verdicts[0].summary}." in text
    assert "- approve: *undecided*." in text
    assert "- differences between groups of people" in text
    assert "- approval by a person" not in text


def test_the_card_of_a_version_nobody_judged_says_so() -> None:
    assert "Never judged" in card(VERSION)


def test_the_card_of_a_version_from_outside_says_what_nobody_recorded() -> None:
    outside = replace(
        VERSION,
        origin=Origin.OUTSIDE,
        source="s3://models/7",
        run=None,
        package=None,
        unpackaged="nobody packed it",
        dataset=None,
        signature=None,
        algorithm=None,
    )
    text = card(outside)
    assert "- Algorithm: not recorded" in text
    assert "- Logged from outside under `s3://models/7`" in text
    assert "UTC, without a package" in text
    assert "Not recorded: the version has no signature." in text


def test_importance_is_the_share_of_what_the_model_uses() -> None:
    found = importance(NEW, ROWS, "y", "mae")
    assert found == {"new": 1.0, "old": 0.0, "kind": 0.0}
    assert list(found) == ["new", "old", "kind"]
    assert sum(importance(NEW, ROWS, None, "silhouette").values()) == 1.0
    assert set(importance(NEW, ROWS[:0], "y", "mae").values()) == {0.0}


def test_importance_of_a_classifier_uses_its_probabilities() -> None:
    chance = np.random.default_rng(0).random(300)
    rows = pl.DataFrame({"chance": chance, "y": np.where(chance > 0.6, "yes", "no")})
    assert importance(classification("chance"), rows, "y", "log_loss") == {"chance": 1.0}
