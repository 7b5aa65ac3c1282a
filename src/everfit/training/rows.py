"""The rows a training would learn from if all of the truth were known: history, for a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from everfit.data import Schema
from everfit.kernel import Workspace
from everfit.steps import (
    Call,
    Heartbeat,
    Progress,
    StepLogs,
    StepPool,
    execute,
    load_value,
    quiet,
)
from everfit.tracking import RunStatus, experiment_named, finish_run, start_run
from everfit.training.conduct import planned
from everfit.training.ending import ending
from everfit.training.model import BEST, TrainingRequest

KIND = "history"
HELD_OUT = "held-out"


def collect_history(
    workspace: Workspace,
    request: TrainingRequest,
    *,
    run_id: str,
    pool: StepPool,
    progress: Progress = quiet,
) -> tuple[pl.DataFrame, Schema]:
    """Return every collected and prepared row with its schema, by the steps that train too.

    Raises
    ------
    PolicyInvalid, PipelineInvalid, DataInvalid, SourceMissing, StepFailed
        As `train` does.
    """
    plan = planned(workspace, replace(request, as_of=None, extra=None, expectations=()), run_id)
    calls = _needed(plan.data_calls(), {plan.ready, "schema"})
    with workspace.transaction() as tx:
        experiment = experiment_named(tx, request.model).id
        run = start_run(tx, kind=KIND, name=request.model, run_id=run_id, experiment=experiment)
    logs = StepLogs(workspace, run.id, progress, reserved=BEST)
    made = execute(workspace, run.id, calls, pool=pool, progress=progress, logs=logs)
    with workspace.transaction() as tx:
        finish_run(tx, run.id, RunStatus.FINISHED)
    logs.clear()
    rows, schema = (load_value(workspace, made[name].digest) for name in (plan.ready, "schema"))
    return rows, schema


def hold_out(
    workspace: Workspace,
    request: TrainingRequest,
    *,
    run_id: str,
    pool: StepPool,
    progress: Progress = quiet,
    lease: Heartbeat | None = None,
) -> tuple[pl.DataFrame, str | None]:
    """Return the rows that a training would hold out, and their column of time; trains nothing.

    Raises
    ------
    PolicyInvalid, PipelineInvalid, DataInvalid, SourceMissing, StepFailed, Cancelled, LeaseLost
        As `train` does.
    """
    plan = planned(workspace, request, run_id)
    calls = _needed(plan.data_calls(), {"test", "schema"})
    with workspace.transaction() as tx:
        experiment = experiment_named(tx, request.model).id
        run = start_run(tx, kind=HELD_OUT, name=request.model, run_id=run_id, experiment=experiment)
    logs = StepLogs(workspace, run.id, progress, reserved=BEST)
    with ending(workspace, run.id, logs):
        made = execute(
            workspace, run.id, calls, pool=pool, progress=progress, lease=lease, logs=logs
        )
        with workspace.transaction() as tx:
            finish_run(tx, run.id, RunStatus.FINISHED)
    schema: Schema = load_value(workspace, made["schema"].digest)
    return load_value(workspace, made["test"].digest), schema.time


def _needed(calls: Sequence[Call], wanted: set[str]) -> list[Call]:
    """Return the calls that ``wanted`` depends on, themselves included, in their order."""
    by_name = {call.name: call for call in calls}
    found: set[str] = set()
    waiting = [name for name in wanted if name in by_name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].needs
    return [call for call in calls if call.name in found]
