"""A live version that breaks a limit gives way to the one before it, by itself."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from tests.deployment.conftest import ERRS, release, state, watch

from everfit.deployment import Action, ServingPlan
from everfit.kernel import ManualClock, Workspace


def test_a_live_version_that_errs_gives_way_to_the_one_before(
    served: Workspace, clock: ManualClock
) -> None:
    release(served, 1)
    second = release(served, 2, "100%")
    release(served, 3)
    clock.advance(timedelta(days=29))
    decision = watch(served, **ERRS)
    assert decision is not None
    assert decision.action is Action.ROLL_BACK
    plan, best, known = state(served)
    assert plan == ServingPlan(endpoint="bike", revision=4, champion=1)
    assert (best, known) == (1, [(1, "live"), (2, "rolled_back"), (3, "superseded")])
    with served.reading() as tx:
        (event,) = tx.events("rolled-back")
    assert (event.actor, event.subject) == ("everfit", second.id)
    assert event.data["numbers"]["errors_bad"] == 100
    assert event.data["champion"] == 1
    assert "100 errors in 1000 requests" in event.data["reason"]


def test_a_live_version_that_is_slow_gives_way(served: Workspace) -> None:
    release(served, 1)
    release(served, 2, "100%")
    decision = watch(served, latency_ms=np.full(100, 80.0))
    assert decision is not None
    assert decision.action is Action.ROLL_BACK
    assert state(served)[1] == 1


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"candidate_requests": 100, "candidate_errors": 2},
        {"candidate_requests": 1_000, "candidate_errors": 5},
        {"champion_requests": 1_000, "champion_errors": 1_000},
    ],
    ids=["nothing", "unproven", "sound", "of another"],
)
def test_a_live_version_not_proven_at_fault_stays(
    served: Workspace, seen: dict[str, object]
) -> None:
    release(served, 1)
    release(served, 2, "100%")
    before = state(served)
    assert watch(served, None, **seen) is None
    assert state(served) == before


def test_a_version_that_came_back_is_not_taken_back_for_the_faults_of_another(
    served: Workspace, clock: ManualClock
) -> None:
    for version in (1, 2, 3):
        release(served, version, "100%")
        clock.advance(timedelta(days=2))
    assert watch(served, **ERRS) is not None
    assert state(served)[1] == 2
    clock.advance(timedelta(hours=1))
    decision = watch(served, **ERRS)
    assert decision is not None
    assert decision.action is Action.HOLD
    assert state(served)[1] == 2


def test_a_version_is_guarded_for_its_first_thirty_days(
    served: Workspace, clock: ManualClock
) -> None:
    release(served, 1)
    release(served, 2, "100%")
    clock.advance(timedelta(days=31))
    assert watch(served, **ERRS) is None
    assert state(served)[1] == 2


def test_a_guarded_version_with_none_before_it_stays_and_the_decision_says_so(
    served: Workspace,
) -> None:
    assert watch(served, **ERRS) is None
    release(served, 1)
    before = state(served)
    decision = watch(served, **ERRS)
    assert decision is not None
    assert decision.action is Action.HOLD
    assert "no version was live before it, so version 1 stays live" in decision.summary
    assert state(served) == before


def test_a_version_that_came_back_is_not_taken_back_by_itself(served: Workspace) -> None:
    for version in (1, 2, 3):
        release(served, version, "100%")
    first, second = watch(served, **ERRS), watch(served, **ERRS)
    assert first is not None
    assert second is not None
    assert (first.action, second.action) == (Action.ROLL_BACK, Action.HOLD)
    assert "came back by a rollback" in second.summary
    assert state(served)[1] == 2
    # What is released next is guarded again.
    release(served, 4, "100%")
    third = watch(served, **ERRS)
    assert third is not None
    assert third.action is Action.ROLL_BACK


def test_evidence_about_another_version_moves_nothing(served: Workspace) -> None:
    release(served, 1)
    release(served, 2, "100%")
    assert watch(served, 1, **ERRS) is None
    assert state(served)[1] == 2
    assert watch(served, 2, **ERRS) is not None
    assert state(served)[1] == 1
