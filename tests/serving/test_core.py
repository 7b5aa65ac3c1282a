"""The model server itself: who answers, what is logged, and changing models under load."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from math import sqrt
from typing import Any

import polars as pl
import pytest
from tests.serving.conftest import (
    CLASSIFICATION,
    ENDPOINT,
    REGRESSION,
    Broken,
    Constant,
    Shop,
    WarmIsBusy,
)

from everfit.deployment import Action, Evidence, Release, RollbackRules, advance, rollback
from everfit.errors import EverfitError, NoRelease, PredictionFailed, RowsInvalid
from everfit.kernel import ManualClock, Workspace
from everfit.monitoring import PREDICTION_SCHEMA, MonitorConfig, evidence, sweep
from everfit.packages import Field, Kind, Signature
from everfit.serving import LocalPredictor, ModelServer

Rows = Callable[[int], list[dict[str, Any]]]


def open_server(workspace: Workspace) -> ModelServer:
    return ModelServer(workspace, ENDPOINT, writer="test", durable=False)


def frame(rows: Rows, count: int) -> pl.DataFrame:
    return pl.DataFrame(rows(count), schema_overrides={"sky": pl.String})


def test_without_a_release_there_is_no_answer(shop: Shop, rows: Rows) -> None:
    with open_server(shop.workspace) as server:
        with pytest.raises(NoRelease):
            server.predict(frame(rows, 1))
        shop.release(shop.add(Constant(1.0)))
        server.refresh()
        assert server.predict(frame(rows, 1)).predictions == [1.0]


def test_answers_are_logged_with_inputs_keys_and_times(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Constant(4.0)))
    now = shop.workspace.clock.now()
    times = pl.Series([now - timedelta(hours=2), now - timedelta(hours=1)])
    with open_server(shop.workspace) as server:
        answers = server.predict(frame(rows, 2), ["ann", None], times)
    logged = shop.logged()
    assert logged["id"].to_list() == answers.ids
    assert logged["time"].to_list() == times.to_list()
    assert logged["at"].to_list() == [now, now]
    assert logged["key"].to_list() == ["ann", None]
    assert logged["prediction"].to_list() == [4.0, 4.0]
    assert logged["arm"].to_list() == ["champion", "champion"]
    assert logged.select(pl.col("^in\\..*$")).rows() == [tuple(row.values()) for row in rows(2)]
    assert logged["other_version"].null_count() == 2
    assert {name: logged.schema[name] for name in PREDICTION_SCHEMA} == pl.Schema(PREDICTION_SCHEMA)
    assert (logged["latency_ms"] > 0).all()


def test_a_class_is_logged_as_text_with_its_probability(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(WarmIsBusy(), CLASSIFICATION))
    with open_server(shop.workspace) as server:
        answers = server.predict(frame(rows, 4))
    assert answers.predictions == [False, False, False, True]
    assert answers.scores == [1.0, 0.75, 0.5, 0.75]
    assert shop.logged()["prediction"].to_list() == ["false", "false", "false", "true"]
    assert shop.logged()["score"].to_list() == answers.scores


def test_ids_sort_by_time_and_never_repeat(shop: Shop, clock: ManualClock, rows: Rows) -> None:
    shop.release(shop.add(Constant(1.0)))
    ids = []
    with open_server(shop.workspace) as server:
        for _ in range(3):
            ids += server.predict(frame(rows, 50)).ids
            ids += server.predict(frame(rows, 50)).ids
            clock.advance(timedelta(seconds=1))
    assert ids == sorted(set(ids))
    assert len(ids) == 300


def test_a_shadow_scores_every_row_and_answers_none(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Constant(1.0)))
    shop.release(shop.add(Constant(2.0)), "shadow 1d -> 100%")
    with open_server(shop.workspace) as server:
        answers = server.predict(frame(rows, 100))
    assert set(answers.predictions) == {1.0}
    logged = shop.logged()
    assert set(logged["version"]) == {1}
    assert set(logged["other_version"]) == {2}
    assert set(logged["other_prediction"]) == {2.0}


def test_a_canary_answers_its_share_of_keys_always_the_same(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Constant(1.0)))
    second = shop.release(shop.add(Constant(2.0)), "10% 0s -> 30% -> 100%")
    keys = [f"user {i}" for i in range(4_000)]
    with open_server(shop.workspace) as server:
        first = server.predict(frame(rows, 4_000), keys)
        again = server.predict(frame(rows, 4_000), keys)
        with shop.workspace.transaction() as tx:
            rules = RollbackRules(now=(), later=None)
            assert advance(tx, second.id, Evidence(now=tx.now), rules).action is Action.ADVANCE
        server.refresh()
        more = server.predict(frame(rows, 4_000), keys)
    assert first.versions == again.versions
    for answers, share in ((first, 0.1), (more, 0.3)):
        count = answers.versions.count(2)
        assert abs(count - 4_000 * share) < 4 * sqrt(4_000 * share * (1 - share))
        assert [float(version) for version in answers.versions] == answers.predictions
    assert all(new == 2 for old, new in zip(first.versions, more.versions, strict=True) if old == 2)
    logged = shop.logged()
    # Each row holds what both versions said, whichever answered.
    assert set(logged.select("version", "prediction", "other_version").rows()) == {
        (1, 1.0, 2),
        (2, 2.0, 1),
    }
    assert set(logged.select("arm", "version").rows()) == {("champion", 1), ("canary", 2)}


def test_rows_without_a_key_are_split_too(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Constant(1.0)))
    shop.release(shop.add(Constant(2.0)), "30% -> 100%")
    with open_server(shop.workspace) as server:
        none = server.predict(frame(rows, 4_000))
        some = server.predict(frame(rows, 4_000), [None] * 4_000)
    for answers in (none, some):
        assert abs(answers.versions.count(2) - 1_200) < 4 * sqrt(4_000 * 0.3 * 0.7)


def judged(shop: Shop, release: Release, clock: ManualClock) -> Action:
    """Judge a release by what monitoring makes of the log."""
    workspace = shop.workspace
    config = MonitorConfig(window=timedelta(hours=1))
    clock.advance(timedelta(seconds=1))
    sweep(workspace, ENDPOINT, config, now=clock.now())
    with workspace.transaction() as tx:
        found = evidence(workspace, tx, ENDPOINT, release)
        return advance(tx, release.id, found, RollbackRules()).action


@pytest.mark.parametrize("steps", ["shadow 1d -> 100%", "50% -> 100%"])
def test_where_the_candidate_fails_the_champion_answers_until_it_is_rolled_back(
    shop: Shop, clock: ManualClock, rows: Rows, steps: str
) -> None:
    shop.release(shop.add(Constant(1.0)))
    broken = shop.release(shop.add(Broken(0.0)), steps)
    with open_server(shop.workspace) as server:
        for _ in range(5):
            answers = server.predict(frame(rows, 4))
            assert answers.predictions == [1.0] * 4
            assert answers.versions == [1] * 4
        said = "version 2 raised Boom on 4 rows: cannot do 4 rows"
        assert set(shop.logged()["error"]) == {said}
        assert judged(shop, broken, clock) is Action.ROLL_BACK
        server.refresh()
        assert server.predict(frame(rows, 4)).candidate is None


def test_a_candidate_that_cannot_be_loaded_is_reported_and_rolled_back(
    shop: Shop, clock: ManualClock, rows: Rows
) -> None:
    shop.release(shop.add(Constant(1.0)))
    with open_server(shop.workspace) as server:
        missing = shop.release(shop.add(Constant(2.0), package="ab" * 32), "50% -> 100%")
        server.refresh()
        assert server.problem is not None
        assert "version 2: no blob abab" in server.problem
        for _ in range(4):
            assert server.predict(frame(rows, 1)).predictions == [1.0]
        assert judged(shop, missing, clock) is Action.ROLL_BACK
        server.refresh()
        assert server.problem is None


def test_a_candidate_that_needs_other_inputs_is_reported(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Constant(1.0), _with_input("temp")))
    shop.release(shop.add(Constant(2.0), _with_input("wind")), "50% -> 100%")
    with open_server(shop.workspace) as server:
        assert server.problem == "version 2 needs inputs that requests do not have: wind"
        answers = server.predict(pl.DataFrame({"temp": [0.5]}))
    assert answers.predictions == [1.0]


def _with_input(name: str) -> Signature:

    return replace(REGRESSION, inputs=(Field(name=name, kind=Kind.NUMBER),))


def test_a_request_is_answered_by_the_plan_it_was_decoded_by(shop: Shop) -> None:
    shop.release(shop.add(Constant(1.0), _with_input("temp")))
    with open_server(shop.workspace) as server:
        before = server.loaded
        shop.release(shop.add(Constant(2.0), _with_input("wind")))
        server.refresh()
        answers = server.predict(pl.DataFrame({"temp": [0.5]}), loaded=before)
        assert answers.predictions == [1.0]
        assert server.predict(pl.DataFrame({"wind": [0.5]})).predictions == [2.0]


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one_in_place(
    shop: Shop, rows: Rows
) -> None:
    shop.release(shop.add(Constant(1.0)))
    with open_server(shop.workspace) as server:
        shop.release(shop.add(Constant(2.0), package="cd" * 32))
        server.refresh()
        assert server.predict(frame(rows, 1)).predictions == [1.0]
        assert server.problem is not None
        with shop.workspace.transaction() as tx:
            rollback(tx, endpoint=ENDPOINT, reason="missing", actor="ann")
        server.refresh()
        assert server.problem is None


def test_a_problem_that_passed_is_none_any_more(shop: Shop) -> None:
    shop.release(shop.add(Constant(1.0)))
    with open_server(shop.workspace) as server:
        server.problem = "the database was busy"
        server.refresh()
        assert server.problem is None


def test_requests_that_could_not_be_logged_are_logged_later(
    shop: Shop, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.release(shop.add(Constant(1.0)))
    with open_server(shop.workspace) as server:
        LocalPredictor(server).predict(frame(rows, 3))
        with monkeypatch.context() as full:
            full.setattr(os, "pwritev", _no_space)
            with pytest.raises((OSError, EverfitError)):
                server.refresh()
        server.refresh()
    assert shop.logged("requests")["rows"].to_list() == [3]


def _no_space(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_where_the_champion_fails_the_request_fails(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Broken(0.0)))
    with open_server(shop.workspace) as server, pytest.raises(PredictionFailed, match="Boom"):
        server.predict(frame(rows, 1))
    assert shop.logged().height == 0


def test_no_request_fails_or_mixes_versions_while_models_change(shop: Shop, rows: Rows) -> None:
    versions = [shop.add(Constant(float(value))) for value in (1, 2, 3)]
    shop.release(versions[0])
    stop = threading.Event()

    def ask() -> int:
        asked = 0
        while not stop.is_set():
            answers = server.predict(frame(rows, 3))
            assert [float(version) for version in answers.versions] == answers.predictions
            asked += 1
        return asked

    with open_server(shop.workspace) as server, ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for turn in range(15):
            shop.release(versions[(turn + 1) % 3], "100%" if turn % 2 else "40% -> 100%")
            server.refresh()
        stop.set()
        asked = sum(done.result() for done in asking)
    assert shop.logged().height == 3 * asked
    assert shop.logged()["id"].n_unique() == 3 * asked


def test_two_servers_of_one_workspace_write_the_same_log(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Constant(1.0)))
    with (
        ModelServer(shop.workspace, ENDPOINT, writer="a", durable=False) as first,
        ModelServer(shop.workspace, ENDPOINT, writer="b", durable=False) as second,
    ):
        ids = first.predict(frame(rows, 2)).ids + second.predict(frame(rows, 2)).ids
    assert sorted(shop.logged()["id"]) == sorted(ids)


def test_a_local_predictor_takes_frames_as_they_come(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Constant(1.0)))
    given = frame(rows, 3).with_columns(pl.col("hour").cast(pl.Int8), cnt=pl.lit(5))
    times = pl.Series([shop.workspace.clock.now()] * 3)
    with open_server(shop.workspace) as server:
        predictor = LocalPredictor(server)
        answered = predictor.predict(given, keys=None, times=times)
        predictor.label(answered.select("id", label=pl.lit(5.0)))
        predictor.refresh()
    assert answered["prediction"].to_list() == [1.0] * 3
    assert shop.logged("labels")["id"].to_list() == answered["id"].to_list()


def test_a_replay_hands_in_classes_the_model_has_not_met_but_no_wrong_numbers(
    shop: Shop, rows: Rows
) -> None:
    shop.release(shop.add(WarmIsBusy(), CLASSIFICATION))
    with open_server(shop.workspace) as server:
        answered = server.predict(frame(rows, 2))
        unknown = pl.DataFrame({"id": answered.ids, "label": ["true", "perhaps"]})
        LocalPredictor(server).label(unknown)
        shop.release(shop.add(Constant(1.0)))
        server.refresh()
        with pytest.raises(RowsInvalid, match="perhaps"):
            LocalPredictor(server).label(unknown)
    assert shop.logged("labels").height == 2


def test_before_the_first_release_any_label_is_taken_in(shop: Shop) -> None:
    with open_server(shop.workspace) as server:
        server.labels.receive(pl.DataFrame({"id": ["a"], "label": ["perhaps"]}))
    assert shop.logged("labels").height == 1
