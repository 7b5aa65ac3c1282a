"""What a run and an experiment are, and how their state may change. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from everfit.errors import Conflict, Invalid
from everfit.filters import Comparison, Order

Scalar = str | int | float | bool | None
"""A parameter's value: what JSON writes without brackets."""

DEFAULT_EXPERIMENT = "0"
"""The experiment of runs that name none; it is always there."""

NAME_TAG = "mlflow.runName"
PARENT_TAG = "mlflow.parentRunId"
"""Tags in which the field's clients look for a run's name and parent; kept equal to the run's."""

CONTEXT_TAG = "mlflow.data.context"
"""The tag of an input that says what a run used the dataset for: training, testing, …"""


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    SCHEDULED = "scheduled"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({RunStatus.FINISHED, RunStatus.FAILED, RunStatus.CANCELLED})


class Stage(StrEnum):
    """Whether a run or an experiment is shown, or was deleted and can be restored."""

    ACTIVE = "active"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A named group of runs.

    ``location`` is where clients put its artifacts, if not into Everfit's own tree.
    """

    id: str
    name: str
    stage: Stage
    created_at: datetime
    updated_at: datetime
    location: str | None = None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of something (``kind``: training, evaluation, …), perhaps inside a parent."""

    id: str
    experiment: str = DEFAULT_EXPERIMENT
    kind: str
    name: str
    status: RunStatus
    stage: Stage = Stage.ACTIVE
    actor: str
    started_at: datetime
    finished_at: datetime | None = None
    deleted_at: datetime | None = None
    parent: str | None = None
    error: str | None = None


class MetricPoint(NamedTuple):
    """One value of a metric. NaN and infinities are values like any other.

    ``at_us`` is its time in microseconds since 1970: a number and not a ``datetime``, for they
    come by the hundred thousand a second.
    """

    key: str
    value: float
    step: int
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset as a client describes it; name and digest tell it from others of an experiment.

    ``source`` says where the rows come from, in the words of ``source_type``; ``schema`` and
    ``profile`` are JSON of the client's.
    """

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInput:
    """A dataset that a run used; the tag ``CONTEXT_TAG`` says what for."""

    dataset: Dataset
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    """A dataset that runs of an experiment used, and what for."""

    experiment: str
    name: str
    digest: str
    context: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutput:
    """A logged model that a run made, at a step of the run."""

    model: str
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """A run with what it logged: latest point of each metric, parameters as texts, tags.

    And with what it used and made: datasets, and logged models by id.
    """

    run: Run
    metrics: tuple[MetricPoint, ...]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    datasets: tuple[DatasetInput, ...] = ()
    models: tuple[str, ...] = ()
    outputs: tuple[ModelOutput, ...] = ()


class ModelStatus(StrEnum):
    """Whether the files of a logged model are there."""

    UNSPECIFIED = "unspecified"
    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModel:
    """A model that was logged to an experiment; a version of the registry may come of it.

    ``type`` is a word of the client's, ``source_run`` the id of the run that made the model, and
    both are empty where they were not said.
    """

    id: str
    experiment: str
    name: str
    type: str = ""
    source_run: str = ""
    status: ModelStatus = ModelStatus.PENDING
    stage: Stage = Stage.ACTIVE
    created_at: datetime
    updated_at: datetime


class ModelPoint(NamedTuple):
    """A point of a run's metric that measures a logged model, on a dataset where one is named."""

    point: MetricPoint
    model: str
    dataset: str = ""
    digest: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModelData:
    """A logged model with its parameters, its tags, and every point that measures it."""

    model: LoggedModel
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: tuple[ModelPoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSearch:
    """Which runs are asked for: where, by which clauses, in which order, and which part of them."""

    experiments: Sequence[str]
    stages: Sequence[Stage] = (Stage.ACTIVE,)
    clauses: Sequence[Comparison] = ()
    orders: Sequence[Order] = ()
    limit: int = 1_000
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs a person asks for, in writing; ``experiments`` are names, none for all of them.

    ``filter`` and ``order_by`` are written as `everfit.filters` says; ``deleted`` asks
    for deleted runs too.
    """

    filter: str | None = None
    order_by: Sequence[str] = ()
    experiments: Sequence[str] = ()
    limit: int = 1_000
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentSearch:
    """Which experiments are asked for: by which clauses, in which order, and which part of them."""

    stages: Sequence[Stage] = (Stage.ACTIVE,)
    clauses: Sequence[Comparison] = ()
    orders: Sequence[Order] = ()
    limit: int = 1_000
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetChoice:
    """The datasets of a name, and of a digest where it is given."""

    name: str
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOrder:
    """One key that logged models are ordered by: of a metric, its values on ``dataset`` only."""

    order: Order
    dataset: DatasetChoice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSearch:
    """Which logged models are asked for: where, by which clauses, in which order, which part.

    Where ``datasets`` are given, the clauses about metrics mean values on one of them, and
    without such a clause a model must have been measured on one.
    """

    experiments: Sequence[str]
    clauses: Sequence[Comparison] = ()
    datasets: Sequence[DatasetChoice] = ()
    orders: Sequence[ModelOrder] = ()
    limit: int = 1_000
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A named blob: its digest, size in bytes and media type."""

    name: str
    digest: str
    bytes: int
    media: str
    at: datetime


def resume(run: Run) -> Run:
    """Return ``run`` as it goes on when it is started again under the same id.

    A failed or cancelled run runs again; a finished one stays finished, so that work whose
    last acknowledgement was lost can be repeated.
    """
    if run.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        return replace(run, status=RunStatus.RUNNING, finished_at=None, error=None)
    return run


def finish(run: Run, status: RunStatus, *, at: datetime, error: str | None) -> Run:
    """Return ``run`` ended in ``status``; ending it twice in the same way changes nothing.

    Raises
    ------
    Invalid
        If ``status`` is no end.
    Conflict
        If the run has already ended in another way.
    """
    if status not in ENDED:
        raise Invalid(
            f"run {run.id} cannot be finished as '{status}'",
            hint="Finish it as finished, failed or cancelled.",
        )
    if run.status not in ENDED:
        return replace(run, status=status, finished_at=at, error=error)
    if run.status is not status:
        raise Conflict(
            f"run {run.id} is {run.status} already; it cannot become {status}",
            hint="Start it again under the same id first, or start a new run.",
            run=run.id,
        )
    return run


def artifact_folder(run: Run) -> str:
    """Return the path of the run's artifacts in the project's tree of files."""
    return f"{run.experiment}/{run.id}/artifacts"


def model_folder(model: LoggedModel) -> str:
    """Return the path of a logged model's files in the project's tree of files."""
    return f"{model.experiment}/models/{model.id}/artifacts"


def recency(point: MetricPoint) -> tuple[int, int, float]:
    """Return what the latest point of a metric has most of: step, then time, then value.

    NaN counts as 0.
    """
    # NaN is the only value that differs from itself.
    return point.step, point.at_us, point.value if point.value == point.value else 0.0
