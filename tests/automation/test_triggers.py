"""When a retraining starts, and what holds it back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from everfit.automation.model import Budget, RetrainPolicy, Trigger, TriggerKind
from everfit.automation.triggers import Facts, decide

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = RetrainPolicy(
    when=(
        Trigger(words="monthly", kind=TriggerKind.SCHEDULE, every="monthly"),
        Trigger(words="new_rows >= 100", kind=TriggerKind.NEW_ROWS, rows=100),
        Trigger(words="quality worse", kind=TriggerKind.QUALITY),
        Trigger(words="drift that matters", kind=TriggerKind.DRIFT),
    ),
    at_most=Budget(per_day=1, cost_per_week=5.0, cooldown=timedelta(days=7)),
)
QUIET = Facts(
    now=NOW,
    last_started=NOW - timedelta(days=20),
    started_today=0,
    cost_this_week=0.0,
    new_rows=0,
)


def test_nothing_starts_when_nothing_happened() -> None:
    assert decide(POLICY, QUIET) is None


@pytest.mark.parametrize(
    ("facts", "because"),
    [
        (replace(QUIET, due=("monthly",)), "schedule: monthly"),
        (replace(QUIET, new_rows=100), "100 new labelled rows"),
        (replace(QUIET, quality_alerts=("alert_1",)), "quality alert alert_1"),
        (replace(QUIET, drift_alerts=("alert_2",)), "drift alert alert_2"),
    ],
)
def test_each_trigger_starts_one(facts: Facts, because: str) -> None:
    firing = decide(POLICY, facts)
    assert firing is not None
    assert because in firing.because
    assert firing.held is None


@pytest.mark.parametrize(
    ("facts", "held"),
    [
        (replace(QUIET, last_started=NOW - timedelta(days=2)), "cooldown of 7 days"),
        (replace(QUIET, started_today=1), "1 of 1 retrainings today"),
        (replace(QUIET, cost_this_week=5.0), "5.00 of 5.00 EUR"),
        (replace(QUIET, cost_this_week=float("nan")), "spent this week"),
        (replace(QUIET, under_way="release r is rolling out"), "release r is rolling out"),
    ],
)
def test_each_limit_holds_it_back_and_says_why(facts: Facts, held: str) -> None:
    firing = decide(POLICY, replace(facts, quality_alerts=("alert_1",)))
    assert firing is not None
    assert firing.held is not None
    assert held in firing.held


def test_manual_never_starts_by_itself() -> None:
    manual = RetrainPolicy(when=(Trigger(words="manual", kind=TriggerKind.MANUAL),))
    assert decide(manual, replace(QUIET, new_rows=10**9, quality_alerts=("a",))) is None
