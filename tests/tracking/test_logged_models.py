"""Logged models: their life, and the metrics that measure them."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest

from everfit.errors import Conflict, Invalid, NotFound
from everfit.kernel import ManualClock, Transaction, Workspace
from everfit.tracking import (
    MetricPoint,
    ModelPoint,
    ModelSearch,
    ModelStatus,
    Stage,
    create_experiment,
    create_logged_model,
    create_run,
    delete_experiment,
    delete_logged_model,
    delete_model_tag,
    delete_run,
    finalize_logged_model,
    get_logged_model,
    log_model_params,
    log_model_points,
    metric_history,
    metrics,
    model_folder,
    search_logged_models,
    set_model_tags,
)


@pytest.fixture
def experiment(any_workspace: Workspace) -> str:
    with any_workspace.transaction() as tx:
        return create_experiment(tx, "bikes").id


def test_a_logged_model_waits_for_its_files_and_is_then_ready(
    any_workspace: Workspace, clock: ManualClock, experiment: str
) -> None:
    clock.advance(timedelta(microseconds=1_500))
    with any_workspace.transaction() as tx:
        run = create_run(tx, experiment).run.id
        made = create_logged_model(
            tx,
            experiment,
            name="tree",
            type="sklearn",
            source_run=run,
            params={"depth": "4"},
            tags={"team": "red"},
        )
        assert get_logged_model(tx, made.model.id) == made
    model = made.model
    assert (model.name, model.type, model.source_run) == ("tree", "sklearn", run)
    assert (made.params, made.tags, made.points) == ({"depth": "4"}, {"team": "red"}, ())
    assert (model.status, model.stage) == (ModelStatus.PENDING, Stage.ACTIVE)
    assert model.created_at == model.updated_at == clock.now() - timedelta(microseconds=500)
    assert model_folder(model) == f"{experiment}/models/{model.id}/artifacts"
    clock.advance(timedelta(seconds=1))
    with any_workspace.transaction() as tx:
        ready = finalize_logged_model(tx, model.id, ModelStatus.READY)
        assert finalize_logged_model(tx, model.id, ModelStatus.READY) == ready
        assert ready.model.updated_at == model.updated_at + timedelta(seconds=1)
        finalize_logged_model(tx, model.id, ModelStatus.FAILED)
        delete_logged_model(tx, model.id)
        delete_logged_model(tx, model.id)
        assert [event.kind for event in tx.events(subject=model.id)] == [
            "logged-model-created",
            "logged-model-ready",
            "logged-model-failed",
            "logged-model-deleted",
        ]


def test_ids_are_as_clients_know_them_and_sort_by_time(
    any_workspace: Workspace, clock: ManualClock, experiment: str
) -> None:
    ids, names = [], set()
    for _ in range(5):
        clock.advance(timedelta(milliseconds=1))
        with any_workspace.transaction() as tx:
            model = create_logged_model(tx, experiment).model
        ids.append(model.id)
        names.add(model.name)
    assert ids == sorted(ids)
    assert all(id.startswith("m-") and len(bytes.fromhex(id[2:])) == 16 for id in ids)
    assert len(names) > 1


def test_a_name_that_would_not_do_in_a_uri_is_refused(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        experiment = create_experiment(tx, "bikes").id
        for name in ("", "a/b", "a:1", "a.b", "50%", 'a"', "a'", "x" * 501, "a\0"):
            with pytest.raises(Invalid, match="no name of a logged model"):
                create_logged_model(tx, experiment, name=name)


def test_a_model_lies_in_an_active_experiment(any_workspace: Workspace, experiment: str) -> None:
    with any_workspace.transaction() as tx:
        with pytest.raises(NotFound):
            create_logged_model(tx, "99")
        kept = create_logged_model(tx, experiment)
        delete_experiment(tx, experiment)
        with pytest.raises(Invalid, match="deleted"):
            create_logged_model(tx, experiment)
        # As MLflow has it: the models of a deleted experiment are still shown.
        assert get_logged_model(tx, kept.model.id) == kept
        assert search_logged_models(tx, ModelSearch(experiments=[experiment])) == ([kept], False)


def test_a_deleted_model_is_shown_only_to_those_who_ask_for_it(
    any_workspace: Workspace, experiment: str
) -> None:
    with any_workspace.transaction() as tx:
        model = create_logged_model(tx, experiment).model
        delete_logged_model(tx, model.id)
        with pytest.raises(NotFound, match=model.id):
            get_logged_model(tx, model.id)
        assert get_logged_model(tx, model.id, deleted=True).model.stage is Stage.DELETED
        assert search_logged_models(tx, ModelSearch(experiments=[experiment])) == ([], False)
        other = Transaction(connection=tx.connection, project="other", now=tx.now)
        with pytest.raises(NotFound):
            get_logged_model(other, model.id, deleted=True)


def test_params_of_a_model_never_change(any_workspace: Workspace, experiment: str) -> None:
    with any_workspace.transaction() as tx:
        model = create_logged_model(tx, experiment, params={"a": "1"}).model.id
        log_model_params(tx, model, {"a": "1", "of any: kind^": "x" * 100_000})
        log_model_params(tx, model, {})
        with pytest.raises(Conflict, match="a: found '2'; it is '1' already"):
            log_model_params(tx, model, {"a": "2", "b": "2"})
        assert list(get_logged_model(tx, model).params) == ["a", "of any: kind^"]
        with pytest.raises(Invalid, match="4 problems"):
            log_model_params(tx, model, {"": "1", "k" * 256: "1", "v": "x" * 100_001, "n": "\0"})
        with pytest.raises(NotFound):
            log_model_params(tx, "m-9", {"a": "1"})


def test_tags_of_a_model_can_be_set_again(any_workspace: Workspace, experiment: str) -> None:
    with any_workspace.transaction() as tx:
        model = create_logged_model(tx, experiment, tags={"a": "1", "b": ""}).model.id
        set_model_tags(tx, model, {"a": "2", "c": "3"})
        delete_model_tag(tx, model, "b")
        assert get_logged_model(tx, model).tags == {"a": "2", "c": "3"}
        with pytest.raises(NotFound, match="no tag 'b'"):
            delete_model_tag(tx, model, "b")
        with pytest.raises(NotFound, match="m-9"):
            set_model_tags(tx, "m-9", {})


def test_a_point_of_a_model_is_one_of_its_run_too(
    any_workspace: Workspace, experiment: str
) -> None:
    values = [0.1, math.inf, -math.inf, math.nan, 5e-324]
    with any_workspace.transaction() as tx:
        run = create_run(tx, experiment).run.id
        one, other = (create_logged_model(tx, experiment).model.id for _ in range(2))
        points = [MetricPoint("acc", value, step, 7) for step, value in enumerate(values)]
        log_model_points(tx, run, [ModelPoint(point, one, "eval", "1") for point in points])
        log_model_points(tx, run, [ModelPoint(point, one, "eval", "1") for point in points])
        log_model_points(tx, run, [ModelPoint(points[0], model) for model in (other, one)])
        log_model_points(tx, run, [])
    with any_workspace.reading() as tx:
        history = metric_history(tx, run, "acc")
        measured = get_logged_model(tx, one).points
        assert get_logged_model(tx, other).points == (ModelPoint(points[0], other, "", "", run),)
        assert metrics(tx, run) == {"acc": 5e-324}
    assert np.array_equal([point.value for point in history], values, equal_nan=True)
    assert measured[:2] == (
        ModelPoint(points[0], one, "", "", run),
        ModelPoint(points[0], one, "eval", "1", run),
    )
    assert np.array_equal([p.point.value for p in measured[1:]], values, equal_nan=True)
    assert [p.point.step for p in measured[1:]] == [0, 1, 2, 3, 4]


def test_what_cannot_be_kept_of_a_point_keeps_all_of_them_out(
    any_workspace: Workspace, experiment: str
) -> None:
    fine = MetricPoint("acc", 1.0, 0, 0)
    with any_workspace.transaction() as tx:
        run, deleted = create_run(tx, experiment).run.id, create_run(tx, experiment).run.id
        delete_run(tx, deleted)
        model = create_logged_model(tx, experiment).model.id
        good = ModelPoint(fine, model)
        with pytest.raises(NotFound, match="'m-8', 'm-9'"):
            log_model_points(tx, run, [good, ModelPoint(fine, "m-9"), ModelPoint(fine, "m-8")])
        with pytest.raises(Invalid, match="give both, or neither"):
            log_model_points(tx, run, [good, ModelPoint(fine, model, "eval")])
        with pytest.raises(Invalid, match="2 problems"):
            log_model_points(tx, run, [good, ModelPoint(fine, model, "n" * 501, "d" * 37)])
        with pytest.raises(Invalid, match=r"\.\./acc"):
            log_model_points(tx, run, [good, ModelPoint(fine._replace(key="../acc"), model)])
        with pytest.raises(Invalid, match="deleted"):
            log_model_points(tx, deleted, [good])
        assert metrics(tx, run) == {}
        assert get_logged_model(tx, model).points == ()
