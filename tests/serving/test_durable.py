"""What was acknowledged is in the log: after a kill of everything, with a disk full or slow.

That the log itself keeps what it took, whatever byte its writer died at, tests/kernel shows.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx
import polars as pl
import psutil
import pytest
from bench.serving.schedule import quantile
from bench.tracking.wire import post
from tests.serving.conftest import ENDPOINT, Shop
from tests.serving.test_process import SIGNATURE, free_port, line, server
from tests.serving.test_workers import workers_of
from tests.serving.unbroken import Told, load

from everfit.kernel import Workspace
from everfit.monitoring.log import log_folder
from everfit.serving import BackgroundServer
from everfit.serving.model import Bounds

PATH = f"/predict/{ENDPOINT}"
REQUEST = post(PATH, b'{"temp": 0.5}')
ANSWERED, REFUSED, FULL = 200, 503, 507


def in_log(shop: Shop) -> set[str]:
    """Return the ids of all predictions, which Everfit reads as Polars does by itself."""
    logged = shop.logged()["id"]
    files = sorted(log_folder(shop.workspace, ENDPOINT, "predictions").rglob("*.arrows"))
    foreign = pl.concat([pl.read_ipc_stream(file) for file in files])["id"]
    assert sorted(foreign) == sorted(logged)
    assert logged.n_unique() == len(logged)
    return set(logged)


def acknowledged(told: list[Told]) -> set[str]:
    return {one.id for one in told if one.status == ANSWERED}


def test_everything_killed_at_once_loses_nothing_acknowledged(shop: Shop) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    port = free_port()
    with (
        server(shop.workspace, port, workers=2) as process,
        load(port, [REQUEST], connections=16) as callers,
    ):
        callers.wait_for(1)
        time.sleep(0.5)
        for one in [psutil.Process(process.pid), *workers_of(process)]:
            one.kill()
        callers.wait_until_broken()
        told, broken = callers.ended()
    assert broken == 16
    assert len(told) > 100
    with server(shop.workspace, port, workers=2):  # which cuts off what was not written to its end
        found = in_log(shop)
    assert acknowledged(told) <= found
    # At most what was under way at the kill was logged without its answer being received.
    assert len(found) <= len(acknowledged(told)) + 16


Full = Callable[[Workspace], AbstractContextManager[Callable[[psutil.Process, bool], object]]]


@contextmanager
def small_files(_workspace: Workspace) -> Iterator[Callable[[psutil.Process, bool], object]]:
    """Let a process write no more than 100 KB of a file, as where a quota is used up."""

    def limit(worker: psutil.Process, full: bool) -> None:
        most = 100_000 if full else psutil.RLIM_INFINITY
        worker.rlimit(psutil.RLIMIT_FSIZE, (most, psutil.RLIM_INFINITY))

    yield limit


@contextmanager
def small_disk(workspace: Workspace) -> Iterator[Callable[[psutil.Process, bool], object]]:
    """Keep the logs on a file system of their own that has 256 KiB."""
    folder = workspace.home / "log"
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")

    def limit(_worker: psutil.Process, full: bool) -> None:
        if not full:
            subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)

    try:
        yield limit
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("disk", [small_files, small_disk])
def test_a_full_disk_refuses_and_what_was_acknowledged_before_and_after_is_there(
    shop: Shop, disk: Full
) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    port = free_port()
    with disk(shop.workspace) as limit, server(shop.workspace, port) as process:
        [worker] = workers_of(process)
        limit(worker, True)
        with load(port, [REQUEST], connections=8) as callers:
            callers.wait_for(1)
            deadline = time.monotonic() + 20
            while _answer(port).status_code != FULL:
                assert time.monotonic() < deadline
            told, broken = callers.ended()
        assert (broken, {one.status for one in told}) == (0, {ANSWERED, FULL})
        limit(worker, False)
        last = _answer(port)
        assert last.status_code == ANSWERED
        assert worker.is_running()
        ids = {one["id"] for one in last.json()["predictions"]}
        assert acknowledged(told) | ids <= in_log(shop)


def _answer(port: int) -> httpx.Response:
    return httpx.post(f"http://127.0.0.1:{port}{PATH}", json={"temp": 0.5}, timeout=20)


def test_a_slow_disk_is_waited_for_and_who_is_too_many_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    written = os.pwritev

    def slowly(file: int, parts: list[bytes], offset: int) -> int:
        time.sleep(0.1)
        return written(file, parts, offset)

    bounds = Bounds(in_flight=8, crowd=8)
    with BackgroundServer(shop.workspace, [ENDPOINT], bounds=bounds) as served:
        port = httpx.URL(served.url).port
        assert port is not None
        monkeypatch.setattr("os.pwritev", slowly)
        with load(port, [REQUEST], connections=32) as callers:
            time.sleep(2)
            told, broken = callers.ended()
        monkeypatch.undo()
        assert (broken, {one.status for one in told}) == (0, {ANSWERED, REFUSED})
        answered = [one for one in told if one.status == ANSWERED]
        # Nobody is told before it is on disk, and who is refused is told at once.
        assert min(one.seconds for one in answered) >= 0.1
        assert len(acknowledged(told)) > 30
        refused = sorted(one.seconds for one in told if one.status == REFUSED)
        assert quantile(refused, 0.5) < 0.05
    found = in_log(shop)
    assert acknowledged(told) <= found
    # Of what was inside when the asking ended nobody waited for the answer.
    assert len(found) <= len(acknowledged(told)) + bounds.in_flight
