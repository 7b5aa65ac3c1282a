"""The policy: what a project declares about its model's life. Frozen values, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from everfit.data import Expectation, Role, Segregation, Task
from everfit.deployment import RollbackRules, RolloutStep
from everfit.evaluation import Gate
from everfit.training import CandidateSpec


class TriggerKind(StrEnum):
    """What can start a retraining."""

    SCHEDULE = "schedule"
    NEW_ROWS = "new_rows"
    QUALITY = "quality"
    DRIFT = "drift"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One line of ``retrain.when``: its words, its kind, and what the kind needs to know."""

    words: str
    kind: TriggerKind
    every: str | None = None
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPolicy:
    """Where rows come from and what their columns are."""

    source: str
    target: str | None
    query: str | None = None
    time: str | None = None
    group: str | None = None
    exclude: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    expect: tuple[Expectation, ...] = ()
    drop_missing_target: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthPolicy:
    """When the label of a prediction is expected, and the column that identifies its row."""

    arrives: timedelta = timedelta(days=1)
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPolicy:
    """Which candidates compete, by which metric, on which split."""

    candidates: tuple[CandidateSpec, ...]
    metric: str
    trials: int = 1
    seed: int = 0
    split: Segregation = field(default_factory=Segregation)
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorPolicy:
    """How production is watched: the length of a window and the tolerated false alarms."""

    window: timedelta = timedelta(days=1)
    false_alarms: float = 0.001
    tolerance: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much retraining is allowed: runs per day, cost per week, and rest between two runs."""

    per_day: int = 1
    cost_per_week: float | None = None
    currency: str = "EUR"
    cooldown: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainPolicy:
    """When a retraining starts, and its limits."""

    when: tuple[Trigger, ...]
    at_most: Budget = field(default_factory=Budget)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One ``everfit.yaml``, decoded."""

    model: str
    task: Task
    data: DataPolicy
    truth: TruthPolicy
    train: TrainPolicy
    gates: tuple[Gate, ...]
    rollout: tuple[RolloutStep, ...]
    rollback: RollbackRules
    monitor: MonitorPolicy
    retrain: RetrainPolicy
