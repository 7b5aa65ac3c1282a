"""The ten metrics on records whose answers are known."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from everfit.deployment import Release, ReleaseState, parse_rollout
from everfit.monitoring import Alert, AlertKind, Quality, Window
from everfit.monitoring.log import PROBE
from everfit.monitoring.metrics import Metric, Record, measure, uplifts
from everfit.steps import Spent

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOTHING = Record(
    since=START,
    until=START + 30 * DAY,
    windows=[],
    alerts=[],
    releases=[],
    requests=None,
    predictions=0,
    delays_seconds=None,
    spent=Spent(steps=0, cost=0.0, cpu_seconds=0.0, wall_seconds=0.0, peak_bytes=0),
    currency="EUR",
    price_per_cpu_hour=0.04,
)


def named(record: Record) -> dict[str, Metric]:
    return {metric.name: metric for metric in measure(record)}


def window(day: int, *, value: float, rows: int = 100, version: int = 1) -> Window:
    quality = Quality(metric="mae", value=value, loss=value, rows=rows, coverage=1.0)
    return Window(
        start=START + day * DAY,
        end=START + (day + 1) * DAY,
        version=version,
        rows=rows,
        closed=True,
        quality=quality,
        drift={"columns": 4, "drifted": day % 2},
        data_quality={"completeness": 1.0, "validity": 0.9},
    )


def release(version: int, day: int, state: ReleaseState = ReleaseState.LIVE) -> Release:
    started = START + day * DAY
    live = None if state is ReleaseState.ROLLED_BACK else started + DAY
    return Release(
        id=f"rel_{version}",
        endpoint="bike",
        version=version,
        steps=parse_rollout("shadow 1d -> 100%"),
        step=0,
        state=state,
        step_since=started,
        started_at=started,
        live_at=live,
    )


def requests(
    *rows: tuple[int, float], arm: str | None = "champion", minute: int = 0
) -> pl.DataFrame:
    status, latency = zip(*rows, strict=True)
    at = pl.lit(START + timedelta(minutes=minute), dtype=pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({"status": status, "latency_ms": latency, "rows": [1] * len(rows)})
    return frame.with_columns(at=at, arm=pl.lit(arm, dtype=pl.String))


def test_where_nothing_was_recorded_no_value_is_made_up() -> None:
    values = {name: metric.value for name, metric in named(NOTHING).items()}
    assert len(values) == 10
    assert values.pop("deployment frequency") == 0.0
    assert set(values.values()) == {None}


def test_performance_is_weighted_by_rows() -> None:
    record = replace(NOTHING, windows=[window(0, value=1.0, rows=300), window(1, value=5.0)])
    found = named(record)["model performance"]
    assert found.value == pytest.approx(2.0)
    assert found.unit == "mae"
    assert "400 labelled rows" in found.detail


def test_data_quality_is_the_worst_check_and_names_it() -> None:
    found = named(replace(NOTHING, windows=[window(0, value=1.0)]))["data quality"]
    assert found.value == pytest.approx(0.9)
    assert "lowest: validity" in found.detail


def test_drift_is_the_share_of_columns() -> None:
    record = replace(NOTHING, windows=[window(day, value=1.0) for day in range(4)])
    assert named(record)["model drift"].value == pytest.approx(0.125)


def test_a_rollback_and_an_early_quality_alert_are_failed_deployments() -> None:
    alert = Alert(
        id="alert_1",
        endpoint="bike",
        kind=AlertKind.QUALITY,
        version=2,
        opened_at=START + 12 * DAY,
        window_start=START + 11 * DAY,
        columns=(),
        summary="worse",
        action="retrain",
        numbers={},
    )
    released = [release(1, 0), release(2, 10), release(3, 20, ReleaseState.ROLLED_BACK)]
    found = named(replace(NOTHING, releases=released, alerts=[alert]))
    assert found["deployment success rate"].value == pytest.approx(1 / 3)
    assert found["deployment frequency"].value == pytest.approx(2.0)
    late = replace(alert, opened_at=START + 20 * DAY)
    found = named(replace(NOTHING, releases=released, alerts=[late]))
    assert found["deployment success rate"].value == pytest.approx(2 / 3)


def test_uptime_counts_refusals_but_not_the_clients_mistakes() -> None:
    asked = requests((200, 1.0), (200, 2.0), (422, 1.0), (429, 0.1), (500, 9.0))
    assert named(replace(NOTHING, requests=asked))["model uptime"].value == pytest.approx(0.5)


def test_probes_tell_of_the_minutes_in_which_nobody_asked() -> None:
    asked = requests((200, 1.0), (200, 1.0), (503, 1.0), arm=None)
    beside = requests((200, 0.1), (200, 0.1), arm=PROBE)
    alone = requests((200, 0.1), (503, 0.1), (503, 0.1), arm=PROBE, minute=90)
    record = replace(NOTHING, requests=pl.concat([asked, beside, alone]))
    found = named(record)
    assert found["model uptime"].value == pytest.approx(3 / 6)
    assert found["model uptime"].detail == (
        "2 of 3 valid requests answered, 1 of 3 probes where nobody asked; worst hour 33.33%"
    )
    assert found["prediction latency"].value == 1.0
    quiet = named(replace(NOTHING, requests=alone))
    assert quiet["model uptime"].value == pytest.approx(1 / 3)
    assert quiet["prediction latency"].value is None
    assert quiet["cost"].value is None


def test_latency_is_that_of_answered_requests() -> None:
    asked = requests(*((200, float(ms)) for ms in range(1, 101)), (500, 9_000.0))
    found = named(replace(NOTHING, requests=asked))["prediction latency"]
    assert found.value == pytest.approx(95.05)


def test_a_few_rows_of_a_canary_do_not_move_the_interval() -> None:
    alone = [window(day, value=10.0 + day % 2) for day in range(10)]
    canary = [window(day, value=90.0, rows=1, version=2) for day in range(10)]
    found = named(replace(NOTHING, windows=[*alone, *canary]))["model performance"]
    assert found.value is not None
    assert found.value == pytest.approx((10.5 * 100 + 90) / 101)
    low, high = re.findall(r"windows ([\d.]+) to ([\d.]+)", found.detail)[0]
    assert float(low) < found.value < float(high) < 13


def test_cost_is_trainings_and_serving_per_thousand_predictions() -> None:
    spent = Spent(steps=2, cost=0.5, cpu_seconds=30.0, wall_seconds=60.0, peak_bytes=2**20)
    asked = requests((200, 3_600_000.0))
    record = replace(NOTHING, requests=asked, predictions=2_000, spent=spent)
    found = named(record)
    assert found["cost"].value == pytest.approx((0.5 + 0.04) / 2)
    assert found["resource utilisation"].value == pytest.approx(0.5)


def test_cost_is_what_was_metered_where_it_was() -> None:
    hour, gib_hour = 3_600_000.0, 3_600.0
    metered = requests((200, 2 * hour)).with_columns(cpu_ms=hour / 2, gib_seconds=gib_hour)
    before = requests((200, hour))
    asked = pl.concat([before, metered], how="diagonal")
    record = replace(NOTHING, requests=asked, predictions=1_000, price_per_gib_hour=0.01)
    assert named(record)["cost"].value == pytest.approx(1.5 * 0.04 + 0.01)


def test_uplift_is_the_share_of_loss_that_a_release_removed_on_the_same_rows() -> None:
    def shared(day: int, own: float, other: float, version: int) -> Window:
        known = window(day, value=own, version=version)
        assert known.quality is not None
        pair = replace(
            known.quality,
            other_version=3 - version,
            other_loss=other,
            paired_loss=own,
            other_rows=10,
        )
        return replace(known, quality=pair)

    rolling = replace(release(2, 0), live_at=START + 2 * DAY)
    # The old model answers first, then the canary answers: both times 2 is the better one.
    seen = [shared(0, 4.0, 3.0, 1), shared(1, 3.0, 4.0, 2), shared(5, 9.0, 1.0, 1)]
    assert uplifts(seen, [rolling]) == [pytest.approx(0.25)]
    assert uplifts(seen, [release(3, 0, ReleaseState.ROLLED_BACK)]) == []
