"""What runs use and make: datasets and logged models."""

from __future__ import annotations

from everfit.errors import Invalid
from everfit.mlflow_api import wire
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.runs import Named
from everfit.mlflow_api.values import tag_values
from everfit.mlflow_api.wire import Message, Nothing
from everfit.tracking import (
    Dataset,
    DatasetInput,
    ModelOutput,
    log_inputs,
    log_outputs,
    search_datasets,
)

MOST_EXPERIMENTS = 20


class LogInputs(Named, kw_only=True):
    """Say what a run uses."""

    datasets: list[wire.DatasetInput] = []
    models: list[wire.ModelInput] = []


class LogOutputs(Named, kw_only=True):
    """Say which logged models a run makes."""

    models: list[wire.ModelOutput]


class SearchDatasets(Message):
    """Ask for the datasets of experiments."""

    experiment_ids: list[str] = []


def log(call: Call, request: LogInputs) -> Nothing:
    """Say which datasets and logged models a run uses."""
    datasets = [_used(one) for one in request.datasets]
    log_inputs(call.tx, request.id(), datasets, [one.model_id for one in request.models])
    return {}


def _used(sent: wire.DatasetInput) -> DatasetInput:
    return DatasetInput(
        dataset=Dataset(
            name=sent.dataset.name,
            digest=sent.dataset.digest,
            source_type=sent.dataset.source_type,
            source=sent.dataset.source,
            schema=sent.dataset.schema,
            profile=sent.dataset.profile,
        ),
        tags=tag_values(sent.tags),
    )


def log_models(call: Call, request: LogOutputs) -> Nothing:
    """Say which logged models a run makes."""
    models = [ModelOutput(model=one.model_id, step=one.step or 0) for one in request.models]
    log_outputs(call.tx, request.id(), models)
    return {}


def search(call: Call, request: SearchDatasets) -> dict[str, object]:
    """Return the datasets that the runs of experiments used."""
    count = len(request.experiment_ids)
    if not 1 <= count <= MOST_EXPERIMENTS:
        raise Invalid(
            f"the datasets of {count} experiments are asked for",
            hint=f"Send 1 to {MOST_EXPERIMENTS} experiment_ids.",
        )
    found = [
        wire.DatasetSummary(
            experiment_id=one.experiment, name=one.name, digest=one.digest, context=one.context
        )
        for one in search_datasets(call.tx, request.experiment_ids)
    ]
    return {"dataset_summaries": found}
