"""``kill -9`` at random moments, 50 times: nothing lost, nothing doubled, and the loop ends."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import psutil
import pytest

from everfit.automation import Project, open_project, start_retraining
from everfit.data import decode_frame
from everfit.governance import verify_ledger
from everfit.kernel import Job, JobState, hasten, list_jobs
from everfit.monitoring import Monitor, store
from everfit.monitoring.log import PREDICTIONS, log_folder, normalised, read_log
from everfit.monitoring.segments import read_segment
from everfit.monitoring.state import decode_state

from .conftest import Command

KILLS = 50
# On a busy machine fifty kills leave few trainings any time: then it takes more of them.
MOST_KILLS, LEAST_TRAININGS = 120, 5
SLOWEST_KILL_SECONDS = 2.0
# The share of kills that wait for their victim to work; the others may hit it as it starts.
AT_WORK = 0.8
# One error more would be one too many: that a job fails then is meant to be.
MOST_ERRORS = 3
LIVE = (JobState.QUEUED, JobState.RUNNING)
ONCE = ("version-registered", "gates-decided", "release-started", "release-completed")
POLICY = """\
model: small
task: regression
data: {source: rows.csv, target: y}
train: {candidates: {linear: {}, forest: {trees: 20}}, metric: mae}
gate: [{fast: {p95_ms: 10000}}]
rollout: 100%
retrain: {when: [manual], at_most: {cooldown: 0}}
"""


@dataclass
class Site:
    """A project whose server and worker run as real processes, and a client that never rests."""

    project: Project
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    answered: int = 0
    rows: int = 200

    @property
    def folder(self) -> Path:
        return self.project.folder

    def start(self, *names: str) -> None:
        """Start each process that does not run."""
        commands = {
            "server": ["serve", "--port", str(self.port)],
            "worker": ["up", "--no-serve", "--every", "0.5"],
            "run": ["run"],
        }
        for name in names:
            if name not in self.processes:
                self.processes[name] = self._started(name, commands[name])

    def _started(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "everfit.cli", *command],
                cwd=self.folder,
                env={**os.environ, "EVERFIT_LEASE_SECONDS": "2", "EVERFIT_WORKERS": "1"},
                stdout=log,
                stderr=log,
            )

    def steps(self, name: str = "worker") -> list[psutil.Process]:
        """Return the processes that train for a process of ours."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.processes[name].pid).children()
        return []

    def live(self, *kinds: str) -> list[Job]:
        """Return the jobs that have not come to their end."""
        with self.project.workspace.reading() as tx:
            return [job for job in list_jobs(tx, states=LIVE) if job.kind in kinds]

    def trained(self) -> int:
        """Return how many trainings have come to their end."""
        with self.project.workspace.reading() as tx:
            return sum(job.kind == "retrain" for job in list_jobs(tx, states=(JobState.DONE,)))

    def works(self, name: str) -> bool:
        """Return whether the server answers, or the worker or its steps train."""
        self.ask_for_training()
        if name == "server":
            return not self.acknowledged or len(self.acknowledged) > self.answered
        return bool(self.steps())

    def kill(self, name: str) -> bool:
        """Kill a process with SIGKILL."""
        process = self.processes.pop(name)
        assert process.poll() is None, f"the {name} ended by itself"
        process.kill()
        process.wait()
        self.answered = len(self.acknowledged)
        return True

    def kill_training(self, chance: random.Random) -> bool:
        """Kill a step that trains, if there is one, and return whether there was."""
        steps = self.steps()
        if not steps or any(job.failures >= MOST_ERRORS for job in self.live("retrain")):
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            chance.choice(steps).kill()
        return True

    def ask_for_training(self) -> None:
        """Ask for a training of rows that were never trained on, unless one is under way."""
        training = self.live("retrain")
        if not training:
            self.rows += 20
            write_rows(self.folder, self.rows)
            start_retraining(self.project, reason="test")
        for job in training:
            if job.state is JobState.QUEUED and job.failures:
                with self.project.workspace.transaction() as tx:
                    hasten(tx, job.id)

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
        for name in list(self.processes):
            self.kill(name)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    write_rows(tmp_path, 200)
    (tmp_path / "everfit.yaml").write_text(POLICY)
    project = open_project(tmp_path)
    site = Site(project=project, port=free_port())
    yield site
    site.stop.set()
    for process in site.processes.values():
        process.kill()
        process.wait()
    project.workspace.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_rows(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    a, b, noise = rng.normal(size=(3, count))
    frame = pl.DataFrame({"a": a, "b": b, "y": 3 * a - b + noise / 10})
    frame.write_csv(folder / "new.csv")
    (folder / "new.csv").replace(folder / "rows.csv")


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_fifty_kills_lose_and_double_nothing(site: Site) -> None:
    chance = random.Random(7)
    killed: Counter[str] = Counter()
    client = threading.Thread(target=site.ask)
    client.start()
    try:
        while killed.total() < KILLS or (
            site.trained() < LEAST_TRAININGS and killed.total() < MOST_KILLS
        ):
            site.start("server", "worker")
            name = chance.choice(["server", "worker", "training"])
            if chance.random() < AT_WORK:
                wait_until(partial(site.works, name), 60, f"{name} does not begin to work")
            time.sleep(chance.uniform(0, SLOWEST_KILL_SECONDS))
            killed[name] += site.kill_training(chance) if name == "training" else site.kill(name)
        site.start("server", "worker")
        wait_until(lambda: not site.live("retrain"), 60, "a training does not end")
        site.ask_for_training()
        wait_until(lambda: not site.live("retrain", "gate"), 60, "the loop does not end")
        site.close()
    finally:
        site.stop.set()
        client.join()
    assert min(killed[name] for name in ("server", "worker", "training")) >= 8, (killed, site.rows)
    assert_whole(site.project, least=LEAST_TRAININGS)
    assert_log_whole(site)


def test_a_worker_that_only_slept_comes_back_to_nothing(site: Site) -> None:
    site.start("worker")
    site.ask_for_training()
    wait_until(lambda: site.steps() and site.live("retrain")[0].attempt, 30, "no step")
    sleeping = site.processes.pop("worker")
    put_to_sleep(sleeping, site.folder / ".everfit/everfit.db")
    try:
        site.start("worker")
        wait_until(lambda: not site.live("retrain", "gate"), 60, "nobody took over")
        sleeping.send_signal(signal.SIGCONT)
        time.sleep(3)
        assert sleeping.poll() is None
    finally:
        sleeping.kill()
        sleeping.wait()
    with site.project.workspace.reading() as tx:
        assert list_jobs(tx)[0].attempt == 2
    assert_whole(site.project, least=1)


def put_to_sleep(process: subprocess.Popen[bytes], database: Path) -> None:
    """Stop the process at a moment in which it does not hold the database."""
    while True:
        process.send_signal(signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(database, timeout=0.5)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                time.sleep(0.05)
            else:
                return


def test_everfit_run_goes_on_where_it_was_killed(site: Site, everfit: Command) -> None:
    site.start("run")
    wait_until(lambda: site.steps("run"), 30, "no step")
    site.kill("run")
    done = everfit("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_whole(site.project, least=1)


def assert_whole(project: Project, *, least: int) -> None:
    """Every piece of work had its effect once: one version, one report, one release."""
    with project.workspace.reading() as tx:
        _, breaks = verify_ledger(tx)
        events, jobs = tx.events(), list_jobs(tx)
    assert breaks == []
    assert all(job.state is JobState.DONE for job in jobs), jobs
    trained = [job for job in jobs if job.kind == "retrain"]
    assert len(trained) >= least
    versions = [job.result["version"] for job in trained if job.result]
    assert versions == list(range(1, len(trained) + 1))
    counts = Counter(event.kind for event in events)
    assert {kind: counts[kind] for kind in ONCE} == dict.fromkeys(ONCE, len(trained))
    for kind in ("trigger-fired", "job-done"):
        subjects = [event.subject for event in events if event.kind == kind]
        assert len(subjects) == len(set(subjects)), kind
    assert counts["trigger-fired"] == len(trained)
    assert counts["job-done"] == 2 * len(trained)


def assert_log_whole(site: Site) -> None:
    """Every acknowledged prediction is in the log once, before and after a sweep."""
    assert len(site.acknowledged) > 100
    monitor = Monitor(site.project.workspace, "small", site.project.monitor_config())
    for _ in range(2):
        found = Counter(logged(site.project))
        assert set(found.values()) == {1}
        assert set(site.acknowledged) <= set(found)
        monitor.sweep(site.project.workspace.clock.now())


def logged(project: Project) -> list[str]:
    """Return the ids of all predictions: those sealed, and those in the journals behind them."""
    workspace = project.workspace
    with workspace.reading() as tx:
        _, state = store.state(tx, "small")
        segments = store.segments(tx, "small", PREDICTIONS)
    cursor = decode_state(state).cursors.get(PREDICTIONS, {})
    waiting, _ = read_log(log_folder(workspace, "small", PREDICTIONS), cursor)
    tables = [read_segment(workspace.blobs, segment.digest) for segment in segments]
    tables += [normalised(decode_frame(payload)) for payload in waiting]
    return [identifier for table in tables for identifier in table["id"]]
