"""What a training is asked for, and what it gives. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from everfit.data import Expectation, Role, Segregation, Source, Task
from everfit.registry import ModelVersion

# Under this name further rows bring their time, whatever the source calls its own.
EXTRA_TIME = "time of the row"
# Under this word a training logs the parameters of its best trial, which no step can.
BEST = "best"


class Encoding(StrEnum):
    """How feature columns become numbers for an estimator."""

    SCALED = "scaled"
    TREES = "trees"
    BINNED = "binned"


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSpec:
    """One competitor: a word of Everfit's or a function of the pipeline, and its parameters.

    ``search`` gives, per parameter to search, ``[low, high]`` or a list of choices.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """Everything that decides what a training gives: same request, same data, same model.

    Attributes
    ----------
    base
        The folder that relative paths of the source start from, and whose code is recorded.
    as_of
        Rows whose time lies after it are left out, as if they were not known yet.
    extra
        Digest of a frame of further rows (labelled predictions), appended to what is collected.
    key
        Column that tells events apart: a further row is left out if the source has its key.
    trials
        How many models are trained in all while searching; each candidate's given or default
        parameters always come first.
    window_seconds
        Length of a monitoring window, for the reference profile.
    """

    model: str
    source: Source
    base: Path
    metric: str
    candidates: tuple[CandidateSpec, ...]
    task: Task | None = None
    target: str | None = None
    time: str | None = None
    group: str | None = None
    exclude: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    as_of: datetime | None = None
    extra: str | None = None
    key: str | None = None
    trials: int = 1
    segregation: Segregation = field(default_factory=Segregation)
    expectations: tuple[Expectation, ...] = ()
    drop_missing_target: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    pipeline: Path | None = None
    window_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateScore:
    """One trained set of parameters and its metric on the validation rows."""

    name: str
    params: Mapping[str, Any]
    value: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The registered version and how it was chosen.

    ``test`` and ``validation`` are digests of the held-out frames (``load_value`` reads them);
    ``leaderboard`` lists every trained set of parameters, best first; ``time`` is the column
    of the held-out frames that says when a row happened, None where none does.
    """

    run_id: str
    version: ModelVersion
    dataset: str
    test: str
    validation: str
    leaderboard: tuple[CandidateScore, ...]
    metrics: Mapping[str, float]
    steps: int
    cached: int
    time: str | None = None
