"""An endpoint with four registered versions, and what tests ask of it."""

from __future__ import annotations

import pytest

from everfit.deployment import (
    Decision,
    Evidence,
    Release,
    ServingPlan,
    guard,
    parse_rollback,
    parse_rollout,
    releases,
    serving_plan,
    start_release,
)
from everfit.kernel import Transaction, Workspace
from everfit.packages import Field, Kind, Signature
from everfit.registry import champion, register

SIGNATURE = Signature(
    inputs=(Field(name="temp", kind=Kind.NUMBER),),
    output=Field(name="cnt", kind=Kind.NUMBER),
    task="regression",
)


def add_versions(tx: Transaction, count: int) -> None:
    for number in range(count):
        register(
            tx,
            model="bike",
            run=f"run_{number}",
            package=f"{number:064x}",
            dataset="d",
            profile=None,
            signature=SIGNATURE,
            metrics={},
            algorithm="linear",
        )


def release(workspace: Workspace, version: int, steps: str = "shadow 1d -> 5% -> 100%") -> Release:
    with workspace.transaction() as tx:
        return start_release(tx, endpoint="bike", version=version, steps=parse_rollout(steps))


def state(workspace: Workspace) -> tuple[ServingPlan | None, int | None, list[tuple[int, str]]]:
    with workspace.reading() as tx:
        best = champion(tx, "bike")
        known = [(found.version, found.state.value) for found in releases(tx, "bike")]
        return serving_plan(tx, "bike"), best.number if best else None, known


def watch(workspace: Workspace, version: int | None = None, /, **seen: object) -> Decision | None:
    rules = parse_rollback({"now": ["errors > 1%", "p95_ms > 50"]})[0]
    with workspace.transaction() as tx:
        found = Evidence(now=tx.now, **seen)  # type: ignore[arg-type]
        return guard(tx, "bike", found, rules, version=version)


ERRS = {"candidate_requests": 1_000, "candidate_errors": 100}


@pytest.fixture
def served(any_workspace: Workspace) -> Workspace:
    with any_workspace.transaction() as tx:
        add_versions(tx, 4)
    return any_workspace
