"""Experiments: made, found, renamed, deleted and restored."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from everfit.errors import Conflict, Invalid, NotFound
from everfit.kernel import Transaction
from everfit.tracking.model import Experiment, Stage
from everfit.tracking.rules import EXPERIMENT_TAG_LENGTH, check_experiment_name, check_texts
from everfit.tracking.store import experiments as store
from everfit.tracking.store import runs as run_store


def create_experiment(
    tx: Transaction,
    name: str,
    *,
    location: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Experiment:
    """Make an experiment and return it.

    Raises
    ------
    Conflict
        If there is one of that name, deleted or not.
    Invalid
        If the name, the location or a tag cannot be kept.
    """
    check_experiment_name(name)
    tags = tags or {}
    check_texts(f"experiment {name!r}", "tag", tags, EXPERIMENT_TAG_LENGTH)
    if location is not None and location.startswith("runs:"):
        raise Invalid(
            f"the artifacts of an experiment cannot lie below a run: {location!r}",
            hint="Leave the location out, or give a folder or bucket.",
        )
    store.hold_all(tx)
    experiment = Experiment(
        id=store.next_id(tx),
        name=name,
        stage=Stage.ACTIVE,
        created_at=tx.now,
        updated_at=tx.now,
        location=location or None,
        tags=dict(tags),
    )
    if not store.insert_experiment(tx, experiment):
        raise Conflict(
            f"an experiment {name!r} is there already",
            hint="Use it, or choose another name; a deleted one can be restored.",
            experiment=name,
        )
    store.put_tags(tx, experiment.id, tags)
    tx.record("experiment-created", experiment.id, name=name, location=location)
    return experiment


def ensure_default(tx: Transaction) -> None:
    """Make sure that the default experiment is there."""
    store.hold_all(tx)


def get_experiment(tx: Transaction, experiment_id: str, *, lock: bool = False) -> Experiment:
    """Return one experiment, deleted or not; raises NotFound."""
    experiment = store.get_experiment(tx, id=experiment_id, lock=lock)
    if experiment is None:
        raise NotFound(
            f"no experiment {experiment_id!r} in project {tx.project!r}",
            hint="List the experiments, or create it first.",
            experiment=experiment_id,
        )
    return experiment


def artifact_locations(tx: Transaction, ids: Collection[str]) -> dict[str, str | None]:
    """Return by experiment where its artifacts lie, or None where that is our own tree."""
    return store.locations(tx, list(ids)) if ids else {}


def find_experiment(tx: Transaction, name: str) -> Experiment | None:
    """Return the experiment of that name, deleted or not, or None."""
    return store.get_experiment(tx, name=name)


def experiment_named(tx: Transaction, name: str) -> Experiment:
    """Return the experiment of that name, made now if there was none."""
    return find_experiment(tx, name) or create_experiment(tx, name)


def rename_experiment(tx: Transaction, experiment_id: str, name: str) -> Experiment:
    """Give an experiment another name; raises NotFound, Invalid, Conflict."""
    check_experiment_name(name)
    store.hold_all(tx)
    experiment = active_experiment(tx, experiment_id)
    holder = find_experiment(tx, name)
    if holder is not None and holder.id != experiment_id:
        raise Conflict(
            f"an experiment {name!r} is there already",
            hint="Choose another name.",
            experiment=name,
        )
    tx.record("experiment-renamed", experiment_id, before=experiment.name, name=name)
    return _save(tx, replace(experiment, name=name))


def delete_experiment(tx: Transaction, experiment_id: str) -> None:
    """Hide an experiment and its runs until it is restored; raises NotFound."""
    _move(tx, experiment_id, Stage.ACTIVE, Stage.DELETED)


def restore_experiment(tx: Transaction, experiment_id: str) -> None:
    """Show a deleted experiment and its runs again; raises NotFound."""
    _move(tx, experiment_id, Stage.DELETED, Stage.ACTIVE)


def _move(tx: Transaction, experiment_id: str, present: Stage, stage: Stage) -> None:
    experiment = get_experiment(tx, experiment_id, lock=True)
    if experiment.stage is not present:
        raise NotFound(
            f"no {present} experiment {experiment_id!r}: it is {experiment.stage} already",
            hint="List the experiments of both stages.",
            experiment=experiment_id,
        )
    for run in run_store.runs_of_experiment(tx, experiment_id):
        deleted_at = tx.now if stage is Stage.DELETED else None
        run_store.update_run(tx, replace(run, stage=stage, deleted_at=deleted_at))
    _save(tx, replace(experiment, stage=stage))
    tx.record(f"experiment-{'deleted' if stage is Stage.DELETED else 'restored'}", experiment_id)


def set_experiment_tags(tx: Transaction, experiment_id: str, tags: Mapping[str, str]) -> None:
    """Set tags, replacing those of the same keys; raises NotFound, Invalid."""
    check_texts(f"experiment {experiment_id}", "tag", tags, EXPERIMENT_TAG_LENGTH)
    active_experiment(tx, experiment_id)
    store.put_tags(tx, experiment_id, tags)


def delete_experiment_tag(tx: Transaction, experiment_id: str, key: str) -> None:
    """Delete one tag; raises NotFound."""
    active_experiment(tx, experiment_id)
    if not store.delete_tag(tx, experiment_id, key):
        raise NotFound(
            f"no tag {key!r} at experiment {experiment_id}",
            hint="Look at the tags of the experiment.",
            experiment=experiment_id,
        )


def active_experiment(tx: Transaction, experiment_id: str) -> Experiment:
    """Return one experiment and hold it; raises NotFound, or Invalid where it is deleted."""
    experiment = get_experiment(tx, experiment_id, lock=True)
    check_active(experiment.id, experiment.stage)
    return experiment


def check_takes_runs(tx: Transaction, experiment_id: str) -> None:
    """Raise NotFound where there is no such experiment, and Invalid where it is deleted."""
    stage = store.stage_of(tx, experiment_id)
    check_active(experiment_id, get_experiment(tx, experiment_id).stage if stage is None else stage)


def check_active(experiment_id: str, stage: Stage) -> None:
    """Raise Invalid if an experiment of this stage does not change and takes no runs."""
    if stage is not Stage.ACTIVE:
        raise Invalid(
            f"experiment {experiment_id} is {stage}",
            hint="Restore it first; only an active one can change and take runs.",
            experiment=experiment_id,
        )


def _save(tx: Transaction, experiment: Experiment) -> Experiment:
    saved = replace(experiment, updated_at=tx.now)
    store.update_experiment(
        tx, saved.id, name=saved.name, stage=saved.stage, updated_at=saved.updated_at
    )
    return saved
