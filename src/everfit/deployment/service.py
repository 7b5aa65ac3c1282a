"""What one can do with releases: load, decide, save, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from everfit.deployment import store
from everfit.deployment.decide import decide, judge_live
from everfit.deployment.model import (
    Action,
    Decision,
    Evidence,
    Release,
    ReleaseState,
    RollbackRules,
    RolloutStep,
    ServingPlan,
    StepKind,
    describe_rollout,
    end,
    go_live,
    move_on,
    plan_for,
)
from everfit.errors import Conflict, NotFound
from everfit.evaluation import Outcome
from everfit.kernel import Transaction
from everfit.registry import CHAMPION, get_version, set_alias

# The shortest time that every database keeps.
TICK = timedelta(microseconds=1)


def start_release(
    tx: Transaction,
    *,
    endpoint: str,
    version: int,
    steps: Sequence[RolloutStep],
    actor: str = "everfit",
) -> Release:
    """Start to roll ``version`` out and return its release; a rollout in progress is superseded.

    A release is live at once if nothing is live yet or its only step is 100%. Starting what is
    rolling out or live already returns that release.

    Raises
    ------
    NotFound
        If the model has no such version.
    Invalid
        If the version has no package that could be loaded.
    """
    get_version(tx, endpoint, version).require_package()
    store.plan_of(tx, endpoint, lock=True)
    serving = _serving(tx, endpoint)
    for release in serving:
        if release.version == version:
            return release
    release = Release(
        id=tx.new_id("rel"),
        endpoint=endpoint,
        version=version,
        steps=tuple(steps),
        step=0,
        state=ReleaseState.ROLLING,
        step_since=tx.now,
        started_at=_start(tx, endpoint, version),
    )
    store.insert_release(tx, release)
    _record(tx, "release-started", release, actor, steps=describe_rollout(steps))
    for rolling in (old for old in serving if old.state is ReleaseState.ROLLING):
        _end(tx, rolling, ReleaseState.SUPERSEDED, f"version {version} was released", actor)
    nothing_live = all(old.state is not ReleaseState.LIVE for old in serving)
    if nothing_live or release.at.kind is StepKind.FULL:
        return _complete(tx, release, go_live(release, tx.now), actor)
    _serve(tx, endpoint)
    return release


def _start(tx: Transaction, endpoint: str, version: int) -> datetime:
    """Return now, or the moment after, where a release of now would not be in order the last."""
    last = next(reversed(store.releases_of(tx, endpoint)), None)
    if last is None or (last.started_at, last.version) < (tx.now, version):
        return tx.now
    return last.started_at + TICK


def advance(tx: Transaction, release_id: str, evidence: Evidence, rules: RollbackRules) -> Decision:
    """Judge a release that is rolling out, apply the decision and return it.

    Raises
    ------
    Conflict
        If the release is not rolling out.
    StaleRevision
        If another process moved it meanwhile; nothing was changed.
    """
    # Always the plan first: who locks in another order waits for ever.
    store.plan_of(tx, store.get_release(tx, release_id).endpoint, lock=True)
    release = store.get_release(tx, release_id, lock=True)
    if release.state is not ReleaseState.ROLLING:
        raise Conflict(
            f"release {release.id} of version {release.version} is {release.state}",
            hint="Only a release that is rolling out can be judged.",
            release=release.id,
        )
    decision = decide(release, evidence, rules)
    if decision.action is Action.ROLL_BACK:
        _end(
            tx, release, ReleaseState.ROLLED_BACK, decision.summary, numbers=dict(decision.numbers)
        )
        _serve(tx, release.endpoint)
    elif decision.action is Action.ADVANCE:
        _advance(tx, release, decision)
    return decision


def _advance(tx: Transaction, release: Release, decision: Decision) -> None:
    moved = move_on(release, tx.now)
    if moved.state is ReleaseState.LIVE:
        _complete(tx, release, moved, reason=decision.summary, numbers=dict(decision.numbers))
        return
    store.update_release(tx, moved)
    _record(
        tx,
        "rollout-advanced",
        moved,
        step=str(moved.at),
        reason=decision.summary,
        numbers=dict(decision.numbers),
    )
    _serve(tx, release.endpoint)


def rollback(
    tx: Transaction,
    *,
    endpoint: str,
    reason: str,
    actor: str,
    version: int | None = None,
) -> Release:
    """Take a release back and return it: the newest one, or that of ``version``.

    One that is rolling out stops; one that is live gives way to the version that was live before
    it. One that does not serve any more is returned as it is, so that a repeated call changes
    nothing; to go back further, name the version that is live now.

    Raises
    ------
    NotFound
        If the endpoint has no such release.
    Conflict
        If the release is live and no version was live before it.
    """
    store.plan_of(tx, endpoint, lock=True)
    known = store.releases_of(tx, endpoint)
    chosen = [release for release in known if version in (None, release.version)]
    if not chosen:
        which = f" of version {version}" if version is not None else ""
        raise NotFound(
            f"endpoint {endpoint!r} has no release{which}",
            hint="`everfit status` shows the version that answers and the one rolling out.",
            endpoint=endpoint,
        )
    release = chosen[-1]
    if release.state is ReleaseState.ROLLING:
        release = _end(tx, release, ReleaseState.ROLLED_BACK, reason, actor)
        _serve(tx, endpoint)
    elif release.state is ReleaseState.LIVE:
        before = _live_before(release, known)
        if before is None:
            raise Conflict(
                f"version {release.version} is live and no version was live before it",
                hint="Release another version with `everfit release`.",
                endpoint=release.endpoint,
            )
        release = _give_way(tx, release, before, reason, actor)
    return release


def guard(
    tx: Transaction,
    endpoint: str,
    evidence: Evidence,
    rules: RollbackRules,
    *,
    version: int | None = None,
) -> Decision | None:
    """Roll the live version back if it is proven to break a limit of ``rules.now``.

    ``evidence`` describes the live version since it went live, in its ``candidate_`` fields and
    ``latency_ms``; ``version`` names the one it was gathered about, so that another that went
    live meanwhile is left alone. A version is guarded for `GUARDED` after it went live.

    Returns
    -------
    Decision or None
        None where there is nothing to do; a hold where the limit is broken but going back is no
        help: there is no version before it, or this one was itself brought back by a rollback.
    """
    live = _live(_serving(tx, endpoint))
    if live is None or judge_live(live, evidence, rules) is None:
        return None
    store.plan_of(tx, endpoint, lock=True)
    known = store.releases_of(tx, endpoint)
    live = _live(known)
    if live is None or version not in (None, live.version):
        return None
    decision = judge_live(live, evidence, rules)
    if decision is None:
        return None
    before = _live_before(live, known)
    stays = f"version {live.version} stays live"
    if before is None:
        return _hold(decision, f"no version was live before it, so {stays}")
    if _brought_back(live, known):
        why = "it came back by a rollback, so the cause may lie outside the versions"
        return _hold(decision, f"{why}: {stays}")
    numbers = dict(decision.numbers)
    _give_way(tx, live, before, decision.summary, "everfit", numbers=numbers)
    return decision


def _hold(decision: Decision, why: str) -> Decision:
    return replace(
        decision,
        action=Action.HOLD,
        outcome=Outcome.UNDECIDED,
        summary=f"{decision.summary}; {why}",
    )


def _brought_back(live: Release, known: Sequence[Release]) -> bool:
    """Return whether ``live`` took the place of a later release that was rolled back."""
    later = known[known.index(live) + 1 :]
    return any(
        other.state is ReleaseState.ROLLED_BACK and other.ended_at == live.step_since
        for other in later
    )


def _give_way(
    tx: Transaction, live: Release, before: Release, reason: str, actor: str, **data: object
) -> Release:
    """Take the live release back for the one ``before`` it; what rolls out beside it ends."""
    rolling = _rolling(_serving(tx, live.endpoint))
    if rolling is not None:
        # Its evidence compares it with the version that is taken away.
        why = f"its champion, version {live.version}, was rolled back"
        _end(tx, rolling, ReleaseState.SUPERSEDED, why, actor)
    ended = _end(tx, live, ReleaseState.ROLLED_BACK, reason, actor, champion=before.version, **data)
    store.update_release(tx, go_live(before, tx.now))
    _serve(tx, live.endpoint)
    return ended


def _live_before(release: Release, known: Sequence[Release]) -> Release | None:
    earlier = [
        other
        for other in known
        if other.state is ReleaseState.SUPERSEDED
        and other.live_at is not None
        and other.version != release.version
    ]
    # Sorted, and not the maximum: of two that ended at one moment the later release counts.
    ordered = sorted(earlier, key=lambda other: (other.ended_at, other.live_at))
    return ordered[-1] if ordered else None


def serving_plan(tx: Transaction, endpoint: str) -> ServingPlan | None:
    """Return what ``endpoint`` serves, or None before its first release."""
    return store.plan_of(tx, endpoint)


def current_release(tx: Transaction, endpoint: str) -> Release | None:
    """Return the release that is rolling out at ``endpoint``, or None."""
    return _rolling(_serving(tx, endpoint))


def live_release(tx: Transaction, endpoint: str) -> Release | None:
    """Return the release that answers at ``endpoint`` for good, or None before the first."""
    return _live(_serving(tx, endpoint))


def get_release(tx: Transaction, release_id: str) -> Release:
    """Return one release, or raise NotFound."""
    return store.get_release(tx, release_id)


def releases(tx: Transaction, endpoint: str) -> list[Release]:
    """Return every release of ``endpoint``, oldest first."""
    return store.releases_of(tx, endpoint)


def endpoints(tx: Transaction) -> list[str]:
    """Return the endpoints that had a release, by name."""
    return store.endpoint_names(tx)


def _serving(tx: Transaction, endpoint: str) -> list[Release]:
    """Return the live release and the one rolling out, as far as there are any."""
    ended = (ReleaseState.ROLLED_BACK, ReleaseState.SUPERSEDED)
    return [r for r in store.releases_of(tx, endpoint) if r.state not in ended]


def _live(known: Sequence[Release]) -> Release | None:
    return next((release for release in known if release.state is ReleaseState.LIVE), None)


def _rolling(known: Sequence[Release]) -> Release | None:
    return next((release for release in known if release.state is ReleaseState.ROLLING), None)


def _complete(
    tx: Transaction, release: Release, live: Release, actor: str = "everfit", **data: object
) -> Release:
    """Make ``release`` the one that answers everything."""
    for old in _serving(tx, release.endpoint):
        if old.state is ReleaseState.LIVE:
            _end(tx, old, ReleaseState.SUPERSEDED, f"version {live.version} is live", actor)
    store.update_release(tx, live)
    _record(tx, "release-completed", live, actor, **data)
    _serve(tx, release.endpoint)
    return live


ENDED = {ReleaseState.ROLLED_BACK: "rolled-back", ReleaseState.SUPERSEDED: "release-superseded"}


def _end(
    tx: Transaction,
    release: Release,
    state: ReleaseState,
    reason: str,
    actor: str = "everfit",
    **data: object,
) -> Release:
    ended = end(release, state, reason, tx.now)
    store.update_release(tx, ended)
    was = release.state.value
    _record(tx, ENDED[state], ended, actor, reason=reason, was=was, step=str(release.at), **data)
    return ended


def _serve(tx: Transaction, endpoint: str) -> None:
    """Write the plan, and the registry's champion, that follow from the releases as they are.

    Where no release is live, the version that the plan names goes on answering.
    """
    serving = _serving(tx, endpoint)
    live, before = _live(serving), store.plan_of(tx, endpoint)
    champion = live.version if live else before.champion if before else None
    if champion is None:
        raise Conflict(
            f"endpoint {endpoint!r} has no version that answers",
            hint="Release one with `everfit release`.",
            endpoint=endpoint,
        )
    revision = before.revision + 1 if before else 1
    store.save_plan(tx, plan_for(endpoint, champion, _rolling(serving), revision=revision))
    if before is None or before.champion != champion:
        set_alias(tx, endpoint, CHAMPION, champion)


def _record(
    tx: Transaction, kind: str, release: Release, actor: str = "everfit", **data: object
) -> None:
    given = {"endpoint": release.endpoint, "version": release.version, **data}
    tx.record(kind, release.id, actor, **given)
