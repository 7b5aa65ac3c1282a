"""Runs: started, ended, renamed, deleted and restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from everfit.errors import Conflict, Invalid
from everfit.kernel import Transaction
from everfit.tracking.model import (
    DEFAULT_EXPERIMENT,
    NAME_TAG,
    PARENT_TAG,
    MetricPoint,
    Run,
    RunData,
    RunStatus,
    Stage,
    finish,
    resume,
)
from everfit.tracking.naming import made_up_name
from everfit.tracking.rules import TAG_LENGTH, check_texts
from everfit.tracking.service import experiments
from everfit.tracking.store import experiments as experiment_store
from everfit.tracking.store import inputs, logged
from everfit.tracking.store import runs as store

LOGGED = "logged"
"""The kind of a run that a client started: what it does, it does elsewhere."""


def start_run(
    tx: Transaction,
    *,
    kind: str,
    name: str,
    parent: str | None = None,
    run_id: str | None = None,
    experiment: str = DEFAULT_EXPERIMENT,
) -> Run:
    """Start a run and return it; under a ``run_id`` that exists, go on with that run.

    Raises
    ------
    Conflict
        If the run of that id is of another kind.
    """
    if experiment == DEFAULT_EXPERIMENT:
        experiments.ensure_default(tx)
    run = Run(
        id=run_id or tx.new_id("run"),
        experiment=experiment,
        kind=kind,
        name=name,
        status=RunStatus.RUNNING,
        actor="everfit",
        started_at=tx.now,
        parent=parent,
    )
    if _insert(tx, run, {PARENT_TAG: parent} if parent else {}):
        return run
    present = store.get_run(tx, run.id, lock=True)
    if present.kind != kind:
        raise Conflict(
            f"run {run.id} is of kind {present.kind!r}, not {kind!r}",
            hint="Use another run id, or the kind it was started with.",
            run=run.id,
        )
    resumed = resume(present)
    if resumed != present:
        store.update_run(tx, resumed)
        tx.record("run-resumed", run.id, after=present.status)
    return resumed


def create_run(
    tx: Transaction,
    experiment_id: str,
    *,
    name: str | None = None,
    actor: str = "",
    started_at: datetime | None = None,
    tags: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> RunData:
    """Start a run that a client logs, in an active experiment, and return it with its tags.

    Without a name it is given one that can be remembered. A ``run_id`` that a client chose must
    not be taken.

    Raises
    ------
    NotFound, Invalid
        If there is no such experiment, it is deleted, a tag cannot be kept, or the name and
        the tag of the name differ.
    """
    tags = dict(tags or {})
    check_texts("a new run", "tag", tags, TAG_LENGTH)
    experiments.check_takes_runs(tx, experiment_id)
    tagged = tags.get(NAME_TAG)
    if name and tagged and name != tagged:
        raise Invalid(
            f"the run is called {name!r} and, by its tag {NAME_TAG!r}, {tagged!r}",
            hint="Give one of them, or the same text in both.",
        )
    run_id = run_id or tx.new_id("run")
    run = Run(
        id=run_id,
        experiment=experiment_id,
        kind=LOGGED,
        name=name or tagged or made_up_name(run_id),
        status=RunStatus.RUNNING,
        actor=actor,
        started_at=started_at or tx.now,
        parent=tags.get(PARENT_TAG),
    )
    _insert(tx, run, tags)
    return RunData(run=run, metrics=(), params={}, tags={**tags, NAME_TAG: run.name})


def _insert(tx: Transaction, run: Run, tags: Mapping[str, str]) -> bool:
    number = store.insert_run(tx, run)
    if number is None:
        return False
    logged.put_tags(tx, number, {**tags, NAME_TAG: run.name})
    data: dict[str, Any] = {"kind": run.kind, "name": run.name, "parent": run.parent}
    tx.record("run-started", run.id, actor=run.actor or "everfit", **data)
    return True


def finish_run(tx: Transaction, run_id: str, status: RunStatus, *, error: str | None = None) -> Run:
    """End a run and return it; ending it twice in the same way is the same as once.

    Raises
    ------
    NotFound, Invalid, Conflict
        If there is no such run, ``status`` is no end, or the run ended otherwise.
    """
    run = store.get_run(tx, run_id, lock=True)
    finished = finish(run, status, at=tx.now, error=error)
    if finished != run:
        store.update_run(tx, finished)
        tx.record("run-finished", run_id, status=status, error=error)
    return finished


def update_run(
    tx: Transaction,
    run_id: str,
    *,
    status: RunStatus | None = None,
    finished_at: datetime | None = None,
    name: str | None = None,
    error: str | None = None,
) -> Run:
    """Write what a client says of its run, in any order, and return it.

    A client's run may end, go on and end again: a notebook does that.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, or it is deleted.
    """
    run = store.get_run(tx, run_id, lock=True)
    number = active_number(tx, run_id)
    changed = replace(
        run,
        status=status or run.status,
        finished_at=finished_at or run.finished_at,
        name=name or run.name,
        error=error or run.error,
    )
    if changed.name != run.name:
        check_texts(f"run {run_id}", "tag", {NAME_TAG: changed.name}, TAG_LENGTH)
        logged.put_tags(tx, number, {NAME_TAG: changed.name})
    if changed != run:
        store.update_run(tx, changed)
    if changed.status != run.status:
        kind = "run-resumed" if changed.status is RunStatus.RUNNING else "run-finished"
        tx.record(kind, run_id, **_told(kind, run, changed))
    return changed


def _told(kind: str, before: Run, after: Run) -> dict[str, Any]:
    if kind == "run-resumed":
        return {"after": before.status}
    return {"status": after.status, "error": after.error}


def delete_run(tx: Transaction, run_id: str) -> None:
    """Hide a run until it is restored; raises NotFound."""
    run = store.get_run(tx, run_id, lock=True)
    if run.stage is Stage.ACTIVE:
        store.update_run(tx, replace(run, stage=Stage.DELETED, deleted_at=tx.now))
        tx.record("run-deleted", run_id)


def restore_run(tx: Transaction, run_id: str) -> None:
    """Show a deleted run again; raises NotFound."""
    run = store.get_run(tx, run_id, lock=True)
    if run.stage is Stage.DELETED:
        store.update_run(tx, replace(run, stage=Stage.ACTIVE, deleted_at=None))
        tx.record("run-restored", run_id)


def get_run(tx: Transaction, run_id: str) -> Run:
    """Return one run, deleted or not; raises NotFound."""
    return store.get_run(tx, run_id)


def get_run_data(tx: Transaction, run_id: str) -> RunData:
    """Return one run with what it logged; raises NotFound."""
    found = store.find(tx, run_id)
    if found is None:
        raise store.absent(tx, run_id)
    return load_runs(tx, [found[0]])[0]


def load_runs(tx: Transaction, numbers: Sequence[int]) -> list[RunData]:
    """Return the runs of these numbers with what they logged, used and made, in this order."""
    runs = store.runs_by_number(tx, numbers)
    metrics: dict[int, list[MetricPoint]] = logged.latest_points(tx, numbers)
    params = logged.texts(tx, "tracking_params", numbers)
    tags = logged.texts(tx, "tracking_tags", numbers)
    datasets = inputs.inputs_of(tx, numbers)
    models = inputs.models_of(tx, numbers)
    return [
        RunData(
            run=runs[n],
            metrics=tuple(metrics[n]),
            params=params[n],
            tags=tags[n],
            datasets=tuple(datasets[n]),
            models=tuple(one.model for one in models.get((n, inputs.INPUT), ())),
            outputs=tuple(models.get((n, inputs.OUTPUT), ())),
        )
        for n in numbers
    ]


def locations(tx: Transaction, runs: Sequence[RunData]) -> dict[str, str | None]:
    """Return where the artifacts of the runs' experiments go, by experiment.

    None stands for Everfit's own tree.
    """
    ids = sorted({data.run.experiment for data in runs})
    return experiment_store.locations(tx, ids) if ids else {}


def list_runs(tx: Transaction, *, kind: str | None = None, limit: int = 100) -> list[Run]:
    """Return at most ``limit`` runs, the newest first."""
    return store.list_runs(tx, kind=kind, limit=limit)


def number_of(tx: Transaction, run_id: str) -> int:
    """Return the number of a run's rows; raises NotFound."""
    found = store.find(tx, run_id)
    if found is None:
        raise store.absent(tx, run_id)
    return found[0]


def active_number(tx: Transaction, run_id: str) -> int:
    """Return the number of a run's rows; raises NotFound, or Invalid where it is deleted."""
    found = store.find(tx, run_id)
    if found is None:
        raise store.absent(tx, run_id)
    number, stage = found
    if stage is not Stage.ACTIVE:
        raise Invalid(
            f"run {run_id} is {stage}",
            hint="Restore it first; a deleted run takes nothing.",
            run=run_id,
        )
    return number
