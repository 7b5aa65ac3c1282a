"""Late truth joins its prediction, once, however it is named and however late it comes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from everfit.errors import Invalid, RowsInvalid
from everfit.monitoring import LabelLog, matured, matured_count, receive_labels, windows
from everfit.registry import create_version

DAY = timedelta(days=1)


def learned(shop: Any) -> pl.DataFrame:
    with shop.workspace.reading() as tx:
        return matured(shop.workspace, tx, shop.name)


def test_labels_join_their_predictions_and_become_rows_to_learn_from(any_shop: Any) -> None:
    shop = any_shop
    logged = shop.answer(300)
    shop.clock.advance(DAY)
    shop.monitor.sweep(shop.clock.now())
    receipt = receive_labels(shop.workspace, shop.name, shop.truth(logged))
    assert receipt.accepted == 300
    result = shop.monitor.sweep(shop.clock.now())
    assert (result.matured, result.pending) == (300, 0)
    rows = learned(shop)
    assert rows.columns == ["age", "basket", "city", "spent"]
    assert sorted(rows["age"].to_list()) == sorted(logged["in.age"].to_list())
    with shop.workspace.reading() as tx:
        (window,) = windows(tx, shop.name)
        assert [event.data["matured"] for event in tx.events("labels-received")] == [300]
    assert window.quality is not None
    assert window.quality.rows == 300
    assert window.quality.coverage == 1.0
    assert window.quality.value == pytest.approx(1.0, abs=0.2)


def test_labels_months_late_join_the_right_window(shop: Any) -> None:
    logged = shop.answer(50)
    shop.days(90, lambda: shop.answer(5))
    receive_labels(shop.workspace, shop.name, shop.truth(logged))
    assert shop.monitor.sweep(shop.clock.now()).matured == 50
    with shop.workspace.reading() as tx:
        first, *others = windows(tx, shop.name)
    assert first.quality is not None
    assert first.quality.rows == 50
    assert all(window.quality is None for window in others)


def test_the_same_labels_again_change_nothing(shop: Any) -> None:
    truth = shop.truth(shop.answer(100))
    receive_labels(shop.workspace, shop.name, truth)
    shop.monitor.sweep(shop.clock.now())
    before = learned(shop)
    receive_labels(shop.workspace, shop.name, truth)
    result = shop.monitor.sweep(shop.clock.now())
    assert (result.matured, result.repeated, result.pending) == (0, 100, 0)
    assert learned(shop).equals(before)


def test_a_second_label_corrects_the_first(shop: Any) -> None:
    logged = shop.answer(10)
    receive_labels(shop.workspace, shop.name, logged.select("id", label=pl.lit(11.0)))
    shop.monitor.sweep(shop.clock.now())
    receive_labels(shop.workspace, shop.name, logged.head(1).select("id", label=pl.lit(20.0)))
    result = shop.monitor.sweep(shop.clock.now())
    assert (result.matured, result.corrected) == (1, 1)
    assert sorted(learned(shop)["spent"].to_list()) == [11.0] * 9 + [20.0]
    shop.clock.advance(DAY)
    shop.monitor.sweep(shop.clock.now())
    with shop.workspace.reading() as tx:
        (window,) = windows(tx, shop.name)
    assert window.quality is not None
    assert window.quality.rows == 10
    assert window.quality.loss == pytest.approx(1.9)


def test_a_label_before_its_prediction_waits_for_it(any_shop: Any) -> None:
    shop = any_shop
    coming = shop.predictions(shop.inputs(3))
    receive_labels(shop.workspace, shop.name, shop.truth(coming))
    assert shop.monitor.sweep(shop.clock.now()).pending == 3
    shop.log.append(coming.head(2))
    result = shop.monitor.sweep(shop.clock.now())
    assert (result.matured, result.pending) == (2, 1)
    assert learned(shop).height == 2


def test_unknown_ids_wait_and_disturb_nobody(shop: Any) -> None:
    logged = shop.answer(5)
    strange = pl.DataFrame({"id": ["p_nobody", "p_noone"], "label": [1.0, 2.0]})
    receive_labels(shop.workspace, shop.name, pl.concat([strange, shop.truth(logged)]))
    result = shop.monitor.sweep(shop.clock.now())
    assert (result.matured, result.pending) == (5, 2)


def test_by_key_the_latest_prediction_before_the_label_is_meant(shop: Any) -> None:
    shop.answer(2, key=pl.Series(["ann", "bob"]), prediction=1.0)
    shop.clock.advance(DAY)
    shop.monitor.sweep(shop.clock.now())
    known_at = shop.clock.now() + timedelta(hours=1)
    shop.answer(2, key=pl.Series(["ann", "eve"]), prediction=2.0)
    shop.clock.advance(DAY)
    shop.monitor.sweep(shop.clock.now())
    shop.answer(1, key=pl.Series(["ann"]), prediction=3.0)
    labels = pl.DataFrame({"key": ["ann", "bob", "zoe"], "label": [5.0, 6.0, 7.0]})
    receive_labels(shop.workspace, shop.name, labels.with_columns(at=pl.lit(known_at)))
    result = shop.monitor.sweep(shop.clock.now())
    assert (result.matured, result.pending) == (2, 1)
    with shop.workspace.reading() as tx:
        first, second = (window for window in windows(tx, shop.name) if window.quality)
    assert first.quality is not None
    assert second.quality is not None
    assert (first.quality.loss, second.quality.loss) == (5.0, 3.0)


def test_class_labels_match_whatever_type_they_come_in(shop: Any) -> None:
    config = shop.monitor.config
    shop.monitor.config = type(config)(window=DAY, task="classification", metric="accuracy")
    logged = shop.answer(4, prediction=pl.Series(["1", "0", "1", "0"]))
    receive_labels(shop.workspace, shop.name, logged.select("id", label=pl.lit(1.0)))
    shop.monitor.sweep(shop.clock.now())
    with shop.workspace.reading() as tx:
        (window,) = windows(tx, shop.name)
    assert window.quality is not None
    assert window.quality.value == 0.5


def test_labels_without_truth_or_name_are_refused_and_none_is_kept(shop: Any) -> None:
    bad = pl.DataFrame({"id": ["a", None, "c"], "label": [1.0, 2.0, None]})
    with pytest.raises(RowsInvalid) as caught:
        receive_labels(shop.workspace, shop.name, bad)
    assert [problem.path for problem in caught.value.problems] == ["rows[1]", "rows[2]"]
    with pytest.raises(RowsInvalid):
        receive_labels(shop.workspace, shop.name, pl.DataFrame({"label": [1.0]}))
    assert shop.monitor.sweep(shop.clock.now()).pending == 0


def test_two_can_hand_in_labels_at_one_time(shop: Any) -> None:
    logged = shop.answer(2)
    truth = shop.truth(logged)
    with LabelLog(shop.workspace, shop.name, writer="labels-0") as server:
        server.receive(truth.head(1))
        receive_labels(shop.workspace, shop.name, truth.tail(1))
    assert shop.monitor.sweep(shop.clock.now()).matured == 2


def test_an_endpoint_cannot_reach_out_of_its_folder(shop: Any) -> None:
    with pytest.raises(Invalid):
        receive_labels(shop.workspace, "../x", pl.DataFrame({"id": ["a"], "label": [1.0]}))


def test_a_label_that_is_no_number_cannot_erase_a_good_one(shop: Any) -> None:
    logged = shop.answer(4)
    receive_labels(shop.workspace, shop.name, logged.select("id", label=pl.lit("11.0")))
    shop.monitor.sweep(shop.clock.now())
    bad = pl.DataFrame({"id": [*shop.ids(logged)], "label": ["12.5", "abc", "inf", None]})
    with pytest.raises(RowsInvalid) as caught:
        receive_labels(shop.workspace, shop.name, bad)
    problems = caught.value.problems
    assert [problem.path for problem in problems] == ["rows[1]", "rows[2]", "rows[3]"]
    assert [problem.found for problem in problems] == [
        "the label 'abc'",
        "the label 'inf'",
        "no label",
    ]
    assert shop.monitor.sweep(shop.clock.now()).corrected == 0
    assert learned(shop)["spent"].to_list() == [11.0] * 4


@pytest.mark.parametrize("label", [True, "abc", float("inf"), float("nan")])
def test_a_log_opened_for_numbers_takes_nothing_else(shop: Any, label: object) -> None:
    frame = pl.DataFrame({"id": ["a"], "label": [label]})
    with (
        LabelLog(shop.workspace, shop.name, numeric=True) as labels,
        pytest.raises(RowsInvalid),
    ):
        labels.receive(frame)


def test_a_version_without_a_signature_does_not_say_what_labels_are(shop: Any) -> None:
    with shop.workspace.transaction() as tx:
        create_version(tx, shop.name, source="s3://models/7", unpackaged="nobody packed it")
    label = pl.DataFrame({"id": ["p_1"], "label": ["no number"]})
    with pytest.raises(RowsInvalid, match="number"):
        receive_labels(shop.workspace, shop.name, label)


def test_labels_before_the_first_version_may_be_anything(workspace: Any) -> None:
    frame = pl.DataFrame({"id": ["a"], "label": ["abc"]})
    assert receive_labels(workspace, "new", frame).accepted == 1


def test_every_row_with_a_time_that_is_none_is_named(shop: Any) -> None:
    times = ["2026-01-31", "2026-13-45", None, "2026-01-31T12:00:00+02:00", "soon"]
    frame = pl.DataFrame({"id": list("abcde"), "label": [1.0, 2.0, 3.0, 4.0, None], "at": times})
    with pytest.raises(RowsInvalid) as caught:
        receive_labels(shop.workspace, shop.name, frame)
    problems = [(problem.path, problem.found) for problem in caught.value.problems]
    assert problems == [
        ("rows[1]", "the time '2026-13-45'"),
        ("rows[4]", "no label"),
        ("rows[4]", "the time 'soon'"),
    ]
    good = frame.filter(pl.col("id").is_in(["a", "c", "d"]))
    assert receive_labels(shop.workspace, shop.name, good).accepted == 3


def test_a_number_is_no_time(shop: Any) -> None:
    frame = pl.DataFrame({"id": ["a"], "label": [1.0], "at": [20260131]})
    with pytest.raises(RowsInvalid, match="at: found a column of Int64"):
        receive_labels(shop.workspace, shop.name, frame)


def test_of_many_wrong_labels_ten_are_named_and_the_rest_counted(shop: Any) -> None:
    frame = pl.DataFrame({"id": [f"p_{n}" for n in range(25)], "label": ["abc"] * 25})
    with pytest.raises(RowsInvalid) as caught:
        receive_labels(shop.workspace, shop.name, frame)
    assert len(caught.value.problems) == 10
    assert "15 more" in caught.value.hint


def test_a_nul_in_a_label_is_refused(any_shop: Any) -> None:
    for name in ("key", "label"):
        row = {"key": "k", "label": "yes", name: "a\0b"}
        with (
            LabelLog(any_shop.workspace, any_shop.name) as log,
            pytest.raises(RowsInvalid, match=rf"rows\[0\]\.{name}"),
        ):
            log.receive(pl.DataFrame([row]))


def test_rows_to_learn_from_are_counted_once_their_truth_is_that_of_all(any_shop: Any) -> None:
    shop, started = any_shop, any_shop.clock.now()

    def count(since: datetime) -> int:
        shop.monitor.sweep(shop.clock.now())
        with shop.workspace.reading() as tx:
            return matured_count(shop.workspace, tx, shop.name, since=since, delay=2 * DAY)

    early, late = shop.answer(30), shop.answer(20)
    receive_labels(shop.workspace, shop.name, shop.truth(early))
    counts = [count(started)]
    shop.clock.advance(2 * DAY)
    counts.append(count(started))
    trained = shop.clock.now()
    shop.clock.advance(DAY)
    counts.append(count(trained))
    receive_labels(shop.workspace, shop.name, shop.truth(late))
    counts.append(count(trained))
    assert counts == [0, 30, 0, 20]
