"""What a release shows: paired losses, errors, latencies and the split."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from everfit.deployment import current_release, parse_rollout, start_release
from everfit.monitoring import evidence, receive_labels, request_log

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
    assert list(found.paired) == [pytest.approx(-1.0)] * 12
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
