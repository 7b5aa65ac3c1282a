"""Quiet while nothing happens; one alert for one cause, and it says what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from everfit.monitoring import (
    Alert,
    AlertKind,
    LabelLog,
    alerts,
    explain_alert,
    reference_profile,
)
from everfit.monitoring.reference import decode_reference

DAY = timedelta(days=1)


def raised(shop: Any) -> list[Alert]:
    with shop.workspace.reading() as tx:
        return alerts(tx, shop.name)


def test_without_drift_there_is_no_alert(shop: Any) -> None:
    shop.days(60, lambda: shop.answer(400))
    assert raised(shop) == []


def test_drift_in_one_column_is_one_alert_that_names_it_and_ends_with_it(any_shop: Any) -> None:
    shop = any_shop
    shop.days(3, lambda: shop.answer(400))

    def drifted() -> None:
        rows = shop.inputs(400).with_columns(pl.col("age") + 6.0)
        shop.log.append(shop.predictions(rows))

    shop.days(4, drifted)
    (alert,) = raised(shop)
    assert (alert.kind, alert.columns, alert.version) == (AlertKind.DRIFT, ("age",), 1)
    assert alert.closed_at is None
    assert "age" in alert.summary
    assert alert.action == "retrain on fresh rows"
    shop.days(12, lambda: shop.answer(400))
    (alert,) = raised(shop)
    assert alert.closed_at is not None
    with shop.workspace.reading() as tx:
        kinds = [event.kind for event in tx.events(subject=alert.id)]
        assert kinds == ["alert-opened", "alert-closed"]
        facts = explain_alert(tx, alert.id)
    assert facts["windows"][0].drift["signals"][0][0] == "age"


def test_missing_values_and_new_categories_are_faults_of_the_data(shop: Any) -> None:
    def broken() -> None:
        rows = shop.inputs(400).with_row_index("n")
        rows = rows.with_columns(
            age=pl.when(pl.col("n") % 5 == 0).then(None).otherwise(pl.col("age")),
            city=pl.when(pl.col("n") % 20 == 0).then(pl.lit("Ulm")).otherwise(pl.col("city")),
        )
        shop.log.append(shop.predictions(rows.drop("n")))

    shop.days(2, broken)
    (alert,) = raised(shop)
    assert alert.kind is AlertKind.DATA
    assert set(alert.columns) == {"age", "city"}
    assert alert.action.startswith("look at column")


def test_a_column_the_log_lacks_is_missing(shop: Any) -> None:
    shop.days(1, lambda: shop.log.append(shop.predictions(shop.inputs(200).drop("basket"))))
    (alert,) = raised(shop)
    assert (alert.kind, alert.columns) == (AlertKind.DATA, ("basket",))


def test_drift_in_a_column_the_model_does_not_use_is_let_pass(shop: Any) -> None:
    rows = shop.inputs(5_000)
    profile = reference_profile(
        rows, rows.columns, importance={"age": 0.0, "basket": 0.6, "city": 0.4}
    )
    shop.register(profile)

    def drifted() -> None:
        moved = shop.inputs(400).with_columns(pl.col("age") + 6.0)
        shop.log.append(shop.predictions(moved, version=2))

    shop.days(4, drifted)
    assert raised(shop) == []


def test_worse_quality_is_an_alert_that_ends_when_quality_is_back(shop: Any) -> None:
    with LabelLog(shop.workspace, shop.name, durable=False) as labels:
        good = lambda: labels.receive(shop.truth(shop.answer(200)))  # noqa: E731
        shop.days(20, good)
        assert raised(shop) == []
        shop.days(4, lambda: labels.receive(shop.truth(shop.answer(200), loss=2.0)))
        (alert,) = raised(shop)
        assert (alert.kind, alert.closed_at) == (AlertKind.QUALITY, None)
        assert alert.numbers["signed_off"] < 1.1 < alert.numbers["loss"]
        shop.days(4, good)
    (alert,) = raised(shop)
    assert alert.closed_at is not None


def test_an_alert_of_a_version_that_no_longer_answers_closes(shop: Any) -> None:
    drift = lambda: shop.log.append(  # noqa: E731
        shop.predictions(shop.inputs(400).with_columns(pl.col("age") + 6.0))
    )
    shop.days(1, drift)
    shop.register()
    shop.days(1, lambda: shop.answer(400, version=2))
    (alert,) = raised(shop)
    assert alert.reason == "version 1 no longer answers"


def test_dependent_rows_are_judged_by_how_the_reference_varied(shop: Any) -> None:
    """Rows of a day hang together: every day differs, and that is no drift."""
    r = np.random.default_rng(3)

    def day(shift: float = 0.0) -> pl.DataFrame:
        rows: pl.DataFrame = shop.inputs(100)
        return rows.with_columns(pl.col("age") + 8.0 * r.normal() + shift)

    trained = pl.concat([day() for _ in range(60)])
    profile = reference_profile(trained, trained.columns)
    assert decode_reference(profile).dependent
    shop.register(profile)
    shop.days(60, lambda: shop.log.append(shop.predictions(day(), version=2)))
    assert raised(shop) == []
    shop.days(3, lambda: shop.log.append(shop.predictions(day(150.0), version=2)))
    (alert,) = raised(shop)
    assert alert.columns == ("age",)
