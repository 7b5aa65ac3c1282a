"""What was logged elsewhere, brought over as it was: ids, times, states and histories are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from everfit.errors import NotFound
from everfit.kernel import Transaction
from everfit.tracking.model import (
    Experiment,
    LoggedModel,
    LoggedModelData,
    MetricPoint,
    ModelOutput,
    ModelPoint,
    Run,
    RunData,
)
from everfit.tracking.rules import TEXT, check_experiment_name
from everfit.tracking.service.runs import number_of
from everfit.tracking.store import experiments as experiment_store
from everfit.tracking.store import history, inputs, logged, model_points
from everfit.tracking.store import models as model_store
from everfit.tracking.store import runs as store

# So many points are written by one statement: they are held in memory until then.
BATCH = 20_000


def import_experiment(tx: Transaction, experiment: Experiment) -> tuple[Experiment, bool]:
    """Return the experiment of that name, and whether it was made now.

    A new one is made as ``experiment`` says, under the next free id. One that is there stays as
    it is, and is given the tags that it does not have.

    Raises
    ------
    Invalid
        If no experiment can be called so.
    """
    check_experiment_name(experiment.name)
    experiment_store.hold_all(tx)
    present = experiment_store.get_experiment(tx, name=experiment.name)
    if present is None:
        made = Experiment(
            id=experiment_store.next_id(tx),
            name=experiment.name,
            stage=experiment.stage,
            created_at=experiment.created_at,
            updated_at=experiment.updated_at,
            location=experiment.location,
            tags=dict(experiment.tags),
        )
        experiment_store.insert_experiment(tx, made)
        experiment_store.put_tags(tx, made.id, made.tags)
        tx.record("experiment-imported", made.id, name=made.name, location=made.location)
        return made, True
    new = {key: text for key, text in experiment.tags.items() if key not in present.tags}
    experiment_store.put_tags(tx, present.id, new)
    found = experiment_store.get_experiment(tx, id=present.id)
    return found or present, False


def import_run(
    tx: Transaction, data: RunData, points: Iterable[MetricPoint], *, source: str
) -> bool:
    """Add a run with all it logged, also a deleted one; return False where its id is taken.

    ``data`` and ``points`` must be such as `everfit.tracking.sift` lets through; the metrics of
    ``data`` are not looked at, for they follow from the points. ``source`` is told the ledger.

    Raises
    ------
    NotFound
        If its experiment is not there.
    """
    run = data.run
    _require_experiment(tx, run.experiment)
    number = store.insert_run(tx, run)
    if number is None:
        return False
    logged.put_params(tx, number, {key: (text, TEXT) for key, text in data.params.items()})
    logged.put_tags(tx, number, data.tags)
    for part in _parts(points):
        logged.put_points(tx, number, part)
    _put_inputs(tx, number, data)
    told = {"name": run.name, "experiment": run.experiment, "source": source}
    tx.record("run-imported", run.id, actor=run.actor or "everfit", **told)
    return True


def _put_inputs(tx: Transaction, number: int, data: RunData) -> None:
    used = [
        (inputs.dataset_number(tx, data.run.experiment, one.dataset), one) for one in data.datasets
    ]
    inputs.put_inputs(tx, number, used)
    inputs.put_models(tx, number, inputs.INPUT, [ModelOutput(model=id) for id in data.models])
    inputs.put_models(tx, number, inputs.OUTPUT, data.outputs)


def _parts(points: Iterable[MetricPoint]) -> Iterator[list[MetricPoint]]:
    rest = iter(points)
    while part := list(islice(rest, BATCH)):
        yield part


def import_logged_model(tx: Transaction, data: LoggedModelData, *, source: str) -> bool:
    """Add a logged model with what measures it; return False where its id is taken.

    Raises
    ------
    NotFound
        If its experiment, or a run whose points measure it, is not there.
    """
    model = data.model
    if model_store.find_model(tx, model.id, lock=True) is not None:
        return False
    _require_experiment(tx, model.experiment)
    number = model_store.insert_model(tx, model)
    model_store.put_texts(tx, model_store.PARAMS, number, data.params)
    model_store.put_texts(tx, model_store.TAGS, number, data.tags)
    by_run: dict[str, list[ModelPoint]] = {}
    for one in data.points:
        by_run.setdefault(one.run, []).append(one)
    for run_id, points in by_run.items():
        _put_model_points(tx, number_of(tx, run_id), number, points)
    told = {"name": model.name, "experiment": model.experiment, "source": source}
    tx.record("logged-model-imported", model.id, **told)
    return True


def _require_experiment(tx: Transaction, experiment: str) -> None:
    if experiment_store.stage_of(tx, experiment) is None:
        raise NotFound(
            f"no experiment {experiment!r} in project {tx.project!r}",
            hint="Import the experiment before what lies in it.",
            experiment=experiment,
        )


def _put_model_points(tx: Transaction, run: int, model: int, points: Sequence[ModelPoint]) -> None:
    keys = sorted({one.point.key for one in points})
    series = dict(logged.series_numbers(tx, run, keys))
    unknown = [one.point for one in points if one.point.key not in series]
    if unknown:
        # A run has every point that measures its models.
        logged.put_points(tx, run, unknown)
        series = dict(logged.series_numbers(tx, run, keys))
    found: dict[model_points.Series, list[MetricPoint]] = {}
    for one in points:
        place = model, series[one.point.key], one.dataset, one.digest
        found.setdefault(place, []).append(one.point)
    model_points.put_model_points(tx, run, found)


def runs_there(tx: Transaction, ids: Sequence[str]) -> dict[str, Run]:
    """Return those of these runs that are here, deleted or not, by id."""
    return store.runs_by_id(tx, ids)


def logged_models_there(tx: Transaction, ids: Sequence[str]) -> dict[str, LoggedModel]:
    """Return those of these logged models that are here, deleted or not, by id."""
    numbers = list(model_store.model_numbers(tx, ids).values())
    found = model_store.models_by_number(tx, numbers)
    return {model.id: model for model in found.values()}


def count_points(tx: Transaction, run_id: str) -> dict[str, int]:
    """Return how many points each metric of a run has; nothing where there is no such run."""
    found = store.find(tx, run_id)
    return {} if found is None else history.counts(tx, found[0])
