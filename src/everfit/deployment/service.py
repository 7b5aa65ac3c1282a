"""What one can do with releases: load, decide, save, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from everfit.deployment import store
from everfit.deployment.decide import decide
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
from everfit.kernel import Transaction
from everfit.registry import CHAMPION, get_version, set_alias


def start_release(
    tx: Transaction,
    *,
    endpoint: str,
    version: int,
    steps: Sequence[RolloutStep],
    actor: str = "everfit",
) -> Release:
    """Start to roll ``version`` out and return its release; a rollout in progress is superseded.

    The first release of an endpoint, and one whose only step is 100%, is live at once. Starting
    what is rolling out or live already returns that release.

    Raises
    ------
    NotFound
        If the model has no such version.
    """
    get_version(tx, endpoint, version)
    plan = store.plan_of(tx, endpoint, lock=True)
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
        started_at=tx.now,
    )
    store.insert_release(tx, release)
    _record(tx, "release-started", release, actor, steps=describe_rollout(steps))
    for rolling in (old for old in serving if old.state is ReleaseState.ROLLING):
        _end(tx, rolling, ReleaseState.SUPERSEDED, f"version {version} was released", actor)
    if plan is None or release.at.kind is StepKind.FULL:
        return _complete(tx, release, go_live(release, tx.now), actor)
    _serve(tx, endpoint)
    return release


def advance(tx: Transaction, release_id: str, evidence: Evidence, rules: RollbackRules) -> Decision:
    """Judge a release that is rolling out, apply the decision and return it.

    Raises
    ------
    Conflict
        If the release is not rolling out.
    StaleRevision
        If another process moved it meanwhile; nothing was changed.
    """
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
            hint="List what exists with `everfit releases`.",
            endpoint=endpoint,
        )
    release = chosen[-1]
    if release.state is ReleaseState.ROLLING:
        release = _end(tx, release, ReleaseState.ROLLED_BACK, reason, actor)
        _serve(tx, endpoint)
    elif release.state is ReleaseState.LIVE:
        before = _live_before(release, known)
        for rolling in (other for other in known if other.state is ReleaseState.ROLLING):
            # Its evidence compares it with the version that is taken away.
            why = f"its champion, version {release.version}, was rolled back"
            _end(tx, rolling, ReleaseState.SUPERSEDED, why, actor)
        release = _end(
            tx, release, ReleaseState.ROLLED_BACK, reason, actor, champion=before.version
        )
        store.update_release(tx, go_live(before, tx.now))
        _serve(tx, endpoint)
    return release


def _live_before(release: Release, known: Sequence[Release]) -> Release:
    earlier = [
        other
        for other in known
        if other.state is ReleaseState.SUPERSEDED
        and other.live_at is not None
        and other.version != release.version
    ]
    if not earlier:
        raise Conflict(
            f"version {release.version} is live and no version was live before it",
            hint="Release another version with `everfit release`.",
            endpoint=release.endpoint,
        )
    # Sorted, and not the maximum: of two that ended at one moment the later release counts.
    return sorted(earlier, key=lambda other: (other.ended_at, other.live_at))[-1]


def serving_plan(tx: Transaction, endpoint: str) -> ServingPlan | None:
    """Return what ``endpoint`` serves, or None before its first release."""
    return store.plan_of(tx, endpoint)


def current_release(tx: Transaction, endpoint: str) -> Release | None:
    """Return the release that is rolling out at ``endpoint``, or None."""
    return next((r for r in _serving(tx, endpoint) if r.state is ReleaseState.ROLLING), None)


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
    """Write the plan, and the registry's champion, that follow from the releases as they are."""
    by_state = {release.state: release for release in _serving(tx, endpoint)}
    live = by_state[ReleaseState.LIVE]
    before = store.plan_of(tx, endpoint)
    revision = before.revision + 1 if before else 1
    store.save_plan(tx, plan_for(live, by_state.get(ReleaseState.ROLLING), revision=revision))
    if before is None or before.champion != live.version:
        set_alias(tx, endpoint, CHAMPION, live.version)


def _record(
    tx: Transaction, kind: str, release: Release, actor: str = "everfit", **data: object
) -> None:
    given = {"endpoint": release.endpoint, "version": release.version, **data}
    tx.record(kind, release.id, actor, **given)
