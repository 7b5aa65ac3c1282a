"""Whether a release goes on: what single pieces of evidence do, and the rates in simulation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from everfit.deployment import (
    Action,
    Evidence,
    Later,
    Release,
    ReleaseState,
    RollbackRules,
    decide,
    parse_rollback,
    parse_rollout,
)
from everfit.evaluation import Outcome

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RULES = parse_rollback(
    {"now": ["errors > 1%", "p95_ms > 50"], "later": ["mae worse than champion"]}
)[0]
ALIKE = 0.001 * np.resize([1.0, -1.0], 40)


def release(step: int = 0) -> Release:
    return Release(
        id="rel_1",
        endpoint="bike",
        version=2,
        steps=parse_rollout("shadow 1d -> 5% -> 25% -> 100%"),
        step=step,
        state=ReleaseState.ROLLING,
        step_since=START,
        started_at=START,
    )


def seen(**known: object) -> Evidence:
    base = Evidence(now=START + 2 * DAY, rows=1_000, candidate_requests=1_000, champion_loss=1.0)
    return replace(base, **known)  # type: ignore[arg-type]


def test_a_release_that_is_not_worse_goes_on() -> None:
    decision = decide(release(), seen(paired=ALIKE), RULES)
    assert (decision.action, decision.outcome) == (Action.ADVANCE, Outcome.PASS)
    assert "not worse" in decision.summary
    assert "next: 5% 1d" in decision.summary


def test_it_waits_for_the_time_of_its_step() -> None:
    decision = decide(release(), seen(paired=ALIKE, now=START + DAY / 2), RULES)
    assert (decision.action, decision.outcome) == (Action.HOLD, Outcome.UNDECIDED)


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"paired": ALIKE[:9]},
        {"paired": ALIKE, "champion_loss": None},
        {"paired": np.append(ALIKE, np.nan)},
        {"paired": np.resize([1.0, -1.0], 40)},
    ],
    ids=["nothing", "few blocks", "no loss", "a NaN", "wide"],
)
def test_too_little_evidence_holds(known: dict[str, object]) -> None:
    decision = decide(release(), seen(**known), RULES)
    assert (decision.action, decision.outcome) == (Action.HOLD, Outcome.UNDECIDED)


def test_a_candidate_proven_worse_is_rolled_back_before_its_step_is_over() -> None:
    decision = decide(release(), seen(paired=ALIKE + 0.1, now=START + DAY / 4), RULES)
    assert (decision.action, decision.outcome) == (Action.ROLL_BACK, Outcome.FAIL)
    assert "worse than the champion" in decision.summary
    assert decision.numbers["difference"] == pytest.approx(0.1)


def test_a_candidate_that_is_slightly_worse_within_the_tolerance_is_no_loss() -> None:
    noise = 0.02 * np.resize([1.0, -1.0], 200)
    assert decide(release(), seen(paired=noise), RULES).action is Action.ADVANCE
    strict = replace(RULES, tolerance=0.0)
    assert decide(release(), seen(paired=noise), strict).action is Action.HOLD


@pytest.mark.parametrize("requests", [3, 10, 1_000])
def test_a_candidate_that_errs_on_everything_is_rolled_back_after_few_requests(
    requests: int,
) -> None:
    found = seen(candidate_requests=requests, candidate_errors=requests)
    assert decide(release(), found, RULES).action is Action.ROLL_BACK


def test_a_single_error_among_few_requests_proves_nothing() -> None:
    found = seen(candidate_requests=40, candidate_errors=1, paired=ALIKE)
    decision = decide(release(), found, RULES)
    assert decision.action is Action.HOLD
    assert "1 errors in 40 requests" in decision.summary


def test_slow_answers_roll_back() -> None:
    quick, slow = np.full(900, 5.0), np.full(100, 80.0)
    found = seen(latency_ms=np.concatenate([quick, slow]), paired=ALIKE)
    assert decide(release(1), found, RULES).action is Action.ROLL_BACK
    found = seen(latency_ms=np.concatenate([quick, slow[:10]]), paired=ALIKE)
    assert decide(release(1), found, RULES).action is Action.ADVANCE


def test_without_a_rule_on_the_truth_the_limits_themselves_must_be_proven() -> None:
    rules = replace(RULES, later=None, now=RULES.now[:1])
    assert decide(release(), seen(candidate_requests=50), rules).action is Action.HOLD
    assert decide(release(), seen(candidate_requests=2_000), rules).action is Action.ADVANCE


SLOW = parse_rollback({"now": ["p95_ms > 50"], "later": []})[0]


def test_a_shadow_which_answers_nobody_need_not_prove_how_fast_it_is() -> None:
    decision = decide(release(), seen(), SLOW)
    assert decision.action is Action.ADVANCE
    assert "p95_ms is not judged in shadow" in decision.summary
    # A canary answers, so there it must.
    assert decide(release(1), seen(), SLOW).action is Action.HOLD
    quick = seen(latency_ms=np.full(500, 5.0))
    assert decide(release(1), quick, SLOW).action is Action.ADVANCE


def test_a_shadow_without_requests_or_labels_ends_by_its_time_alone() -> None:
    rules = replace(RULES, later=None)
    early = seen(candidate_requests=0, now=START + DAY / 2)
    assert decide(release(), early, rules).action is Action.HOLD
    idle = seen(candidate_requests=0)
    assert decide(release(), idle, rules).action is Action.ADVANCE
    # A canary answers: without a request nothing says that it can.
    assert decide(release(1), idle, rules).action is Action.HOLD
    erring = seen(candidate_requests=40, candidate_errors=40)
    assert decide(release(), erring, rules).action is Action.ROLL_BACK


def test_a_broken_split_holds_a_canary_and_says_so() -> None:
    found = seen(paired=ALIKE, split_units=10_000, canary_units=700)
    decision = decide(release(1), found, RULES)
    assert decision.action is Action.HOLD
    assert "the split is broken" in decision.summary
    fair = seen(paired=ALIKE, split_units=10_000, canary_units=520)
    assert decide(release(1), fair, RULES).action is Action.ADVANCE
    # In shadow nothing is split.
    assert decide(release(0), found, RULES).action is Action.ADVANCE


def test_patience_ends_in_a_rollback_never_in_a_promotion() -> None:
    wide = np.resize([1.0, -1.0], 40)
    assert decide(release(), seen(paired=wide, now=START + 60 * DAY), RULES).action is Action.HOLD
    late = decide(release(), seen(paired=wide, now=START + 61 * DAY), RULES)
    assert late.action is Action.ROLL_BACK
    assert "not enough evidence after 61 days" in late.summary
    short = replace(RULES, patience=timedelta(days=3))
    assert decide(release(), seen(now=START + 4 * DAY), short).action is Action.ROLL_BACK


def first_action(differences: np.ndarray, rules: RollbackRules, *, until: int) -> Action:
    """Judge after every block, as the loop does, and return the first action but a hold."""
    for blocks in range(1, until + 1):
        found = seen(paired=differences[:blocks], now=START + blocks * DAY / 24)
        action = decide(release(), found, rules).action
        if action is not Action.HOLD:
            return action
    return Action.HOLD


@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy tails"])
def test_without_a_real_difference_at_most_one_release_in_twenty_is_rolled_back(
    heavy: bool,
) -> None:
    random = np.random.default_rng(7)
    strict = RollbackRules(now=(), later=Later(metric="mae"), tolerance=0.0)
    shape = (200, 80)
    noise = random.standard_t(3, shape) if heavy else random.normal(size=shape)
    actions = [first_action(series, strict, until=80) for series in noise]
    assert actions.count(Action.ROLL_BACK) <= 0.05 * len(actions)
    # With no tolerance, "not worse" is a claim at its boundary: it is rarely granted either.
    assert actions.count(Action.ADVANCE) <= 0.05 * len(actions)


def test_a_real_difference_is_found() -> None:
    random = np.random.default_rng(11)
    worse = random.normal(0.1, 0.1, (100, 60))
    better = random.normal(-0.1, 0.1, (100, 60))
    assert [first_action(series, RULES, until=60) for series in worse].count(Action.ROLL_BACK) >= 95
    assert [first_action(series, RULES, until=60) for series in better].count(Action.ADVANCE) >= 95


def test_errors_at_the_limit_seldom_roll_back_however_often_one_looks() -> None:
    random = np.random.default_rng(3)
    rolled = 0
    for _ in range(100):
        errors = np.cumsum(random.binomial(10, 0.01, size=40))
        looks = (
            seen(candidate_requests=10 * (i + 1), candidate_errors=int(count))
            for i, count in enumerate(errors)
            if count
        )
        rolled += any(decide(release(), look, RULES).action is Action.ROLL_BACK for look in looks)
    assert rolled <= 0.05 * 100
