"""What is gathered about a live version: its own answers and the requests it could not score."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from everfit.deployment import Evidence, live_release, parse_rollout, rollback, start_release
from everfit.monitoring import LiveWatch, request_log

HOUR = timedelta(hours=1)


def go_live(shop: Any, version: int) -> None:
    with shop.workspace.transaction() as tx:
        start_release(tx, endpoint=shop.name, version=version, steps=parse_rollout("100%"))


def requests(shop: Any, *statuses: int) -> None:
    row = {"at": shop.clock.now(), "rows": 3, "latency_ms": 1.0, "version": None, "arm": None}
    schema: dict[str, Any] = {"version": pl.Int64, "arm": pl.String}
    with request_log(shop.workspace, shop.name, writer="one") as log:
        rows = [row | {"status": status} for status in statuses]
        frame = pl.DataFrame(rows, schema_overrides=schema)
        log.append(frame.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC"))))


def look(shop: Any, watch: LiveWatch) -> Evidence:
    with shop.workspace.reading() as tx:
        release = live_release(tx, shop.name)
        assert release is not None
        return watch.evidence(tx, release)


def test_each_part_of_the_logs_counts_once(any_shop: Any) -> None:
    shop, watch = any_shop, LiveWatch(any_shop.workspace, any_shop.name)
    go_live(shop, 1)
    for day in range(1, 4):
        shop.answer(50, latency_ms=2.0)
        # 503 is a server without room, 422 a wrong row: neither is the model's fault.
        requests(shop, 200, 500, 503, 422)
        shop.clock.advance(HOUR)
        shop.monitor.sweep(shop.clock.now())
        found, again = look(shop, watch), look(shop, watch)
        assert (found.candidate_requests, found.candidate_errors) == (53 * day, 3 * day)
        assert list(found.latency_ms) == [2.0] * 50 * day
        assert (again.candidate_requests, again.candidate_errors) == (53 * day, 3 * day)


def test_another_version_that_goes_live_begins_with_nothing(shop: Any) -> None:
    watch = LiveWatch(shop.workspace, shop.name)
    go_live(shop, 1)
    shop.answer(50)
    requests(shop, 500)
    shop.clock.advance(HOUR)
    go_live(shop, shop.register())
    shop.answer(20, version=2)
    shop.clock.advance(HOUR)
    shop.monitor.sweep(shop.clock.now())
    found = look(shop, watch)
    assert (found.candidate_requests, found.candidate_errors) == (20, 0)


def test_a_part_sealed_by_a_clock_that_is_behind_counts_too(shop: Any) -> None:
    watch = LiveWatch(shop.workspace, shop.name)
    go_live(shop, 1)
    counted = []
    for behind in (timedelta(), timedelta(hours=2)):
        shop.answer(10)
        shop.clock.advance(HOUR)
        shop.monitor.sweep(shop.clock.now() - behind + timedelta(hours=1))
        counted.append(look(shop, watch).candidate_requests)
    assert counted == [10, 20]


def test_what_another_version_failed_at_is_not_laid_to_the_one_that_came_back(shop: Any) -> None:
    watch = LiveWatch(shop.workspace, shop.name)
    go_live(shop, 1)
    shop.clock.advance(HOUR)
    go_live(shop, shop.register())
    requests(shop, 500, 500)
    shop.clock.advance(HOUR)
    shop.monitor.sweep(shop.clock.now())
    assert look(shop, watch).candidate_errors == 6
    with shop.workspace.transaction() as tx:
        rollback(tx, endpoint=shop.name, reason="test", actor="ann")
    shop.answer(10)
    shop.clock.advance(HOUR)
    shop.monitor.sweep(shop.clock.now())
    found = look(shop, watch)
    assert (found.candidate_requests, found.candidate_errors) == (10, 0)
