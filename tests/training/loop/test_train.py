"""From a table to a registered version: what is chosen, recorded, repeated and refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from everfit import data, registry, tracking
from everfit.data import Expectation, Role, Source, Task
from everfit.errors import Conflict, DataInvalid, PolicyInvalid, SourceMissing, TargetLeak
from everfit.kernel import (
    ManualClock,
    Transaction,
    Workspace,
    load_settings,
    open_workspace,
)
from everfit.steps import StepPool, load_value, run_steps, store_value
from everfit.training import CandidateSpec, TrainingRequest, TrainingResult, train

Make = Callable[..., TrainingRequest]
QUERY = "SELECT * FROM people"


def test_the_best_candidate_becomes_a_version_that_predicts(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    result = train(workspace, bike(), run_id="run_1", pool=pool)
    assert [score.name for score in result.leaderboard] == ["boosting", "linear"]
    assert result.leaderboard[0].value < result.leaderboard[1].value
    assert (result.version.number, result.version.algorithm) == (1, "boosting")

    test = load_value(workspace, result.test)
    fitted = registry.load_package(workspace, result.version)
    errors = [abs(a - b) for a, b in zip(fitted.predict(test), test["cnt"], strict=True)]
    assert sum(errors) / len(errors) == pytest.approx(result.metrics["mae"])
    guess = (test["cnt"] - test["cnt"].median()).abs().mean()
    assert isinstance(guess, float)
    assert result.metrics["mae"] < 0.7 * guess


def test_the_evidence_is_on_record(any_workspace: Workspace, pool: StepPool, bike: Make) -> None:
    workspace = any_workspace
    result = train(workspace, bike(), run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        assert tracking.get_run(tx, "run_1").status is tracking.RunStatus.FINISHED
        params = tracking.params(tx, "run_1")
        metrics = tracking.metrics(tx, "run_1")
        artifacts = tracking.artifacts(tx, "run_1")
        rows = data.load_version(tx, workspace.blobs, result.dataset)
        kinds = [event.kind for event in tx.events()]
    assert params["seed"] == params["split.seed"] == 0
    assert (params["best"], params["best.rounds"]) == ("boosting", 100)
    assert metrics["cost"] > 0
    assert metrics["cpu_seconds"] > 0
    assert metrics["peak_bytes"] > 0
    assert metrics["mae"] == result.version.metrics["mae"]
    assert {"environment.txt", "code.json", "result.json", "model.everfit"} <= set(artifacts)
    assert artifacts["model.everfit"].digest == result.version.package
    assert rows.height == 2_000
    assert result.version.dataset == result.dataset
    assert kinds == [
        "experiment-created",
        "run-started",
        "dataset-stored",
        "version-registered",
        "run-finished",
    ]


def test_the_same_run_again_gives_the_same_result_and_makes_nothing(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    calls: list[TrainingResult] = []
    first = train(workspace, bike(), run_id="run_1", pool=pool)
    again = train(
        workspace, bike(), run_id="run_1", pool=pool, finish=lambda tx, result: calls.append(result)
    )
    assert again == first
    assert calls == []
    with workspace.reading() as tx:
        assert len(registry.list_versions(tx, "bike")) == 1


def test_another_run_of_the_same_request_finds_every_step_and_is_free(
    workspace: Workspace, clock: ManualClock, pool: StepPool, adult: Make
) -> None:
    first = train(workspace, adult(), run_id="run_1", pool=pool)
    clock.advance(timedelta(hours=1))
    second = train(workspace, adult(), run_id="run_2", pool=pool)
    assert (second.version.number, second.version.package) == (2, first.version.package)
    assert second.cached == second.steps
    assert second.metrics["cost"] == 0


def test_changed_rows_are_seen(workspace: Workspace, pool: StepPool, adult: Make) -> None:
    request = adult(candidates=(CandidateSpec(name="linear"),))
    first = train(workspace, request, run_id="run_1", pool=pool)
    file = request.base / "adult.csv"
    pl.read_csv(file).head(1_500).write_csv(file)
    second = train(workspace, request, run_id="run_2", pool=pool)
    assert second.dataset != first.dataset
    assert second.version.package != first.version.package


def test_a_search_is_reproduced_in_another_workspace(
    workspace: Workspace, tmp_path: Path, pool: StepPool, adult: Make
) -> None:
    elsewhere = open_workspace(load_settings(tmp_path / "other", environment={}), durable=False)
    spec = CandidateSpec(name="boosting", search={"rounds": [5, 20], "leaf": [5, 40]})
    request = adult(candidates=(spec, CandidateSpec(name="linear")), trials=9)
    first = train(workspace, request, run_id="run_1", pool=pool)
    other = train(elsewhere, request, run_id="run_9", pool=pool)
    assert other.cached < other.steps
    assert len(first.leaderboard) == 9
    assert [(s.params, s.value) for s in first.leaderboard] == [
        (s.params, s.value) for s in other.leaderboard
    ]
    # Not the packages: pickle's bytes depend on which equal texts are one object.
    rows = load_value(workspace, first.test)
    here = registry.load_package(workspace, first.version)
    there = registry.load_package(elsewhere, other.version)
    np.testing.assert_array_equal(here.predict(rows), there.predict(rows))
    elsewhere.close()


def test_only_what_had_happened_is_learned_from(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    as_of = datetime(2011, 2, 15, tzinfo=UTC)
    result = train(workspace, bike(as_of=as_of), run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        rows = data.load_version(tx, workspace.blobs, result.dataset)
    assert rows.height < 2_000
    latest = rows["time"].max()
    assert isinstance(latest, datetime)
    assert latest <= as_of
    assert load_value(workspace, result.test)["time"].max() == latest


def test_before_the_first_row_there_is_nothing_to_learn(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    with pytest.raises(DataInvalid, match="none of 2,000 rows had happened by 2010"):
        train(workspace, bike(as_of=datetime(2010, 1, 1, tzinfo=UTC)), run_id="run_1", pool=pool)


def test_labelled_predictions_are_added_once(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    result = train(workspace, bike(), run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        known = data.load_version(tx, workspace.blobs, result.dataset)
    # As they come back: numbers as served, labels as text, columns of the prediction beside them.
    served = known.tail(300).select(pl.exclude("dteday", "instant", "casual", "registered"))
    new = served.head(100).with_columns(pl.col("time") + pl.duration(days=90))
    extra = pl.concat([served, new, new]).with_columns(
        pl.col("cnt").cast(pl.String), pl.col("weathersit").cast(pl.Float64), id=pl.lit("p_1")
    )
    request = bike(extra=store_value(workspace, extra))
    second = train(workspace, request, run_id="run_2", pool=pool)
    with workspace.reading() as tx:
        rows = data.load_version(tx, workspace.blobs, second.dataset)
    assert rows.columns == known.columns
    assert rows.height == known.height + 100
    assert rows.tail(100)["cnt"].to_list() == served.head(100)["cnt"].to_list()


def test_a_labelled_prediction_of_an_event_that_the_source_has_too_is_left_out(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    request = adult(candidates=(CandidateSpec(name="linear"),), key="customer")
    file = request.base / "adult.csv"
    rows = pl.read_csv(file).with_row_index("customer", offset=1)
    rows.write_csv(file)
    # Known by their key, though a value came rounded and one was corrected since.
    served = rows.tail(50).with_columns(pl.col("age") + 1)
    new = served.head(10).with_columns(pl.col("customer") + 10_000)
    extra = pl.concat([served, new]).with_columns(pl.col("customer").cast(pl.String))
    request = replace(request, extra=store_value(workspace, extra))
    result = train(workspace, request, run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        learnt = data.load_version(tx, workspace.blobs, result.dataset)
    assert learnt.height == rows.height + 10


def test_new_events_are_learnt_from_though_they_look_like_others(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    request = adult(candidates=(CandidateSpec(name="linear"),), key="customer")
    file = request.base / "adult.csv"
    rows = pl.read_csv(file).with_row_index("customer", offset=1)
    rows.write_csv(file)
    # The last event was asked about twice, by a client that tried again.
    keys = pl.Series("customer", [9001, 9002, 9003, 9003]).cast(pl.String)
    new = pl.concat([rows.tail(1)] * 4).with_columns(keys)
    request = replace(request, extra=store_value(workspace, new))
    result = train(workspace, request, run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        assert data.load_version(tx, workspace.blobs, result.dataset).height == rows.height + 3


def test_labels_of_another_target_are_left_out_and_said(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    request = adult(candidates=(CandidateSpec(name="linear"),))
    rows = pl.read_csv(request.base / "adult.csv")
    extra = store_value(workspace, rows.tail(5).rename({"income-per-year": "before"}))
    result = train(workspace, replace(request, extra=extra), run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        assert data.load_version(tx, workspace.blobs, result.dataset).height == rows.height
        said = {step.name: step.output for step in run_steps(tx, "run_1")}
    assert "they are not of 'income-per-year'" in said["extended"]


def test_a_wrong_label_is_left_out_and_said(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    request = adult(candidates=(CandidateSpec(name="linear"),), target="rich")
    file = request.base / "adult.csv"
    rich = pl.col("income-per-year").str.contains(">50K").alias("rich")
    rows = pl.read_csv(file).with_columns(rich).drop("income-per-year")
    rows.write_csv(file)
    new = rows.tail(3).with_columns(pl.col("age") + 100)
    new = new.with_columns(rich=pl.Series(["true", "maybe", "false"]))
    request = replace(request, extra=store_value(workspace, new))
    result = train(workspace, request, run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        assert data.load_version(tx, workspace.blobs, result.dataset).height == rows.height + 2
        said = {step.name: step.output for step in run_steps(tx, "run_1")}
    assert "'maybe' is no Boolean" in said["extended"]


def test_a_new_class_is_learnt_once_it_has_rows_enough(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    request = adult(candidates=(CandidateSpec(name="linear"),))
    rows = pl.read_csv(request.base / "adult.csv")
    older = rows.with_columns(pl.col("age") + 100)
    slip = older.head(5).with_columns(pl.lit("hello").alias("income-per-year"))
    fresh = older.slice(100, 60).with_columns(pl.lit("unknown").alias("income-per-year"))
    extra = store_value(workspace, pl.concat([slip, fresh]))
    result = train(workspace, replace(request, extra=extra), run_id="run_1", pool=pool)
    assert "unknown" in result.version.require_signature().classes
    assert "hello" not in result.version.require_signature().classes
    with workspace.reading() as tx:
        said = {step.name: step.output for step in run_steps(tx, "run_1")}
    assert "5 labelled predictions are left out: the class 'hello' is new" in said["extended"]


def test_rows_that_are_not_as_expected_stop_the_training(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    expected = (Expectation(column="temp", rule="between", argument=(0.2, 1)),)
    with pytest.raises(DataInvalid, match="temp between") as raised:
        train(workspace, bike(expectations=expected), run_id="run_1", pool=pool)
    with workspace.reading() as tx:
        run = tracking.get_run(tx, "run_1")
        assert (run.status, run.error) == (tracking.RunStatus.FAILED, raised.value.message)
        assert registry.list_versions(tx, "bike") == []


def test_a_failed_run_can_be_repeated_once_the_cause_is_gone(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    request = bike()
    file = request.base / "hour.csv"
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(SourceMissing):
        train(workspace, request, run_id="run_1", pool=pool)
    file.write_bytes(content)
    assert train(workspace, request, run_id="run_1", pool=pool).version.number == 1


def test_a_leak_of_the_target_comes_through_unchanged(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    with pytest.raises(TargetLeak):
        train(workspace, bike(exclude=("instant",)), run_id="run_1", pool=pool)


def test_everything_wrong_with_the_request_is_said_at_once(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    request = bike(
        task=Task.REGRESSION,
        metric="accuracy",
        candidates=(CandidateSpec(name="forst"), CandidateSpec(name="logistic")),
    )
    with pytest.raises(PolicyInvalid) as raised:
        train(workspace, request, run_id="run_1", pool=pool)
    assert [p.path for p in raised.value.problems] == ["forst", "logistic", "metric"]


def test_what_does_not_fit_the_inferred_task_is_refused_before_training(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    with pytest.raises(PolicyInvalid, match="use accuracy or f1 or roc_auc or log_loss"):
        train(workspace, adult(metric="mae"), run_id="run_1", pool=pool)


def test_if_the_callers_last_word_fails_nothing_is_registered(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    def refuse(tx: Transaction, result: TrainingResult) -> None:
        raise Conflict("no", hint="no")

    with pytest.raises(Conflict):
        train(workspace, adult(), run_id="run_1", pool=pool, finish=refuse)
    with workspace.reading() as tx:
        assert registry.list_versions(tx, "income") == []
        assert "dataset-stored" not in [event.kind for event in tx.events()]


def test_clusters_are_trained_without_a_target(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    request = adult(
        target=None,
        metric="silhouette",
        exclude=("income-per-year",),
        candidates=(CandidateSpec(name="kmeans"),),
    )
    result = train(workspace, request, run_id="run_1", pool=pool)
    assert result.version.require_signature().output.name == "cluster"
    assert 0 < result.metrics["silhouette"] < 1


def test_classes_may_be_numbers_and_numbers_may_be_categories(
    workspace: Workspace, pool: StepPool, bike: Make
) -> None:
    request = bike(
        target="workingday",
        task=Task.CLASSIFICATION,
        metric="accuracy",
        time=None,
        roles={"weathersit": Role.CATEGORY},
        exclude=("instant", "dteday", "weekday", "holiday"),
        candidates=(CandidateSpec(name="linear"), CandidateSpec(name="boosting")),
    )
    result = train(workspace, request, run_id="run_1", pool=pool)
    assert result.version.require_signature().classes == (0, 1)
    fitted = registry.load_package(workspace, result.version)
    assert set(fitted.predict(load_value(workspace, result.test)).tolist()) == {0, 1}


def test_rows_of_a_database_are_collected_anew_by_each_run(
    workspace: Workspace, pool: StepPool, adult: Make
) -> None:
    request = adult(candidates=(CandidateSpec(name="linear"),))
    rows = pl.read_csv(request.base / "adult.csv")
    from_table = replace(request, source=Source(location="sqlite:///people.db", query=QUERY))
    for run, count in (("run_1", 1_500), ("run_2", 2_000)):
        with sqlite3.connect(request.base / "people.db") as database:
            database.execute("DROP TABLE IF EXISTS people")
            names = ", ".join(f'"{name}"' for name in rows.columns)
            database.execute(f"CREATE TABLE people ({names})")
            marks = ", ".join("?" * rows.width)
            database.executemany(
                f"INSERT INTO people VALUES ({marks})",  # noqa: S608 - question marks only
                rows.head(count).rows(),
            )
        database.close()
        result = train(workspace, from_table, run_id=run, pool=pool)
        with workspace.reading() as tx:
            assert data.load_version(tx, workspace.blobs, result.dataset).height == count
