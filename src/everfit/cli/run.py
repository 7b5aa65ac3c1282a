"""``everfit run``: train, gate and release now."""

from __future__ import annotations

from pathlib import Path

import click

from everfit.automation import Loop, Project, open_project, start_retraining, timeline
from everfit.cli import show
from everfit.cli.project import FOLDER
from everfit.errors import StepFailed
from everfit.kernel import JobState, Worker, get_job
from everfit.tracking import metrics
from everfit.training import StepPool, result_of


@click.command()
@FOLDER
@click.option("--reason", default="everfit run", help="Why; kept in the ledger.")
def run(folder: Path, reason: str) -> None:
    """Train every candidate, judge the best and release it if every gate passes.

    A run that was killed goes on where it was; unchanged steps are not run again.
    """
    project = open_project(folder)
    with StepPool(project.workspace) as pool, show.LiveProgress() as progress:
        loop = Loop(project, pool, progress=progress)
        job = start_retraining(project, reason=reason, actor=project.workspace.settings.actor)
        with project.workspace.reading() as tx:
            before = max((event.number for event in tx.events()), default=0)
        worker = Worker(project.workspace, loop.handlers, name="run")
        worker.run_pending()
    _report(project, job.id, before)


def _report(project: Project, job_id: str, before: int) -> None:
    with project.workspace.reading() as tx:
        job = get_job(tx, job_id)
        turns = timeline(tx.events(after=before))
        if job.state is JobState.DONE and job.result:
            run_id = job.result["run"]
            values = metrics(tx, run_id)
            result = result_of(project.workspace, tx, project.policy.model, run_id)
            metric = f"validation {project.policy.train.metric}"
            show.table(
                "candidates",
                ("name", "parameters", metric, "cpu s"),
                [(s.name, dict(s.params), s.value, s.cpu_seconds) for s in result.leaderboard],
            )
            show.console.print(
                f"run {run_id}: {values.get('cpu_seconds', 0):.1f} CPU-s, "
                f"{values.get('cost', 0):.5f} {project.workspace.settings.currency}"
            )
    for item in turns:
        show.turn(item)
    if job.state is not JobState.DONE:
        raise StepFailed(
            f"{job.kind} {job.id} is {job.state}: {job.error or 'it will be tried again'}",
            hint="Correct the cause and run `everfit run` again; finished steps are kept.",
        )
