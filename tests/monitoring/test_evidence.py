"""What a release shows: paired losses, errors, latencies and the split."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.signal import lfilter

from everfit.deployment import current_release, parse_rollout, start_release
from everfit.measures.sequences import mean_sequence
from everfit.monitoring import evidence, receive_labels, request_log
from everfit.monitoring.evidence import day_means

DAY = timedelta(days=1)


def roll_out(shop: Any) -> Any:
    with shop.workspace.transaction() as tx:
        start_release(tx, endpoint=shop.name, version=1, steps=parse_rollout("100%"))
    shop.answer(50)
    shop.clock.advance(DAY)
    shop.monitor.sweep(shop.clock.now())
    shop.register()
    with shop.workspace.transaction() as tx:
        steps = parse_rollout("shadow 1d -> 10% -> 100%")
        return start_release(tx, endpoint=shop.name, version=2, steps=steps)


def test_evidence_compares_both_models_on_the_same_rows(any_shop: Any) -> None:
    shop = any_shop
    roll_out(shop)
    shadow = shop.answer(
        100, prediction=10.0, other_version=pl.lit(2), other_prediction=pl.lit(11.0)
    )
    canary = shop.answer(
        20,
        version=2,
        arm="canary",
        prediction=11.0,
        latency_ms=7.0,
        other_version=pl.lit(1),
        other_prediction=pl.lit(10.0),
    )
    shop.answer(5, arm="canary", error="ValueError: no")
    labels = pl.concat([shadow, canary]).select("id", label=pl.lit(11.5))
    receive_labels(shop.workspace, shop.name, labels)
    with request_log(shop.workspace, shop.name, writer="one") as log:
        log.append(
            pl.DataFrame(
                {
                    "at": [shop.clock.now()] * 3,
                    "status": [200, 500, 503],
                    "rows": [10, 2, 1],
                    "latency_ms": [1.0, 1.0, 1.0],
                    "version": [1, None, None],
                    "arm": ["champion"] * 3,
                }
            ).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
        )
    shop.monitor.sweep(shop.clock.now())
    with shop.workspace.reading() as tx:
        release = current_release(tx, shop.name)
        assert release is not None
        found = evidence(shop.workspace, tx, shop.name, release)
    assert found.rows == 120
    assert list(found.paired) == [pytest.approx(-1.0)] * 6
    assert found.champion_loss == pytest.approx(1.5)
    assert (found.candidate_requests, found.candidate_errors) == (125, 5)
    assert (found.champion_requests, found.champion_errors) == (108, 3)
    assert list(found.latency_ms) == [7.0] * 20
    assert (found.split_units, found.canary_units) == (125, 25)


def test_a_release_without_traffic_has_no_evidence(shop: Any) -> None:
    release = roll_out(shop)
    with shop.workspace.reading() as tx:
        found = evidence(shop.workspace, tx, shop.name, release)
    assert (found.rows, found.candidate_requests, len(found.paired)) == (0, 0, 0)
    assert found.champion_loss is None


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_equal_models_are_seldom_rolled_back_though_rows_depend_on_one_another(
    memory: float,
) -> None:
    """AR(1) differences by the hour, no difference in truth, a look every day for 40 days."""
    rng = np.random.default_rng(7)
    start = np.datetime64("2026-01-01", "us")
    hours = pl.Series(start + np.arange(960) * np.timedelta64(1, "h"))
    wrong = 0
    for _ in range(60):
        noise = rng.normal(size=960)
        values = lfilter([np.sqrt(1 - memory**2)], [1.0, -memory], noise)
        wrong += any(
            mean_sequence(day_means(hours[: 24 * day], values[: 24 * day]), 0.95, target=100).low
            > 0
            for day in range(10, 41)
        )
    # Nominal 2.5% on this side; memory of 0.9 an hour is not quite gone after a day.
    assert wrong <= 5
