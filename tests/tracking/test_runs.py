"""What runs keep, and that starting and ending them twice is the same as once."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everfit.errors import Conflict, Invalid, NotFound
from everfit.kernel import ManualClock, Transaction, Workspace
from everfit.tracking import (
    NAME_TAG,
    MetricPoint,
    Run,
    RunStatus,
    Scalar,
    artifacts,
    delete_tag,
    finish_run,
    get_run,
    list_runs,
    log_artifact,
    log_metrics,
    log_params,
    log_points,
    metric_history,
    metrics,
    params,
    place_of,
    sample_metric,
    set_tags,
    start_run,
    tags,
)

DIGEST = "0" * 64


def started(tx: Transaction, run_id: str = "run_1") -> Run:
    return start_run(tx, kind="training", name="bikes", run_id=run_id)


def test_a_run_is_started_once_however_often_it_is_asked_for(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        first = started(tx)
    with any_workspace.transaction() as tx:
        assert started(tx) == first
        assert [event.kind for event in tx.events(subject="run_1")] == ["run-started"]


def test_without_an_id_every_run_is_another(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        parent = start_run(tx, kind="training", name="bikes")
        child = start_run(tx, kind="trial", name="forest", parent=parent.id)
        assert get_run(tx, child.id) == child
        assert child.parent == parent.id
        assert [run.id for run in list_runs(tx, kind="trial")] == [child.id]


def test_the_newest_run_comes_first(any_workspace: Workspace, clock: ManualClock) -> None:
    for number in range(3):
        clock.advance(timedelta(seconds=1))
        with any_workspace.transaction() as tx:
            started(tx, f"run_{number}")
    with any_workspace.reading() as tx:
        assert [run.id for run in list_runs(tx, limit=2)] == ["run_2", "run_1"]


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
def test_a_run_that_broke_off_goes_on_under_its_id(
    any_workspace: Workspace, clock: ManualClock, status: RunStatus
) -> None:
    with any_workspace.transaction() as tx:
        first = started(tx)
        broken = finish_run(tx, first.id, status, error="out of memory")
        assert broken.error == "out of memory"
    clock.advance(timedelta(hours=1))
    with any_workspace.transaction() as tx:
        assert started(tx) == first
        finished = finish_run(tx, first.id, RunStatus.FINISHED)
        assert get_run(tx, first.id) == finished
        assert finished.finished_at == first.started_at + timedelta(hours=1)
        assert [event.kind for event in tx.events(subject=first.id)] == [
            "run-started",
            "run-finished",
            "run-resumed",
            "run-finished",
        ]


def test_a_finished_run_stays_finished(any_workspace: Workspace, clock: ManualClock) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        finished = finish_run(tx, "run_1", RunStatus.FINISHED)
    clock.advance(timedelta(hours=1))
    with any_workspace.transaction() as tx:
        assert started(tx) == finished
        assert finish_run(tx, "run_1", RunStatus.FINISHED) == finished
        with pytest.raises(Conflict, match=r"finished already.*failed"):
            finish_run(tx, "run_1", RunStatus.FAILED)
        with pytest.raises(Invalid, match="cannot be finished as 'running'"):
            finish_run(tx, "run_1", RunStatus.RUNNING)


def test_an_id_belongs_to_one_kind_of_run(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        with pytest.raises(Conflict, match=r"'training', not 'evaluation'"):
            start_run(tx, kind="evaluation", name="bikes", run_id="run_1")


def test_an_unknown_run_takes_nothing(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        with pytest.raises(NotFound, match="run_9"):
            log_params(tx, "run_9", {"depth": 4})
        with pytest.raises(NotFound, match="run_9"):
            log_metrics(tx, "run_9", {"mae": 1.0})
        with pytest.raises(NotFound, match="run_9"):
            set_tags(tx, "run_9", {"team": "bikes"})
        with pytest.raises(NotFound, match="run_9"):
            log_artifact(tx, "run_9", "plot.svg", DIGEST, bytes=1, media="image/svg+xml")


def test_projects_do_not_see_each_other(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        log_params(tx, "run_1", {"depth": 4})
        other = Transaction(connection=tx.connection, project="other", now=tx.now)
        assert list_runs(other) == []
        started(other)
        assert params(other, "run_1") == {}


def test_params_never_change(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        log_params(tx, "run_1", {"depth": 4, "criterion": "gini"})
        log_params(tx, "run_1", {"depth": 4, "seed": 0})
    with pytest.raises(Conflict) as refused, any_workspace.transaction() as tx:
        log_params(tx, "run_1", {"depth": 8, "criterion": None, "other": 1})
    assert [str(problem) for problem in refused.value.problems] == [
        "depth: found '8'; it is '4' already",
        "criterion: found 'null'; it is 'gini' already",
    ]
    with any_workspace.reading() as tx:
        assert params(tx, "run_1") == {"depth": 4, "criterion": "gini", "seed": 0}


def test_params_of_libraries_are_taken_as_they_come(any_workspace: Workspace) -> None:
    given_params = {"missing": math.nan, "n": np.int64(3), "rate": np.float32(0.5), "warm": True}
    with any_workspace.transaction() as tx:
        started(tx)
        log_params(tx, "run_1", given_params)
        log_params(tx, "run_1", given_params)
        assert params(tx, "run_1") == {"missing": "nan", "n": 3, "rate": 0.5, "warm": True}


def test_every_param_that_is_no_scalar_is_named(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        with pytest.raises(Invalid, match=r"2 problems:(.|\n)*layers: found list(.|\n)*x: found"):
            log_params(tx, "run_1", {"layers": [1, 2], "x": {}, "fine": 1})
        assert params(tx, "run_1") == {}


scalars: st.SearchStrategy[Scalar] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])),
)
keys = st.text("abcXYZ019_-.: ", min_size=1, max_size=5).filter(lambda key: key.strip(".") == key)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(values=st.dictionaries(keys, scalars))
def test_a_param_comes_back_as_it_was(workspace: Workspace, values: dict[str, Scalar]) -> None:
    with workspace.transaction() as tx:
        run = start_run(tx, kind="training", name="bikes")
        log_params(tx, run.id, values)
        assert params(tx, run.id) == values


@pytest.mark.parametrize("value", [0.1, 1e308, -0.0, 5e-324, math.inf, -math.inf, math.nan])
def test_every_double_is_kept(any_workspace: Workspace, value: float) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        log_metrics(tx, "run_1", {"loss": value}, step=3)
    with any_workspace.reading() as tx:
        (point,) = metric_history(tx, "run_1", "loss")
        latest = metrics(tx, "run_1")["loss"]
    assert np.array_equal([point.value, latest], [value, value], equal_nan=True)
    assert point.step == 3


def test_the_history_of_a_metric_is_kept_in_order(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        for step in (2, 0, 1):
            log_metrics(tx, "run_1", {"mae": float(step), "rmse": -1.0}, step=step)
    clock.advance(timedelta(seconds=1))
    with any_workspace.transaction() as tx:
        log_metrics(tx, "run_1", {"mae": 10.0}, step=1)
        found = [(p.step, p.value) for p in metric_history(tx, "run_1", "mae")]
        assert found == [(0, 0.0), (1, 1.0), (2, 2.0), (1, 10.0)]
        assert metrics(tx, "run_1") == {"mae": 2.0, "rmse": -1.0}


def by_time(point: MetricPoint) -> tuple[int, int, float]:
    return point.at_us, point.step, point.value


def by_step(point: MetricPoint) -> tuple[int, int, float]:
    return point.step, point.at_us, point.value


def test_the_latest_value_is_that_of_the_last_step_whatever_the_order(
    any_workspace: Workspace,
) -> None:
    random = np.random.default_rng(0)
    points = [
        MetricPoint(key, float(step), int(step), int(s))
        for key in ("a", "b")
        for step, s in random.integers(0, 9, size=(40, 2))
    ]
    shuffled = [points[i] for i in random.permutation(len(points))]
    with any_workspace.transaction() as tx:
        started(tx)
        for start in range(0, len(shuffled), 7):
            log_points(tx, "run_1", shuffled[start : start + 7])
        for key in ("a", "b"):
            history = metric_history(tx, "run_1", key)
            assert history == sorted({p for p in points if p.key == key}, key=by_time)
            assert metrics(tx, "run_1")[key] == max(history, key=by_step).value


def test_values_at_the_same_step_and_time_are_kept_once_each(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        for value in (1.0, 3.0, 2.0, 3.0, math.nan, math.nan):
            log_metrics(tx, "run_1", {"mae": value})
        values = [point.value for point in metric_history(tx, "run_1", "mae")]
        assert np.array_equal(values, [math.nan, 1.0, 2.0, 3.0], equal_nan=True)
        assert metrics(tx, "run_1") == {"mae": 3.0}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    batches=st.lists(
        st.lists(
            st.builds(
                MetricPoint,
                st.just("m"),
                st.sampled_from([0.0, 1.0, math.inf]),
                st.integers(0, 3),
                st.integers(0, 3),
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=5,
    ),
    page=st.integers(1, 3),
)
def test_a_history_is_in_order_of_time_in_whatever_order_it_came(
    workspace: Workspace, batches: list[list[MetricPoint]], page: int
) -> None:
    with workspace.transaction() as tx:
        run = start_run(tx, kind="training", name="bikes")
        for batch in batches:
            log_points(tx, run.id, batch)
        wanted = sorted({point for batch in batches for point in batch}, key=by_time)
        found: list[MetricPoint] = []
        while part := metric_history(
            tx, run.id, "m", after=place_of(found[-1]) if found else None, limit=page
        ):
            found += part
        assert found == wanted
        if wanted:
            assert metrics(tx, run.id)["m"] == max(wanted, key=by_step).value
        in_steps = sorted(wanted, key=by_step)
        assert sample_metric(tx, run.id, "m", most=100) == in_steps
        sampled = sample_metric(tx, run.id, "m", most=2)
        assert sampled == ([in_steps[0], in_steps[-1]] if len(in_steps) > 1 else in_steps)


def test_a_metric_that_is_no_number_is_named_and_nothing_is_kept(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        with pytest.raises(Invalid, match=r"mae': found '1\.0'; log a number"):
            log_metrics(tx, "run_1", {"r2": 0.5, "mae": "1.0"})  # type: ignore[dict-item]
        assert metrics(tx, "run_1") == {}


def test_a_tag_can_be_set_again(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        set_tags(tx, "run_1", {"team": "bikes", "note": ""})
        set_tags(tx, "run_1", {"team": "trams"})
        set_tags(tx, "run_1", {})
        assert tags(tx, "run_1") == {NAME_TAG: "bikes", "note": "", "team": "trams"}
        delete_tag(tx, "run_1", "note")
        with pytest.raises(NotFound, match="no tag 'note'"):
            delete_tag(tx, "run_1", "note")


def test_an_artifact_is_found_by_its_name(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        started(tx)
        log_artifact(tx, "run_1", "plots/roc.svg", "1" * 64, bytes=10, media="image/svg+xml")
        log_artifact(tx, "run_1", "plots/roc.svg", DIGEST, bytes=20, media="image/svg+xml")
        (found,) = artifacts(tx, "run_1").values()
        assert (found.name, found.digest, found.bytes) == ("plots/roc.svg", DIGEST, 20)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../key", "a/../../key", "a\\b", "a\0b"])
def test_an_artifact_name_that_could_leave_its_folder_is_refused(
    workspace: Workspace, name: str
) -> None:
    with workspace.transaction() as tx:
        started(tx)
        with pytest.raises(Invalid, match="no artifact name"):
            log_artifact(tx, "run_1", name, DIGEST, bytes=1, media="text/plain")
