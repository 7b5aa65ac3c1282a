"""One loop on a small table: training, gates, release, approvals, and a policy that changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from everfit.automation import (
    Loop,
    Project,
    facts,
    judge_again,
    open_project,
    queue_judgement,
    read_policy,
    standing,
    start_retraining,
)
from everfit.data import load_version
from everfit.deployment import parse_rollout, serving_plan, start_release
from everfit.errors import Conflict, Invalid, NotFound
from everfit.evaluation import Outcome, latest_report
from everfit.governance import approve
from everfit.kernel import JobState, ManualClock, Worker, Workspace, get_job
from everfit.monitoring import request_log
from everfit.packages import FittedModel, infer_signature, pack
from everfit.registry import create_model, create_version, get_version, trust
from everfit.serving import LocalPredictor, ModelServer
from everfit.steps import StepPool

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


def test_a_version_that_cannot_be_loaded_is_not_judged(loop: Loop) -> None:
    with loop.workspace.transaction() as tx:
        create_model(tx, "small")
        create_version(tx, "small", source="s3://models/7", unpackaged="nobody packed it")
        with pytest.raises(Invalid, match="small/1 cannot be loaded"):
            queue_judgement(tx, "small", 1)
        assert not any(what == "v1" for what, _, _ in standing(loop.project, tx))


def logged(loop: Loop, estimator: Any, classes: tuple[str, ...] = ()) -> None:
    """A model of somebody else's under the project's name, which is trusted."""
    rows = pl.DataFrame({"a": [0.0, 1.0], "b": [1.0, 0.0]})
    task = "classification" if classes else "regression"
    target = pl.Series("guess", [*classes] or [1.0, 0.0])
    fitted = FittedModel(estimator.fit(rows, target), infer_signature(rows, target, task, classes))
    package = loop.workspace.blobs.put(pack(fitted))
    with loop.workspace.transaction() as tx:
        create_model(tx, "small")
        create_version(tx, "small", source="s3://m/1", package=package, signature=fitted.signature)
        trust(tx, package, "Ada", "made beside her")


def test_a_first_model_from_outside_is_judged_on_rows_held_out_for_it(loop: Loop) -> None:
    logged(loop, LinearRegression())
    job = judge_again(loop.project, 1)
    assert job.payload["test"] is None
    work(loop)
    with loop.workspace.reading() as tx:
        report = latest_report(tx, "small", 1)
        version = get_version(tx, "small", 1)
    assert report is not None
    # A line through two wrong rows is no model of a thousand.
    assert report.outcome is Outcome.FAIL
    assert 100 < report.rows < 300
    assert version.require_signature().output.name == "y"
    assert version.profile is not None
    judge_again(loop.project, 1)
    work(loop)
    with loop.workspace.reading() as tx:
        assert get_version(tx, "small", 1).profile == version.profile


def test_a_model_for_another_task_is_not_judged(loop: Loop) -> None:
    logged(loop, LogisticRegression(), ("no", "yes"))
    job = judge_again(loop.project, 1)
    work(loop)
    with loop.workspace.reading() as tx:
        ended = get_job(tx, job.id)
        assert latest_report(tx, "small", 1) is None
    assert "a model for classification, and this project's for regression" in str(ended.error)


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


def test_who_asked_for_the_training_may_not_approve_it(loop: Loop, folder: Path) -> None:
    gates = "gate: [{approve: {people: 1, not: author}}]\n"
    (folder / "everfit.yaml").write_text(POLICY + gates)
    start_retraining(loop.project, reason="test", actor="Ada")
    work(loop)
    outcomes = []
    for person in ("Ada", "Grace"):
        with loop.workspace.transaction() as tx:
            approve(tx, "small", 1, by=person)
            queue_judgement(tx, "small", 1)
        work(loop)
        with loop.workspace.reading() as tx:
            report = latest_report(tx, "small", 1)
        assert report is not None
        outcomes.append(report.outcome)
    assert outcomes == [Outcome.UNDECIDED, Outcome.PASS]


def test_a_live_version_that_fails_gives_way_by_itself(loop: Loop) -> None:
    for number in (1, 2):
        start_retraining(loop.project, reason="test")
        work(loop)
        with loop.workspace.transaction() as tx:
            start_release(tx, endpoint="small", version=number, steps=parse_rollout("100%"))
    with request_log(loop.workspace, "small", writer="one") as log:
        asked = {"at": loop.workspace.clock.now(), "status": 500, "rows": 1, "latency_ms": 1.0}
        log.append(
            pl.DataFrame(
                [asked | {"version": None, "arm": None}] * 50,
                schema_overrides={
                    "at": pl.Datetime("us", "UTC"),
                    "version": pl.Int64,
                    "arm": pl.String,
                },
            )
        )
    tick = loop.tick()
    assert tick.rollout is not None
    assert "50 errors in 50 requests" in tick.rollout.summary
    with loop.workspace.reading() as tx:
        plan = serving_plan(tx, "small")
    assert plan is not None
    assert plan.champion == 1


def test_the_logs_are_swept_once_in_a_while(folder: Path) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    project = open_project(folder, clock=clock)
    with StepPool(project.workspace, 1) as pool:
        loop = Loop(project, pool)
        start_retraining(project, reason="test")
        work(loop)
        swept = []
        for seconds in (0, 30, 29, 1):
            clock.advance(timedelta(seconds=seconds))
            swept.append(loop.tick().swept is not None)
    project.workspace.close()
    assert swept == [True, False, False, True]


def test_what_failed_trainings_took_is_spent_too(loop: Loop, folder: Path) -> None:
    wrong = POLICY.replace("target: y", "target: y, expect: {a: {between: [0, 1]}}")
    (folder / "everfit.yaml").write_text(wrong + "retrain: {at_most: {cost_per_week: 1 EUR}}\n")
    loop.take_up_policy()
    start_retraining(loop.project, reason="test")
    work(loop)
    with loop.workspace.reading() as tx:
        assert facts(loop.project, tx).cost_this_week > 0
        assert serving_plan(tx, "small") is None


def test_a_training_asked_for_by_many_at_once_starts_once(
    any_workspace: Workspace, folder: Path
) -> None:
    policy, _ = read_policy(folder)
    project = Project(folder=folder, policy=policy, workspace=any_workspace, digest="")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(start_retraining, project, reason="test") for _ in range(8)]
        assert len({done.result().id for done in asked}) == 1
    with any_workspace.reading() as tx:
        assert len(tx.events("trigger-fired")) == 1


def test_status_says_what_is_held_back_and_until_when(folder: Path) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    retrain = "retrain: {when: [every 2d], at_most: {per_day: 1, cooldown: 28d}}\n"
    (folder / "everfit.yaml").write_text(POLICY + retrain)
    project = open_project(folder, clock=clock)

    def said() -> list[tuple[str, str]]:
        with project.workspace.reading() as tx:
            found = standing(project, tx)
        return [(state, detail) for what, state, detail in found if what == "retrain"]

    assert said() == []
    with StepPool(project.workspace, 1) as pool:
        start_retraining(project, reason="test")
        work(Loop(project, pool))
    clock.advance(timedelta(days=1))
    assert said() == [("next", "every 2d: due 2026-01-29 00:00 UTC")]
    clock.advance(timedelta(days=2))
    assert said() == [("held back", "schedule: every 2d; cooldown of 28 days: 25 days left")]
    clock.advance(timedelta(days=26))
    assert said() == [("starts next", "schedule: every 2d")]
    project.workspace.close()


def test_truth_that_came_early_is_not_learnt_from_yet(folder: Path) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    (folder / "everfit.yaml").write_text(POLICY + "truth: {arrives: 2d}\n")
    project = open_project(folder, clock=clock)
    learnt = []
    with StepPool(project.workspace, 1) as pool:
        loop = Loop(project, pool)
        start_retraining(project, reason="test")
        work(loop)
        with ModelServer(project.workspace, "small", writer="test") as server:
            rows = pl.DataFrame({"a": [9.0, 8.0], "b": [1.0, 2.0]})
            answered = LocalPredictor(server).predict(rows)
            LocalPredictor(server).label(answered.select("id", label=pl.lit(26.0)))
        for days in (1, 2):
            clock.advance(timedelta(days=days))
            loop.sweep()
            job = start_retraining(project, reason="test")
            work(loop)
            with project.workspace.reading() as tx:
                result = get_job(tx, job.id).result
                assert result is not None
                dataset = get_version(tx, "small", result["version"]).dataset
                assert dataset is not None
                learnt.append(load_version(tx, project.workspace.blobs, dataset).height)
    project.workspace.close()
    assert learnt == [1_000, 1_002]


def test_a_changed_policy_is_on_record_once_and_a_wrong_one_is_tried_again(
    loop: Loop, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    helper = folder / "pipeline.py"
    helper.write_text("def broken(:\n")
    for _ in range(3):
        loop.take_up_policy()
    assert caplog.text.count("keeps its policy") == 1
    helper.write_text("depth = 1\n")
    others = [Loop(loop.project, loop.pool) for _ in range(2)]
    for one in (loop, *others):
        one.take_up_policy()
    with loop.workspace.reading() as tx:
        assert len(tx.events("policy-changed")) == 1
