"""What a store of another program holds, in our own values, and what an import of it came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from everfit.errors import Problem
from everfit.registry import ModelVersion, RegisteredModel
from everfit.tracing import Trace
from everfit.tracking import Experiment, LoggedModelData, MetricPoint, RunData


class Kind(StrEnum):
    """What is counted."""

    EXPERIMENTS = "experiments"
    RUNS = "runs"
    PARAMS = "parameters"
    POINTS = "metric points"
    TAGS = "tags of runs"
    DATASETS = "datasets used"
    LOGGED_MODELS = "logged models"
    TRACES = "traces"
    LINKS = "links of traces to runs"
    FILES = "artifact files"
    MODELS = "registered models"
    VERSIONS = "model versions"
    ALIASES = "aliases"


@dataclass(slots=True)
class Count:
    """How many of a kind the source has, came over now, were there already, and differ."""

    source: int = 0
    imported: int = 0
    there: int = 0
    differs: int = 0

    def found(self, here: int, *, new: bool) -> None:
        """Add what was found here of an entity, which came over now or was there before."""
        if new:
            self.imported += here
        else:
            self.there += here


@dataclass(slots=True)
class Report:
    """What an import came to: counts, what could not come over or differs, and remarks."""

    counts: dict[Kind, Count] = field(default_factory=lambda: {kind: Count() for kind in Kind})
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Return whether everything came over, or was there, as it is in the source."""
        whole = all(
            count.source == count.imported + count.there and not count.differs
            for count in self.counts.values()
        )
        return whole and not self.problems

    @property
    def new(self) -> int:
        """Return how many entities of any kind came over now."""
        return sum(count.imported for count in self.counts.values())

    def refuse(self, path: str, found: str, remedy: str) -> None:
        """Note something that did not come over, or is here in another way."""
        self.problems.append(Problem(path=path, found=found, remedy=remedy))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRun:
    """A run without its points, the URI of its artifacts, and a folder they may lie in instead."""

    data: RunData
    artifact_uri: str
    beside: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignModel:
    """A logged model, the URI of its files, and a folder they may lie in instead."""

    data: LoggedModelData
    artifact_uri: str
    beside: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignTrace:
    """A trace, the ids of runs it was linked to, and where its files and spans lie.

    Files lie at ``artifact_uri``, or in the folder ``beside``. Spans are a file among them, unless
    they are ``in_database`` or were ``archived`` in a form of MLflow's own.
    """

    trace: Trace
    artifact_uri: str
    beside: Path | None = None
    runs: tuple[str, ...] = ()
    in_database: bool = False
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRegistered:
    """A registered model with its versions; numbers up to ``last_number`` were given."""

    model: RegisteredModel
    last_number: int
    versions: Sequence[ModelVersion]


class ForeignTraces(Protocol):
    """Port: the traces of a store."""

    def ids(self) -> list[str]:
        """Return the ids of all traces, by experiment."""
        ...

    def some(self, ids: Sequence[str]) -> list[ForeignTrace]:
        """Return these traces without their spans."""
        ...

    def spans(self, trace_id: str) -> bytes | None:
        """Return spans that lie in the database as clients write them to a file, or None."""
        ...


class ForeignStore(Protocol):
    """Port: a store that is read and never written.

    Experiments and runs carry the ids they have there. What cannot be read is noted in the
    report that the store was opened with, and left out.
    """

    name: str

    @property
    def traces(self) -> ForeignTraces:
        """Return the part of the store that holds traces."""
        ...

    def experiments(self) -> list[Experiment]:
        """Return all experiments, deleted ones too."""
        ...

    def run_ids(self) -> list[str]:
        """Return the ids of all runs, deleted ones too."""
        ...

    def runs(self, ids: Sequence[str]) -> list[ForeignRun]:
        """Return these runs without their points."""
        ...

    def points(self, run_id: str) -> Iterator[MetricPoint]:
        """Yield the points of a run's metrics, each once, metric by metric."""
        ...

    def model_ids(self) -> list[str]:
        """Return the ids of all logged models, deleted ones too."""
        ...

    def models(self, ids: Sequence[str]) -> list[ForeignModel]:
        """Return these logged models."""
        ...

    def registered(self) -> list[ForeignRegistered]:
        """Return all registered models with the versions that are not deleted."""
        ...

    def left_out(self) -> dict[str, int]:
        """Return how many there are of kinds that do not come over."""
        ...

    def close(self) -> None:
        """Let go of the store."""
        ...
