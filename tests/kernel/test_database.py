"""The database: waiting has an end, a full disk is said to be full, a reading reads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from everfit.errors import DatabaseBusy, EverfitError, StorageFull
from everfit.kernel import Workspace, load_settings, new_id, open_workspace, verify
from everfit.kernel.clock import ManualClock


def record(workspace: Workspace, number: int, size: int = 0) -> None:
    with workspace.transaction() as tx:
        tx.record("counted", str(number), ballast="x" * size)


def subjects(workspace: Workspace) -> list[str]:
    with workspace.reading() as tx:
        assert verify(tx.connection, tx.project) == []
        return [event.subject for event in tx.events()]


def test_a_lock_held_by_another_process_ends_in_busy_and_loses_nothing(
    any_workspace: Workspace, tmp_path: Path, start_child: Callable[..., Any]
) -> None:
    record(any_workspace, 1)
    settings = replace(any_workspace.settings, busy_seconds=0.3)
    impatient = open_workspace(settings, durable=False)
    holder = start_child("hold", tmp_path / "project", settings.database_url)
    assert holder.stdout.readline() == "held\n"
    started = time.monotonic()
    with pytest.raises(DatabaseBusy) as caught:
        record(impatient, 2)
    assert 0.3 <= time.monotonic() - started < 3
    assert "repeat" in caught.value.hint
    # Reading, and opening, wait for nobody.
    assert subjects(impatient) == ["1"]
    open_workspace(settings, durable=False).close()
    holder.stdin.close()
    assert holder.wait(10) == 0
    record(impatient, 3)
    assert subjects(impatient) == ["1", "lock", "3"]
    impatient.close()


def test_a_reading_refuses_to_write(any_workspace: Workspace) -> None:
    def write() -> None:
        with any_workspace.reading() as tx:
            tx.record("counted", "lost")

    with pytest.raises((EverfitError, sa.exc.InternalError), match=r"read.?only"):
        write()
    record(any_workspace, 1)
    assert subjects(any_workspace) == ["1"]


def test_a_reading_sees_one_state(any_workspace: Workspace) -> None:
    record(any_workspace, 1)
    with any_workspace.reading() as tx:
        before = tx.events()
        thread = threading.Thread(target=record, args=(any_workspace, 2))
        thread.start()
        thread.join()
        assert tx.events() == before
    assert subjects(any_workspace) == ["1", "2"]


def test_a_full_disk_refuses_the_transaction_and_keeps_the_others(
    small_disk: Path, clock: ManualClock
) -> None:
    settings = load_settings(small_disk / "project", environment={})
    workspace = open_workspace(settings, clock=clock)
    written = []

    def fill() -> None:
        for number in range(1000):
            record(workspace, number, size=20_000)
            written.append(str(number))

    with pytest.raises(StorageFull) as caught:
        fill()
    assert "free disk space" in caught.value.hint
    assert subjects(workspace) == written != []
    workspace.close()


def test_ids_made_at_one_moment_sort_in_the_order_they_were_made(clock: ManualClock) -> None:
    ids = [new_id("job", clock.now()) for _ in range(1000)]
    assert ids == sorted(set(ids))
