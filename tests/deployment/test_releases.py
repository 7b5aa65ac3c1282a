"""Releases in the database: what each command does to states, plan, champion and ledger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.deployment.conftest import ERRS, add_versions, release, state, watch

from everfit.deployment import (
    Action,
    Evidence,
    Release,
    ReleaseState,
    RollbackRules,
    ServingPlan,
    advance,
    current_release,
    endpoints,
    get_release,
    live_release,
    parse_rollback,
    rollback,
    store,
)
from everfit.deployment.model import end
from everfit.errors import Conflict, Invalid, NotFound, StaleRevision
from everfit.kernel import ManualClock, Workspace
from everfit.registry import create_version

START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = RollbackRules()


def judge(workspace: Workspace, started: Release, difference: float | None) -> Action:
    """Judge with paired differences around ``difference``, or with none."""
    paired = () if difference is None else difference + 0.001 * np.resize([1.0, -1.0], 40)
    with workspace.transaction() as tx:
        found = Evidence(now=tx.now, rows=40, paired=paired, champion_loss=1.0)
        return advance(tx, started.id, found, RULES).action


def test_the_first_release_is_live_at_once(served: Workspace) -> None:
    first = release(served, 1)
    assert first.state is ReleaseState.LIVE
    plan, best, _ = state(served)
    assert plan == ServingPlan(endpoint="bike", revision=1, champion=1)
    assert best == 1
    with served.reading() as tx:
        kinds = [event.kind for event in tx.events(subject=first.id)]
        assert endpoints(tx) == ["bike"]
        assert current_release(tx, "bike") is None
    assert kinds == ["release-started", "release-completed"]


def test_a_release_moves_through_its_steps_and_becomes_champion(
    served: Workspace, clock: ManualClock
) -> None:
    release(served, 1)
    second = release(served, 2)
    plan, best, _ = state(served)
    assert (plan, best) == (
        ServingPlan(endpoint="bike", revision=2, champion=1, candidate=2, shadow=True),
        1,
    )
    assert judge(served, second, 0.0) is Action.HOLD
    clock.advance(timedelta(days=1))
    assert judge(served, second, 0.0) is Action.ADVANCE
    assert state(served)[0] == ServingPlan(
        endpoint="bike", revision=3, champion=1, candidate=2, share=0.05
    )
    clock.advance(timedelta(days=1))
    assert judge(served, second, 0.0) is Action.ADVANCE
    plan, best, known = state(served)
    assert plan == ServingPlan(endpoint="bike", revision=4, champion=2)
    assert best == 2
    assert known == [(1, "superseded"), (2, "live")]
    with served.reading() as tx:
        events = tx.events(subject=second.id)
    assert [event.kind for event in events] == [
        "release-started",
        "rollout-advanced",
        "release-completed",
    ]
    assert events[1].data["numbers"]["blocks"] == 40


def test_a_worse_candidate_is_taken_back_and_the_champion_stays(served: Workspace) -> None:
    release(served, 1)
    second = release(served, 2)
    assert judge(served, second, 0.5) is Action.ROLL_BACK
    plan, best, known = state(served)
    assert plan == ServingPlan(endpoint="bike", revision=3, champion=1)
    assert (best, known) == (1, [(1, "live"), (2, "rolled_back")])
    with pytest.raises(Conflict, match="rolled_back"):
        judge(served, second, 0.0)


def test_a_newer_release_supersedes_the_one_in_progress(served: Workspace) -> None:
    release(served, 1)
    second, third = release(served, 2), release(served, 3)
    plan, _, known = state(served)
    assert plan is not None
    assert plan.candidate == 3
    assert known == [(1, "live"), (2, "superseded"), (3, "rolling")]
    with served.reading() as tx:
        assert get_release(tx, second.id).reason == "version 3 was released"
        assert current_release(tx, "bike") == third


def test_starting_the_same_release_again_changes_nothing(served: Workspace) -> None:
    first, second = release(served, 1), release(served, 2)
    before = state(served)
    assert release(served, 2) == second
    assert release(served, 1) == first
    assert state(served) == before


def test_a_full_release_is_live_at_once(served: Workspace) -> None:
    release(served, 1)
    release(served, 2)
    release(served, 3, "100%")
    plan, best, known = state(served)
    assert plan == ServingPlan(endpoint="bike", revision=3, champion=3)
    assert (best, known) == (3, [(1, "superseded"), (2, "superseded"), (3, "live")])


def test_an_unknown_version_is_refused(served: Workspace) -> None:
    with pytest.raises(NotFound, match="no version 9"):
        release(served, 9)


def take_back(workspace: Workspace, version: int | None = None) -> Release:
    with workspace.transaction() as tx:
        return rollback(tx, endpoint="bike", reason="it smells", actor="ann", version=version)


def test_a_version_that_cannot_be_loaded_is_not_released(served: Workspace) -> None:
    with served.transaction() as tx:
        outside = create_version(
            tx, "bike", source="runs:/r/model", unpackaged="its flavor is not known here"
        )
    with pytest.raises(Invalid, match=r"bike/\d+ cannot be loaded.*flavor is not known"):
        release(served, outside.number)
    assert state(served) == (None, None, [])


def test_rollback_stops_a_rollout_once(served: Workspace) -> None:
    release(served, 1)
    release(served, 2)
    dropped = take_back(served)
    assert (dropped.version, dropped.state, dropped.reason) == (2, "rolled_back", "it smells")
    after = state(served)
    assert after[0] == ServingPlan(endpoint="bike", revision=3, champion=1)
    assert take_back(served) == dropped
    assert state(served) == after
    with served.reading() as tx:
        events = tx.events("rolled-back")
    assert [(event.actor, event.data["version"]) for event in events] == [("ann", 2)]


def test_rollback_of_a_live_version_brings_the_one_before_back(served: Workspace) -> None:
    for version in (1, 2, 3):
        release(served, version, "100%")
    release(served, 4)
    assert take_back(served, version=3).state is ReleaseState.ROLLED_BACK
    plan, best, known = state(served)
    assert plan == ServingPlan(endpoint="bike", revision=5, champion=2)
    assert best == 2
    assert known == [(1, "superseded"), (2, "live"), (3, "rolled_back"), (4, "superseded")]
    assert take_back(served, version=3).state is ReleaseState.ROLLED_BACK
    assert state(served)[1] == 2
    take_back(served, version=2)
    assert state(served)[1] == 1


def test_the_only_version_cannot_be_rolled_back(served: Workspace) -> None:
    with pytest.raises(NotFound, match="no release"):
        take_back(served)
    release(served, 1)
    before = state(served)
    with pytest.raises(Conflict, match="no version was live before"):
        take_back(served)
    assert state(served) == before


def test_a_release_again_of_an_older_version_at_one_moment_is_the_newest(served: Workspace) -> None:
    for version in (2, 1, 2, 1):
        release(served, version, "100%")
    assert [version for version, _ in state(served)[2]] == [2, 1, 2, 1]
    dropped = take_back(served)
    assert (dropped.version, dropped.state) == (1, ReleaseState.ROLLED_BACK)
    assert state(served)[1] == 2


def test_where_no_release_is_live_the_plan_goes_on_and_the_next_release_is_live_at_once(
    served: Workspace,
) -> None:
    first = release(served, 1)
    second = release(served, 2)
    with served.transaction() as tx:
        # As after a restore of some tables only.
        store.update_release(tx, end(first, ReleaseState.SUPERSEDED, "restored", START))
    assert judge(served, second, 0.5) is Action.ROLL_BACK
    plan, best, _ = state(served)
    assert plan is not None
    assert (plan.champion, plan.candidate, best) == (1, None, 1)
    third = release(served, 3)
    assert third.state is ReleaseState.LIVE
    assert state(served)[1] == 3


def test_a_release_goes_from_shadow_to_all_without_a_label_or_a_request_in_shadow(
    served: Workspace, clock: ManualClock
) -> None:
    rules, problems = parse_rollback({"now": ["errors > 1%", "p95_ms > 50"], "later": []})
    assert problems == []
    release(served, 1)
    second = release(served, 2, "shadow 1d -> 50% -> 100%")

    def judged(**seen: object) -> Action:
        with served.transaction() as tx:
            return advance(tx, second.id, Evidence(now=tx.now, **seen), rules).action  # type: ignore[arg-type]

    assert judged() is Action.HOLD
    clock.advance(timedelta(days=1))
    assert judged() is Action.ADVANCE
    clock.advance(timedelta(days=1))
    assert judged() is Action.HOLD
    quick = np.full(1_000, 5.0)
    sound = {"candidate_requests": 2_000, "split_units": 2_000, "canary_units": 1_000}
    assert judged(**sound) is Action.HOLD
    assert judged(**sound, latency_ms=quick) is Action.ADVANCE
    assert state(served)[2] == [(1, "superseded"), (2, "live")]


def test_two_who_judge_the_same_release_do_not_move_it_twice(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        add_versions(tx, 2)
    release(workspace, 1)
    second = release(workspace, 2)
    late = end(second, ReleaseState.ROLLED_BACK, "worse", START)
    judge(workspace, second, 0.5)
    with pytest.raises(StaleRevision), workspace.transaction() as tx:
        store.update_release(tx, late)


commands = st.lists(
    st.one_of(
        st.tuples(st.just("release"), st.integers(1, 4)),
        st.tuples(st.just("judge"), st.sampled_from([-0.5, 0.0, 0.5, None])),
        st.tuples(st.just("rollback"), st.sampled_from([None, 1, 2, 3, 4])),
        st.tuples(st.just("guard"), st.sampled_from([None, 1, 2, 3, 4])),
        st.tuples(st.just("wait"), st.just(0)),
    ),
    max_size=15,
)


@given(commands=commands)
@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens_one_version_is_live_and_the_plan_says_so(
    workspace: Workspace, clock: ManualClock, commands: list[tuple[str, float | None]]
) -> None:
    clock.advance(timedelta(days=1))
    # A project of its own for each run of commands, in the same database.
    settings = replace(workspace.settings, project=f"p{clock.now():%Y%m%d}")
    workspace = replace(workspace, settings=settings)
    with workspace.transaction() as tx:
        add_versions(tx, 4)
    release(workspace, 1)
    for command, argument in commands:
        with workspace.reading() as tx:
            rolling = current_release(tx, "bike")
        with suppress(Conflict, NotFound):
            if command == "release":
                assert argument is not None
                release(workspace, int(argument))
            elif command == "judge" and rolling:
                judge(workspace, rolling, argument)
            elif command == "rollback":
                take_back(workspace, None if argument is None else int(argument))
            elif command == "guard":
                watch(workspace, None if argument is None else int(argument), **ERRS)
            elif command == "wait":
                clock.advance(timedelta(days=1))
        plan, best, known = state(workspace)
        live = [version for version, at in known if at == "live"]
        candidates = [version for version, at in known if at == "rolling"]
        assert plan is not None
        assert live == [plan.champion] == [best]
        assert candidates == ([plan.candidate] if plan.candidate is not None else [])


def test_a_judgement_and_a_rollback_at_once_wait_for_one_another(served: Workspace) -> None:
    release(served, 1)
    together = Barrier(2)

    def undo() -> None:
        together.wait()
        with served.transaction() as tx:
            rollback(tx, endpoint="bike", reason="test", actor="ann")

    def look(started: Release) -> None:
        together.wait()
        with suppress(Conflict):  # The rollback came first.
            judge(served, started, 0.5)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            started = release(served, 2)
            for done in (pool.submit(undo), pool.submit(look, started)):
                done.result(timeout=60)
    plan, _, known = state(served)
    assert plan is not None
    assert (plan.champion, plan.candidate) == (1, None)
    assert known == [(1, "live"), *[(2, "rolled_back")] * 10]


def test_a_version_that_came_back_went_live_when_it_first_did(
    served: Workspace, clock: ManualClock
) -> None:
    first = release(served, 1)
    clock.advance(timedelta(days=3))
    release(served, 2, "100%")
    clock.advance(timedelta(days=3))
    with served.transaction() as tx:
        rollback(tx, endpoint="bike", reason="test", actor="ann")
        back = live_release(tx, "bike")
    assert back is not None
    assert (back.version, back.live_at) == (1, first.live_at)
