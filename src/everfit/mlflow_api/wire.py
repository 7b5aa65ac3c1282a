"""What MLflow's messages look like as JSON. Names and shapes are the protocol's, not ours.

A field that is not set is left out of an answer. Whole numbers of 64 bits are numbers in an answer
and numbers or texts in a request; NaN and infinities are the texts ``NaN``, ``Infinity``.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Message(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Base of all messages: fields at their default are left out."""


# What comes by the ten thousand and holds no other object is none of the garbage collector's.
class Tag(Message, gc=False):
    """A key with its text, of anything that has tags; a parameter looks the same."""

    key: str
    value: str = ""


class Metric(Message, gc=False):
    """One point of a metric; of a logged model too where ``model_id`` is set."""

    key: str
    value: float | str
    timestamp: int | None = None
    step: int | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
    model_id: str | None = None
    run_id: str | None = None


class Experiment(Message):
    """An experiment."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    last_update_time: int
    creation_time: int
    tags: list[Tag] = []


class RunInfo(Message):
    """A run without what it logged."""

    run_id: str
    run_uuid: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    artifact_uri: str
    lifecycle_stage: str
    end_time: int | None = None


class RunData(Message):
    """What a run logged."""

    metrics: list[Metric] = []
    params: list[Tag] = []
    tags: list[Tag] = []


class Dataset(Message):
    """A dataset as a client describes it."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None


class DatasetInput(Message):
    """A dataset that a run used, with tags such as its context."""

    dataset: Dataset
    tags: list[Tag] = []


class ModelInput(Message):
    """A logged model that a run used."""

    model_id: str


class ModelOutput(Message):
    """A logged model that a run made, at a step."""

    model_id: str
    step: int | None = None


class RunInputs(Message):
    """What a run used."""

    dataset_inputs: list[DatasetInput] = []
    model_inputs: list[ModelInput] = []


class RunOutputs(Message):
    """What a run made."""

    model_outputs: list[ModelOutput] = []


class Run(Message):
    """A run with what it logged, used and made."""

    info: RunInfo
    data: RunData
    inputs: RunInputs
    outputs: RunOutputs | None = None


class DatasetSummary(Message):
    """A dataset that runs of an experiment used, and what for."""

    experiment_id: str
    name: str
    digest: str
    context: str | None = None


class LoggedModelInfo(Message):
    """A logged model without its parameters and metrics."""

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str
    source_run_id: str
    tags: list[Tag] = []


class LoggedModelData(Message):
    """The parameters of a logged model and the points that measure it."""

    params: list[Tag] = []
    metrics: list[Metric] = []


class LoggedModel(Message):
    """A logged model."""

    info: LoggedModelInfo
    data: LoggedModelData


class FileInfo(Message):
    """A file, or a folder, of artifacts."""

    path: str
    is_dir: bool
    file_size: int | None = None


Nothing = dict[str, Any]
"""The answer that says nothing but that it was done."""
