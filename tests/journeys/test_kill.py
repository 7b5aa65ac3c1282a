"""``kill -9`` at random moments, 50 times: nothing lost, nothing doubled, and the loop ends."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import psutil

from everfit.automation import Project, open_project, start_retraining
from everfit.governance import verify_ledger
from everfit.kernel import JobState, list_jobs
from everfit.monitoring import Monitor, logged_predictions

KILLS = 50
ROWS = 400
POLICY = """\
model: small
task: regression
data: {source: rows.csv, target: y, time: at}
train: {candidates: {linear: {}}, metric: mae}
gate: [{fast: {p95_ms: 10000}}]
rollout: 100%
retrain: {when: [manual], at_most: {cooldown: 0}}
"""


@dataclass
class Site:
    """A project whose server and worker run as real processes, and a client that never rests."""

    folder: Path
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def start(self, name: str) -> None:
        """Start the process ``name`` unless it runs."""
        if name in self.processes and self.processes[name].poll() is None:
            return
        command = {
            "server": ["serve", "--port", str(self.port)],
            "worker": ["up", "--no-serve", "--every", "0.5"],
        }[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "everfit.cli", *command],
                cwd=self.folder,
                env={**os.environ, "EVERFIT_LEASE_SECONDS": "2"},
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """Kill a process, or a training step of the worker, with SIGKILL."""
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            if name == "training":
                steps = psutil.Process(self.processes["worker"].pid).children(recursive=True)
                random.choice(steps).kill()  # noqa: S311
                return
            os.kill(self.processes[name].pid, signal.SIGKILL)
            self.processes[name].wait()

    def ask(self) -> None:
        """Ask for predictions until told to stop, and remember what was acknowledged."""
        rng = np.random.default_rng(1)
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=5) as client:
            while not self.stop.is_set():
                rows = [{"a": float(a), "b": float(b)} for a, b in rng.normal(size=(3, 2))]
                with contextlib.suppress(httpx.TransportError):
                    answer = client.post("/predict/small", json={"rows": rows})
                    if answer.status_code == 200:
                        self.acknowledged += [p["id"] for p in answer.json()["predictions"]]
                time.sleep(0.01)

    def close(self) -> None:
        """End everything."""
        self.stop.set()
        for process in self.processes.values():
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_project(folder: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, ROWS))
    at = pl.datetime_range(pl.datetime(2025, 1, 1), pl.datetime(2025, 3, 1), "1h", eager=True).head(
        ROWS
    )
    frame = pl.DataFrame({"at": at, "a": a, "b": b, "y": 3 * a - b + rng.normal(0, 0.1, ROWS)})
    frame.write_csv(folder / "rows.csv")
    (folder / "everfit.yaml").write_text(POLICY)


def wait_until_quiet(project: Project, seconds: float) -> list[Any]:
    """Wait until no job is left to do and return them all."""
    deadline = time.monotonic() + seconds
    jobs: list[Any] = []
    while time.monotonic() < deadline:
        with project.workspace.reading() as tx:
            jobs = list_jobs(tx)
        if not any(job.state in (JobState.QUEUED, JobState.RUNNING) for job in jobs):
            return jobs
        time.sleep(0.2)
    raise AssertionError(f"the loop did not end: {jobs}")


def test_fifty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    write_project(tmp_path)
    project = open_project(tmp_path)
    site = Site(folder=tmp_path, port=free_port())
    chance = random.Random(7)  # noqa: S311
    client = threading.Thread(target=site.ask)
    try:
        client.start()
        for _ in range(KILLS):
            site.start("server")
            site.start("worker")
            start_retraining(project, reason="test")
            time.sleep(chance.uniform(0.2, 3.0))
            site.kill(chance.choice(["training", "worker", "server"]))
        site.start("server")
        site.start("worker")
        start_retraining(project, reason="the last one")
        jobs = wait_until_quiet(project, 90)
    finally:
        site.close()
        client.join()
    assert_whole(project, jobs)
    assert_log_whole(project, site.acknowledged)
    project.workspace.close()


def assert_whole(project: Project, jobs: list[Any]) -> None:
    """Every piece of work had its effect once: one version, one report, one release."""
    assert all(job.state is JobState.DONE for job in jobs), Counter(job.state for job in jobs)
    retrained = [job.result["version"] for job in jobs if job.kind == "retrain"]
    with project.workspace.reading() as tx:
        rows, breaks = verify_ledger(tx)
        events = tx.events()
    assert breaks == []
    assert rows == len(events)
    for kind in ("version-registered", "release-completed"):
        assert len([e for e in events if e.kind == kind]) == len(retrained), kind
    assert sorted(retrained) == list(range(1, len(retrained) + 1))
    assert len(retrained) >= 3
    fired = [e.subject for e in events if e.kind == "trigger-fired"]
    assert len(fired) == len(set(fired)) == len(retrained)


def assert_log_whole(project: Project, acknowledged: list[str]) -> None:
    """Every acknowledged prediction is in the log once, before and after a sweep."""
    monitor = Monitor(project.workspace, "small", project.monitor_config())
    for _ in range(2):
        with project.workspace.reading() as tx:
            logged = logged_predictions(project.workspace, tx, "small")["id"].to_list()
        assert len(logged) == len(set(logged))
        assert set(acknowledged) <= set(logged)
        monitor.sweep(project.workspace.clock.now())
    assert len(acknowledged) > 100
