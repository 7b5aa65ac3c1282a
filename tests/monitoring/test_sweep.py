"""A sweep happens once in effect, whatever kills it, and costs little."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from everfit.errors import StaleRevision
from everfit.kernel import Transaction, Workspace, load_settings, metadata
from everfit.monitoring import (
    LabelLog,
    Monitor,
    explain_prediction,
    matured,
    receive_labels,
    windows,
)
from everfit.monitoring.reference import Reference

DAY = timedelta(days=1)


def snapshot(workspace: Workspace) -> dict[str, list[Any]]:
    """Every row of monitoring, without what names the moment of writing."""
    found = {}
    with workspace.reading() as tx:
        for name, table in metadata.tables.items():
            if name.startswith("monitoring_"):
                rows = tx.connection.execute(sa.select(table)).mappings()
                found[name] = sorted(str({k: v for k, v in r.items() if k != "id"}) for r in rows)
    return found


def test_a_window_belongs_to_the_time_of_its_rows(any_shop: Any) -> None:
    shop = any_shop
    start = shop.clock.now()
    shop.answer(10, time=start + timedelta(hours=5))
    shop.answer(20, time=start - timedelta(hours=5))
    shop.clock.advance(timedelta(hours=1))
    (ended,) = shop.monitor.sweep(shop.clock.now()).windows
    assert (ended.start, ended.rows, ended.version) == (start - DAY, 20, 1)
    with shop.workspace.reading() as tx:
        assert [(w.rows, w.closed) for w in windows(tx, shop.name)] == [(20, True), (10, False)]
    shop.clock.advance(DAY)
    assert [w.rows for w in shop.monitor.sweep(shop.clock.now()).windows] == [10]


def test_rows_in_many_sweeps_count_as_in_one(shop: Any) -> None:
    parts = [shop.predictions(shop.inputs(100)) for _ in range(4)]
    for part in parts:
        shop.log.append(part)
        shop.monitor.sweep(shop.clock.now())
    shop.clock.advance(DAY)
    (piecemeal,) = shop.monitor.sweep(shop.clock.now()).windows
    for part in parts:
        shop.log.append(part.with_columns(time=shop.clock.now()))
    shop.clock.advance(DAY)
    (at_once,) = shop.monitor.sweep(shop.clock.now()).windows
    assert piecemeal.rows == at_once.rows == 400
    assert piecemeal.drift == at_once.drift


def test_a_sweep_without_news_writes_nothing(shop: Any) -> None:
    shop.days(1, lambda: shop.answer(10))
    before = snapshot(shop.workspace)
    shop.monitor.sweep(shop.clock.now())
    assert snapshot(shop.workspace) == before


class Died(BaseException):
    """Stands for the death of the process."""


def test_a_sweep_that_dies_before_its_commit_is_repeated_with_the_same_result(
    any_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = any_shop
    logged = shop.answer(200)
    receive_labels(shop.workspace, shop.name, shop.truth(logged))
    shop.clock.advance(DAY)
    before = snapshot(shop.workspace)

    def die(*_: object, **__: object) -> int:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "record", die)
        with pytest.raises(Died):
            shop.monitor.sweep(shop.clock.now())
    assert snapshot(shop.workspace) == before
    result = Monitor(shop.workspace, shop.name, shop.monitor.config).sweep(shop.clock.now())
    assert (result.predictions, result.matured, len(result.windows)) == (200, 200, 1)
    again = shop.monitor.sweep(shop.clock.now())
    assert (again.predictions, again.matured, len(again.windows)) == (0, 0, 0)


CHILD = """
import sys
from datetime import datetime
from pathlib import Path
from everfit.kernel import ManualClock, load_settings, open_workspace
from everfit.monitoring import Monitor, MonitorConfig
from datetime import timedelta
folder, now = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
workspace = open_workspace(load_settings(folder, environment={}), clock=ManualClock(now))
config = MonitorConfig(window=timedelta(days=1), task="regression")
print("ready", flush=True)
for _ in range(10_000):
    Monitor(workspace, "shop", config).sweep(now)
"""


def test_kill_9_at_any_moment_neither_loses_nor_doubles_rows(shop: Any, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    assert load_settings(folder, environment={}).home == shop.workspace.home
    sent = 0
    for attempt in range(3):
        command = [sys.executable, "-c", CHILD, str(folder), shop.clock.now().isoformat()]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        ends = time.monotonic() + 0.15 + 0.05 * attempt
        with LabelLog(shop.workspace, shop.name) as labels:
            while time.monotonic() < ends:
                labels.receive(shop.truth(shop.answer(20)))
                sent += 20
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    shop.clock.advance(DAY)
    shop.monitor.sweep(shop.clock.now())
    with shop.workspace.reading() as tx:
        assert sum(window.rows for window in windows(tx, shop.name)) == sent
        assert matured(shop.workspace, tx, shop.name).height == sent


def test_of_two_sweeps_at_once_one_wins(any_shop: Any) -> None:
    shop = any_shop
    shop.answer(10)
    winner = shop.monitor

    class Overtaken(Monitor):
        def reference(self, tx: Transaction, version: int) -> Reference | None:
            winner.sweep(shop.clock.now())
            return super().reference(tx, version)

    with pytest.raises(StaleRevision):
        Overtaken(shop.workspace, shop.name, winner.config).sweep(shop.clock.now())
    with shop.workspace.reading() as tx:
        assert [window.rows for window in windows(tx, shop.name)] == [10]


def test_a_prediction_can_be_explained(shop: Any) -> None:
    logged = shop.answer(5, key="ann")
    receive_labels(shop.workspace, shop.name, logged.select("id", label=pl.lit(3.5)))
    shop.clock.advance(DAY)
    shop.monitor.sweep(shop.clock.now())
    chosen = shop.ids(logged)[2]
    with shop.workspace.reading() as tx:
        facts = explain_prediction(shop.workspace, tx, shop.name, chosen)
    assert facts["inputs"]["age"] == logged["in.age"][2]
    assert (facts["key"], facts["version"], facts["label"]) == ("ann", 1, "3.5")
    assert facts["window"].rows == 5


def test_a_sweep_of_a_window_takes_milliseconds(shop: Any) -> None:
    with LabelLog(shop.workspace, shop.name, durable=False) as labels:
        took = []
        for _ in range(20):
            labels.receive(shop.truth(shop.answer(500)))
            shop.clock.advance(DAY)
            began = time.process_time()
            shop.monitor.sweep(shop.clock.now())
            took.append(time.process_time() - began)
    assert sorted(took)[10] < 0.05


def test_a_row_that_says_never_is_watched_at_the_time_of_its_answer(shop: Any) -> None:
    never = datetime(9999, 12, 31, tzinfo=UTC)
    shop.answer(5, time=never)
    shop.answer(5)
    shop.clock.advance(DAY)
    shop.monitor.sweep(shop.clock.now())
    with shop.workspace.reading() as tx:
        (window,) = windows(tx, shop.name)
    assert window.rows == 10
