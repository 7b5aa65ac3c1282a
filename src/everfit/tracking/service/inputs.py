"""What runs use and make: datasets and logged models."""

from __future__ import annotations

from collections.abc import Sequence

from everfit.errors import Invalid
from everfit.kernel import Transaction
from everfit.tracking.model import Dataset, DatasetInput, DatasetSummary, ModelOutput
from everfit.tracking.rules import MOST_INT64, check_inputs, check_model_ids
from everfit.tracking.service.runs import active_number
from everfit.tracking.store import inputs as store
from everfit.tracking.store import runs as run_store

MOST_SUMMARIES = 1_000


def log_inputs(
    tx: Transaction,
    run_id: str,
    datasets: Sequence[DatasetInput] = (),
    models: Sequence[str] = (),
) -> None:
    """Say which datasets and logged models a run uses; to say it again changes nothing.

    A dataset is described once in an experiment: what another of the same name and digest says
    of its schema or source is not looked at.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, it is deleted, or a text cannot be kept.
    """
    check_inputs(f"the inputs of run {run_id}", datasets)
    check_model_ids(run_id, models)
    run = run_store.get_run(tx, run_id, lock=True)
    number = active_number(tx, run_id)
    first: dict[tuple[str, str], Dataset] = {}
    for used in datasets:
        first.setdefault(_name(used.dataset), used.dataset)
    # In one order everywhere: two writers that hold each other's rows would wait for ever.
    numbers = {
        name: store.dataset_number(tx, run.experiment, first[name]) for name in sorted(first)
    }
    store.put_inputs(tx, number, [(numbers[_name(used.dataset)], used) for used in datasets])
    store.put_models(tx, number, store.INPUT, [ModelOutput(model=model) for model in models])


def _name(dataset: Dataset) -> tuple[str, str]:
    return dataset.name, dataset.digest


def log_outputs(tx: Transaction, run_id: str, models: Sequence[ModelOutput]) -> None:
    """Say which logged models a run makes, and at which step; the last word on a model counts.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, it is deleted, or an id or a step cannot be kept.
    """
    check_model_ids(run_id, [one.model for one in models])
    wrong = [one for one in models if not -MOST_INT64 <= one.step <= MOST_INT64]
    if wrong:
        raise Invalid(
            f"model {wrong[0].model} is made at step {wrong[0].step}", hint="Use 64 bits."
        )
    run_store.get_run(tx, run_id, lock=True)
    store.put_models(tx, active_number(tx, run_id), store.OUTPUT, models)


def search_datasets(tx: Transaction, experiments: Sequence[str]) -> list[DatasetSummary]:
    """Return the datasets that runs of these experiments used, each with each of its contexts.

    At most 1,000, by experiment and name.
    """
    return store.summaries(tx, experiments, limit=MOST_SUMMARIES) if experiments else []
