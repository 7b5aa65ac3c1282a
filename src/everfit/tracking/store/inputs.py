"""Rows of what runs used and made: datasets and logged models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple

from everfit.filters import chunks, listed
from everfit.kernel import Transaction, canonical_json
from everfit.tracking.model import (
    CONTEXT_TAG,
    Dataset,
    DatasetInput,
    DatasetSummary,
    ModelOutput,
)

INPUT, OUTPUT = "input", "output"
_FIND_DATASET = """
SELECT number FROM tracking_datasets
WHERE project = ? AND experiment = ? AND name = ? AND digest = ?
"""
_ADD_DATASET = """
INSERT INTO tracking_datasets
    (project, experiment, name, digest, source_type, source, schema, profile)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""


def dataset_number(tx: Transaction, experiment: str, dataset: Dataset) -> int:
    """Return the number of a dataset of an experiment; it is added where there was none.

    One that is there stays as it was described first.
    """
    name = (tx.project, experiment, dataset.name, dataset.digest)
    number: int | None = tx.execute(_FIND_DATASET, name).scalar()
    if number is None:
        tx.execute(_ADD_DATASET, (tx.project, experiment, *astuple(dataset)))
        number = int(tx.execute(_FIND_DATASET, name).scalar())
    return number


def put_inputs(tx: Transaction, run: int, used: Sequence[tuple[int, DatasetInput]]) -> None:
    """Add what a run used, datasets by their numbers; one that it used already stays as it is."""
    rows = [
        (
            run,
            number,
            one.dataset.name,
            one.dataset.digest,
            one.tags.get(CONTEXT_TAG),
            canonical_json(dict(one.tags)),
        )
        for number, one in used
    ]
    if rows:
        tx.execute(
            "INSERT INTO tracking_inputs (run, dataset, name, digest, context, tags) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            rows,
        )


def inputs_of(tx: Transaction, runs: Sequence[int]) -> dict[int, list[DatasetInput]]:
    """Return the datasets that these runs used, in the order in which they were logged."""
    rows = [
        row
        for part in chunks(runs)
        for row in tx.execute(
            f"SELECT run, dataset, tags FROM tracking_inputs WHERE run IN ({listed(part)}) "
            "ORDER BY number"
        )
    ]
    # Most runs share their datasets, which can be long: each is read once.
    datasets = _datasets(tx, sorted({dataset for _, dataset, _ in rows}))
    found: dict[int, list[DatasetInput]] = {run: [] for run in runs}
    for run, dataset, tags in rows:
        found[run].append(DatasetInput(dataset=datasets[dataset], tags=json.loads(tags)))
    return found


def _datasets(tx: Transaction, numbers: Sequence[int]) -> dict[int, Dataset]:
    found = {}
    for part in chunks(numbers):
        query = (
            "SELECT number, name, digest, source_type, source, schema, profile "
            f"FROM tracking_datasets WHERE number IN ({listed(part)})"
        )
        for number, name, digest, source_type, source, schema, profile in tx.execute(query):
            found[number] = Dataset(
                name=name,
                digest=digest,
                source_type=source_type,
                source=source,
                schema=schema,
                profile=profile,
            )
    return found


def summaries(tx: Transaction, experiments: Sequence[str], *, limit: int) -> list[DatasetSummary]:
    """Return at most ``limit`` different datasets and contexts that runs logged, by name."""
    marks = ", ".join("?" * len(experiments))
    query = (
        "SELECT DISTINCT d.experiment, d.name, d.digest, coalesce(i.context, '') "
        "FROM tracking_datasets d JOIN tracking_inputs i ON i.dataset = d.number "
        f"WHERE d.project = ? AND d.experiment IN ({marks}) ORDER BY 1, 2, 3, 4 LIMIT ?"
    )
    return [
        DatasetSummary(experiment=experiment, name=name, digest=digest, context=context or None)
        for experiment, name, digest, context in tx.execute(
            query, (tx.project, *experiments, limit)
        )
    ]


def put_models(tx: Transaction, run: int, role: str, models: Sequence[ModelOutput]) -> None:
    """Add logged models that a run used or made; one that is there is moved to its new step."""
    rows = [(run, role, one.model, one.step) for one in models]
    if rows:
        tx.execute(
            "INSERT INTO tracking_run_models (run, role, model, step) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (run, role, model) DO UPDATE SET step = excluded.step",
            rows,
        )


def models_of(tx: Transaction, runs: Sequence[int]) -> dict[tuple[int, str], list[ModelOutput]]:
    """Return the logged models of these runs by run and role, by step and id."""
    found: dict[tuple[int, str], list[ModelOutput]] = {}
    for part in chunks(runs):
        query = (
            "SELECT run, role, model, step FROM tracking_run_models "
            f"WHERE run IN ({listed(part)}) ORDER BY step, model"
        )
        for run, role, model, step in tx.execute(query):
            found.setdefault((run, role), []).append(ModelOutput(model=model, step=step))
    return found
