"""One loop on a small table: training, gates, release, approvals, and a policy that changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from everfit.automation import (
    Loop,
    open_project,
    queue_judgement,
    standing,
    start_retraining,
)
from everfit.deployment import serving_plan
from everfit.errors import Conflict, NotFound
from everfit.evaluation import Outcome, latest_report
from everfit.governance import approve
from everfit.kernel import JobState, Worker, get_job
from everfit.training import StepPool

POLICY = """\
model: small
task: regression
data: {source: rows.csv, target: y}
train: {candidates: {linear: {}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1_000))
    noise = rng.normal(0, 0.1, 1_000)
    pl.DataFrame({"a": a, "b": b, "y": 3 * a - b + noise}).write_csv(tmp_path / "rows.csv")
    (tmp_path / "everfit.yaml").write_text(POLICY)
    return tmp_path


@pytest.fixture
def loop(folder: Path) -> Iterator[Loop]:
    project = open_project(folder)
    with StepPool(project.workspace, 1) as pool:
        yield Loop(project, pool)
    project.workspace.close()


def work(loop: Loop) -> None:
    Worker(loop.workspace, loop.handlers, name="test").run_pending()


def test_the_first_model_is_trained_gated_and_released(loop: Loop) -> None:
    job = start_retraining(loop.project, reason="test", actor="Ada")
    assert start_retraining(loop.project, reason="again").id == job.id
    work(loop)
    with loop.workspace.reading() as tx:
        assert get_job(tx, job.id).state is JobState.DONE
        plan = serving_plan(tx, "small")
        fired = tx.events("trigger-fired")
    assert plan is not None
    assert plan.champion == 1
    assert [event.actor for event in fired] == ["Ada"]


def test_a_version_waits_for_its_people_and_says_so(loop: Loop, folder: Path) -> None:
    (folder / "everfit.yaml").write_text(POLICY + "gate: [{approve: {people: 2}}]\n")
    start_retraining(loop.project, reason="test")
    work(loop)
    with loop.workspace.reading() as tx:
        report = latest_report(tx, "small", 1)
        assert report is not None
        assert report.outcome is Outcome.UNDECIDED
        assert serving_plan(tx, "small") is None
        assert any("gate approve" in what for what, _, _ in standing(loop.project, tx))
    for person in ("Ada", "Grace"):
        with loop.workspace.transaction() as tx:
            approve(tx, "small", 1, by=person)
            queue_judgement(tx, "small", 1)
        work(loop)
    with loop.workspace.reading() as tx:
        plan = serving_plan(tx, "small")
    assert plan is not None
    assert plan.champion == 1
    with loop.workspace.transaction() as tx, pytest.raises(Conflict, match="released already"):
        queue_judgement(tx, "small", 1)


def test_a_version_without_held_out_rows_cannot_be_judged(loop: Loop) -> None:
    with loop.workspace.transaction() as tx, pytest.raises(NotFound):
        queue_judgement(tx, "small", 7)


def test_a_training_that_failed_runs_under_the_corrected_policy(loop: Loop, folder: Path) -> None:
    wrong = POLICY.replace("target: y", "target: y, expect: {a: {between: [0, 1]}}")
    (folder / "everfit.yaml").write_text(wrong)
    start_retraining(loop.project, reason="test")
    work(loop)
    (folder / "everfit.yaml").write_text(POLICY)
    job = start_retraining(loop.project, reason="corrected")
    work(loop)
    with loop.workspace.reading() as tx:
        ended = get_job(tx, job.id)
        assert ended.state is JobState.DONE, ended.error
        assert serving_plan(tx, "small") is not None


def test_a_policy_that_became_wrong_changes_nothing(
    loop: Loop, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = loop.project
    (folder / "everfit.yaml").write_text(POLICY + "rolout: 100%\n")
    with caplog.at_level(logging.WARNING):
        loop.take_up_policy()
    assert loop.project is before
    assert "rolout" in caplog.text
    (folder / "everfit.yaml").write_text(POLICY + "rollout: 100%\n")
    loop.take_up_policy()
    assert len(loop.project.policy.rollout) == 1
