"""``everfit run``: train, gate and release now."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from everfit.automation import Loop, Project, start_retraining, timeline
from everfit.cli import show
from everfit.cli.project import FOLDER, opened
from everfit.errors import StaleRevision, StepFailed
from everfit.kernel import (
    Job,
    JobState,
    Transaction,
    Worker,
    get_job,
    hasten,
    ledger_head,
    list_jobs,
)
from everfit.steps import StepPool
from everfit.tracking import metrics
from everfit.training import result_of

POLL_SECONDS = 0.25


@click.command()
@FOLDER
@click.option("--reason", default="everfit run", help="Why; kept in the ledger.")
def run(folder: Path, reason: str) -> None:
    """Train every candidate, judge the best and release it if every gate passes.

    A run that was killed goes on where it was; unchanged steps are not run again.
    """
    project = opened(folder)
    actor = project.workspace.settings.actor
    with _errors_said_once(), StepPool(project.workspace) as pool, show.LiveProgress() as progress:
        loop = Loop(project, pool, progress=progress)
        with suppress(StaleRevision):  # Another process has just taken in what came.
            loop.sweep()
        job = start_retraining(project, reason=reason, actor=actor)
        with project.workspace.reading() as tx:
            before, _ = ledger_head(tx.connection, tx.project)
        _work(project, loop, progress)
    _report(project, job.id, before)


@contextmanager
def _errors_said_once() -> Iterator[None]:
    """Keep the worker's warnings of failed attempts back: the command ends with the error."""
    logger = logging.getLogger("everfit")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _work(project: Project, loop: Loop, progress: show.LiveProgress) -> None:
    """Do what there is to do, and wait for what another process is doing of it."""
    with project.workspace.transaction() as tx:
        for waiting in _jobs(tx, loop, JobState.QUEUED):
            hasten(tx, waiting.id)
    worker = Worker(project.workspace, loop.handlers, name="run")
    told: set[str] = set()
    while True:
        worker.run_pending()
        with project.workspace.reading() as tx:
            elsewhere = _jobs(tx, loop, JobState.RUNNING)
        if not elsewhere:
            return
        for job in elsewhere:
            if job.id not in told:
                told.add(job.id)
                progress.note(f"{job.kind} {job.id} runs in {job.worker!r}, or did; waiting for it")
        time.sleep(POLL_SECONDS)


def _jobs(tx: Transaction, loop: Loop, state: JobState) -> list[Job]:
    return [job for job in list_jobs(tx, states=[state]) if job.kind in loop.handlers]


def _report(project: Project, job_id: str, before: int) -> None:
    with project.workspace.reading() as tx:
        job = get_job(tx, job_id)
        turns = timeline(tx.events(after=before))
        if job.state is JobState.DONE and job.result:
            _show_training(project, tx, str(job.result["run"]))
        failed = _failed(tx, job)
    for item in turns:
        if item.sort != "trouble":
            show.turn(item)
    if failed is not None:
        raise StepFailed(
            failed.error or f"{failed.kind} {failed.id} is {failed.state}",
            hint=failed.hint or "Run again: finished steps are kept. `everfit status` says more.",
        )


def _failed(tx: Transaction, job: Job) -> Job | None:
    """Return the training, or the judgement of its version, that did not come to a good end."""
    if job.state is not JobState.DONE or job.result is None:
        return job
    gates = [j for j in list_jobs(tx) if j.payload.get("version") == job.result["version"]]
    return next((gate for gate in gates[-1:] if gate.state is not JobState.DONE), None)


def _show_training(project: Project, tx: Transaction, run_id: str) -> None:
    values = metrics(tx, run_id)
    result = result_of(project.workspace, tx, project.policy.model, run_id)
    show.table(
        "candidates",
        ("name", "parameters", f"validation {project.policy.train.metric}", "cpu s"),
        [(s.name, dict(s.params), s.value, s.cpu_seconds) for s in result.leaderboard],
    )
    show.console.print(
        f"run {run_id}: {values.get('cpu_seconds', 0):.1f} CPU-s, "
        f"{values.get('cost', 0):.5f} {project.workspace.settings.currency}"
    )
