"""Approvals, the audit, and the answer to "why?"."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from everfit.deployment import parse_rollout, start_release
from everfit.errors import Invalid, NotFound
from everfit.governance import Question, approvals, approve, verify_ledger, why
from everfit.kernel import Workspace, enqueue
from everfit.packages import Field, Kind, Signature
from everfit.registry import create_version, register
from everfit.steps.service import record_repeated
from everfit.tracking import log_metrics, log_params, start_run

SIGNATURE = Signature(
    inputs=(Field(name="x", kind=Kind.NUMBER, nullable=False),),
    output=Field(name="y", kind=Kind.NUMBER, nullable=False),
    task="regression",
)


def registered(workspace: Workspace, name: str = "bike") -> str:
    """Register a version of a model and return its run."""
    package = workspace.blobs.put(b"package")
    with workspace.transaction() as tx:
        run = start_run(tx, kind="training", name=name)
        log_params(tx, run.id, {"depth": 8})
        log_metrics(tx, run.id, {"mae": 41.5})
        register(
            tx,
            model="bike",
            run=run.id,
            package=package,
            dataset="d" * 64,
            profile=None,
            signature=SIGNATURE,
            metrics={"mae": 41.5},
            algorithm="forest",
        )
    return run.id


def test_an_approval_is_kept_once_with_its_person(any_workspace: Workspace) -> None:
    registered(any_workspace)
    with any_workspace.transaction() as tx:
        approve(tx, "bike", 1, by="Ada", comment="looks right")
        approve(tx, "bike", 1, by=" Ada ")
        approve(tx, "bike", 1, by="Grace")
        given = approvals(tx, "bike", 1)
        assert sorted(approval.person for approval in given) == ["Ada", "Grace"]
        assert len(tx.events("approval-given")) == 2


def test_an_approval_needs_a_name_and_a_version(workspace: Workspace) -> None:
    registered(workspace)
    with workspace.transaction() as tx:
        with pytest.raises(Invalid, match="name"):
            approve(tx, "bike", 1, by="  ")
        with pytest.raises(NotFound):
            approve(tx, "bike", 9, by="Ada")


def test_the_audit_names_the_row_that_was_touched(workspace: Workspace) -> None:
    registered(workspace)
    with workspace.reading() as tx:
        (rows, _), breaks = verify_ledger(tx)
    assert (rows > 0, breaks) == (True, [])
    with workspace.engine.begin() as connection:
        # Not even JSON any more: the audit must not stumble over what it looks for.
        connection.execute(sa.text("UPDATE ledger SET data = '{' WHERE number = 1"))
    with workspace.reading() as tx:
        _, breaks = verify_ledger(tx)
    assert breaks[0].number == 1


def test_a_chain_written_anew_does_not_hold_what_was_noted(workspace: Workspace) -> None:
    registered(workspace)
    with workspace.reading() as tx:
        noted, _ = verify_ledger(tx)
    registered(workspace, "another")
    with workspace.reading() as tx:
        assert verify_ledger(tx, noted=(noted[0], noted[1][:32]))[1] == []
    cut = noted[0] - 1
    with workspace.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM ledger WHERE number > :cut"), {"cut": cut})
        last = "(SELECT digest FROM ledger WHERE number = :cut)"
        move = sa.text(f"UPDATE ledger_heads SET number = :cut, digest = {last}")  # noqa: S608
        connection.execute(move, {"cut": cut})
    with workspace.reading() as tx:
        assert verify_ledger(tx)[1] == []
        (found,) = verify_ledger(tx, noted=noted)[1]
    assert found.number == noted[0]


def test_why_tells_of_versions_runs_and_jobs(workspace: Workspace) -> None:
    run = registered(workspace)
    with workspace.transaction() as tx:
        job = enqueue(tx, "retrain", {"reason": "drift"})
        steps = parse_rollout("100%")
        release = start_release(tx, endpoint="bike", version=1, steps=steps)
        record_repeated(tx, run, "fitted", "signal SIGKILL")
    question = Question(workspace=workspace, model="bike")
    with workspace.reading() as tx:
        version = "\n".join(why(question, tx, "v1"))
        of_run = "\n".join(why(question, tx, run))
        of_job = "\n".join(why(question, tx, job.id))
    assert "v1 is forest, trained" in version
    assert run in version
    assert "version-registered" in version
    assert f"release {release.id}: live" in version
    assert "mae = 41.5" in of_run
    assert "depth = 8" in of_run
    assert "step 'fitted' was run once more: its process ended with signal SIGKILL" in of_run
    assert "drift" in of_job


@pytest.mark.parametrize("unknown", ["v9", "p_0", "alert_0", "report_0", "rel_0", "run_0", "x"])
def test_why_of_nothing_is_not_found(workspace: Workspace, unknown: str) -> None:
    question = Question(workspace=workspace, model="bike")
    with workspace.reading() as tx, pytest.raises(NotFound):
        why(question, tx, unknown)


def test_why_tells_of_a_version_from_outside(workspace: Workspace) -> None:
    registered(workspace)
    with workspace.transaction() as tx:
        create_version(tx, "bike", source="s3://models/7", unpackaged="nobody packed it")
    question = Question(workspace=workspace, model="bike")
    with workspace.reading() as tx:
        told = why(question, tx, "v2")
    assert told[0].startswith("v2 came from outside, logged ")
    assert told[0].endswith(" under s3://models/7")
    assert "version-logged" in told[-1]
