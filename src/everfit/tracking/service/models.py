"""Logged models: made, measured, found, and ended in one way or another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from everfit.errors import Conflict, Invalid, NotFound, Problem
from everfit.filters import MAX_ORDERS
from everfit.kernel import Transaction
from everfit.tracking.model import (
    LoggedModel,
    LoggedModelData,
    MetricPoint,
    ModelPoint,
    ModelSearch,
    ModelStatus,
    Stage,
)
from everfit.tracking.naming import made_up_name, model_id
from everfit.tracking.rules import check_measured, check_model_name, check_model_texts, shown
from everfit.tracking.service import experiments
from everfit.tracking.service.logged import log_points
from everfit.tracking.service.runs import number_of
from everfit.tracking.store import logged, model_points
from everfit.tracking.store import models as store
from everfit.tracking.store.find_models import find_models


def create_logged_model(
    tx: Transaction,
    experiment_id: str,
    *,
    name: str | None = None,
    type: str = "",
    source_run: str = "",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> LoggedModelData:
    """Make a logged model in an active experiment and return it, its files still to come.

    Without a name it is given one that can be remembered.

    Raises
    ------
    NotFound, Invalid
        If there is no such experiment, it is deleted, or a text cannot be kept.
    """
    if name is not None:
        check_model_name(name)
    params, tags = params or {}, tags or {}
    said = {"type": type, "source run": source_run}
    check_model_texts("a new logged model", "field", said)
    check_model_texts("a new logged model", "parameter", params)
    check_model_texts("a new logged model", "tag", tags)
    experiments.active_experiment(tx, experiment_id)
    id, now = model_id(tx.now), _now(tx)
    model = LoggedModel(
        id=id,
        experiment=experiment_id,
        name=name or made_up_name(id),
        type=type,
        source_run=source_run,
        created_at=now,
        updated_at=now,
    )
    number = store.insert_model(tx, model)
    store.put_texts(tx, store.PARAMS, number, params)
    store.put_texts(tx, store.TAGS, number, tags)
    tx.record("logged-model-created", id, experiment=experiment_id, name=model.name, run=source_run)
    return LoggedModelData(
        model=model, params=dict(sorted(params.items())), tags=dict(sorted(tags.items()))
    )


def get_logged_model(tx: Transaction, model_id: str, *, deleted: bool = False) -> LoggedModelData:
    """Return one logged model, a deleted one only where ``deleted``; raises NotFound."""
    number, model = _find(tx, model_id)
    if model.stage is Stage.DELETED and not deleted:
        raise _absent(tx, [model_id])
    return load_models(tx, [number])[0]


def finalize_logged_model(tx: Transaction, model_id: str, status: ModelStatus) -> LoggedModelData:
    """Write how the upload of a model's files ended, and return the model; raises NotFound."""
    number, model = _find(tx, model_id, lock=True)
    store.update_model(tx, number, replace(model, status=status, updated_at=_now(tx)))
    if status is not model.status:
        tx.record(f"logged-model-{status}", model_id, name=model.name, before=model.status)
    return load_models(tx, [number])[0]


def delete_logged_model(tx: Transaction, model_id: str) -> None:
    """Hide a logged model; its files stay. Raises NotFound."""
    number, model = _find(tx, model_id, lock=True)
    if model.stage is Stage.ACTIVE:
        store.update_model(tx, number, replace(model, stage=Stage.DELETED, updated_at=_now(tx)))
        tx.record("logged-model-deleted", model_id, name=model.name)


def log_model_params(tx: Transaction, model_id: str, values: Mapping[str, str]) -> None:
    """Add parameters; one that is there with the same value is left alone.

    Raises
    ------
    Conflict
        If a parameter has another value already: parameters never change.
    NotFound, Invalid
        If there is no such model, or a text cannot be kept.
    """
    check_model_texts(f"logged model {model_id}", "parameter", values)
    number, _ = _find(tx, model_id, lock=True)
    present = store.texts(tx, store.PARAMS, [number])[number]
    problems = [
        Problem(path=key, found=shown(text), remedy=f"it is {shown(present[key])} already")
        for key, text in values.items()
        if present.get(key, text) != text
    ]
    if problems:
        raise Conflict.of(
            f"parameters of logged model {model_id}",
            problems,
            hint="Parameters never change: log a new model, or use another name.",
        )
    store.put_texts(tx, store.PARAMS, number, values)


def set_model_tags(tx: Transaction, model_id: str, values: Mapping[str, str]) -> None:
    """Set tags, replacing those of the same keys; raises NotFound, Invalid."""
    check_model_texts(f"logged model {model_id}", "tag", values)
    store.put_texts(tx, store.TAGS, _find(tx, model_id)[0], values)


def delete_model_tag(tx: Transaction, model_id: str, key: str) -> None:
    """Delete one tag; raises NotFound."""
    if not store.delete_tag(tx, _find(tx, model_id)[0], key):
        raise NotFound(
            f"no tag {key!r} at logged model {model_id}",
            hint="Look at the tags of the model.",
            model=model_id,
        )


def log_model_points(tx: Transaction, run_id: str, points: Sequence[ModelPoint]) -> None:
    """Add points to the history of a run's metrics, and to that of the models they measure.

    Raises
    ------
    NotFound, Invalid
        As ``log_points``, and if there is no such model, or a dataset cannot be kept.
    """
    check_measured(f"metrics of run {run_id}", points)
    ids = sorted({one.model for one in points})
    models = store.model_numbers(tx, ids)
    if len(models) < len(ids):
        raise _absent(tx, [id for id in ids if id not in models])
    log_points(tx, run_id, [one.point for one in points])
    if not points:
        return
    run = number_of(tx, run_id)
    series = dict(logged.series_numbers(tx, run, [one.point.key for one in points]))
    found: dict[model_points.Series, list[MetricPoint]] = {}
    for one in points:
        place = models[one.model], series[one.point.key], one.dataset, one.digest
        found.setdefault(place, []).append(one.point)
    model_points.put_model_points(tx, run, found)


def search_logged_models(
    tx: Transaction, search: ModelSearch
) -> tuple[list[LoggedModelData], bool]:
    """Return the logged models that fit, in order, and whether there are more behind them.

    Raises
    ------
    Invalid
        If they are ordered by too many keys, or looked at on too many datasets.
    """
    bounds = (("keys of an order", search.orders, MAX_ORDERS), ("datasets", search.datasets, 100))
    problems = [
        Problem(path=what, found=f"{len(given):,}", remedy=f"give at most {most}")
        for what, given, most in bounds
        if len(given) > most
    ]
    if problems:
        raise Invalid.of("the search of logged models", problems, hint="Search more than once.")
    numbers = find_models(tx, replace(search, limit=search.limit + 1))
    return load_models(tx, numbers[: search.limit]), len(numbers) > search.limit


def load_models(tx: Transaction, numbers: Sequence[int]) -> list[LoggedModelData]:
    """Return the logged models of these numbers with what belongs to them, in this order."""
    models = store.models_by_number(tx, numbers)
    params = store.texts(tx, store.PARAMS, numbers)
    tags = store.texts(tx, store.TAGS, numbers)
    points = model_points.points_of(tx, numbers)
    return [
        LoggedModelData(model=models[n], params=params[n], tags=tags[n], points=tuple(points[n]))
        for n in numbers
    ]


def _find(tx: Transaction, model_id: str, *, lock: bool = False) -> tuple[int, LoggedModel]:
    found = store.find_model(tx, model_id, lock=lock)
    if found is None:
        raise _absent(tx, [model_id])
    return found


def _absent(tx: Transaction, ids: Sequence[str]) -> NotFound:
    return NotFound(
        f"no logged model {', '.join(map(repr, ids))} in project {tx.project!r}",
        hint="Search for the logged models of the experiment, or log the model first.",
        models=list(ids),
    )


def _now(tx: Transaction) -> datetime:
    """Return the time in whole milliseconds, in which clients see it and search for it."""
    return tx.now.replace(microsecond=tx.now.microsecond // 1000 * 1000)
