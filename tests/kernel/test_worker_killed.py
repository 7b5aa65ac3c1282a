"""Workers killed at random moments: every effect happens exactly once."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from everfit.kernel import (
    Job,
    JobState,
    Lease,
    SystemClock,
    Worker,
    Workspace,
    enqueue,
    list_jobs,
    verify,
)

JOBS = 150
KILLS = 15


def test_effects_of_killed_workers_happen_exactly_once(
    any_workspace: Workspace,
    tmp_path: Path,
    start_child: Callable[..., subprocess.Popen[str]],
) -> None:
    workspace = replace(any_workspace, clock=SystemClock())
    with workspace.transaction() as tx:
        # No key: a second effect would be a second row.
        tx.connection.exec_driver_sql("CREATE TABLE effects (job TEXT)")
        jobs = {enqueue(tx, "effect", {}).id for _ in range(JOBS)}
    url = workspace.engine.url.render_as_string(hide_password=False)
    assert start_child("work", tmp_path / "project", url, 7, KILLS).wait(60) == 0
    hit = [job for job in _jobs(workspace) if job.attempt > 1 or job.state is JobState.RUNNING]
    assert len(hit) >= 5, "too few kills hit a running job to show anything"

    _run_the_rest(workspace)

    ended = _jobs(workspace)
    assert {job.id for job in ended} == jobs
    assert {job.state for job in ended} == {JobState.DONE}
    with workspace.reading() as tx:
        rows = tx.connection.execute(sa.text("SELECT job FROM effects")).scalars()
        assert Counter(rows) == dict.fromkeys(jobs, 1)
        assert Counter(event.subject for event in tx.events("job-done")) == dict.fromkeys(jobs, 1)
        assert verify(tx.connection, tx.project) == []


def _jobs(workspace: Workspace) -> list[Job]:
    with workspace.reading() as tx:
        return list_jobs(tx)


def _run_the_rest(workspace: Workspace) -> None:
    def effect(workspace: Workspace, lease: Lease) -> Mapping[str, Any] | None:
        with workspace.transaction() as tx:
            insert = sa.text("INSERT INTO effects (job) VALUES (:job)")
            tx.connection.execute(insert, {"job": lease.job.id})
            lease.finish(tx)
        return None

    stop = threading.Event()
    last = Worker(workspace, {"effect": effect}, name="last")
    thread = threading.Thread(target=last.run_until, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 20
    live = (JobState.QUEUED, JobState.RUNNING)
    while any(job.state in live for job in _jobs(workspace)) and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join()
