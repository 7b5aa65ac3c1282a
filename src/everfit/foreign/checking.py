"""Whether what is here is what the source has: counted, and compared part by part. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields

from everfit.errors import Problem
from everfit.tracing import Trace
from everfit.tracking import DatasetInput, LoggedModelData, MetricPoint, RunData
from everfit.tracking.sift import wrong_point

Latest = tuple[int, int, float]


@dataclass(slots=True)
class Tally:
    """What passes of a run's points: how many of each metric, and the latest of each."""

    subject: str
    counts: dict[str, int] = field(default_factory=dict)
    latest: dict[str, MetricPoint] = field(default_factory=dict)
    refused: dict[str, tuple[Problem, int]] = field(default_factory=dict)

    def through(self, points: Iterable[MetricPoint]) -> Iterator[MetricPoint]:
        """Yield the points that can be kept, and count them and the others."""
        for point in points:
            wrong = wrong_point(self.subject, point)
            if wrong is not None:
                # One problem for a metric, however many points it has.
                name = f"{wrong.path} {point.key}"
                first, count = self.refused.get(name, (wrong, 0))
                self.refused[name] = first, count + 1
                continue
            self.counts[point.key] = self.counts.get(point.key, 0) + 1
            known = self.latest.get(point.key)
            if known is None or _place(point) > _place(known):
                self.latest[point.key] = point
            yield point

    @property
    def total(self) -> int:
        """Return how many points there are, with those that cannot be kept."""
        return sum(self.counts.values()) + sum(count for _, count in self.refused.values())

    @property
    def problems(self) -> list[Problem]:
        """Return a problem for each metric that has points that cannot be kept."""
        return [
            Problem(path=wrong.path, found=f"{wrong.found}, {count:,} points", remedy=wrong.remedy)
            for wrong, count in self.refused.values()
        ]


def run_differences(
    source: RunData, tally: Tally, here: RunData, counts: Mapping[str, int]
) -> list[str]:
    """Return in which parts a run is another one here than in the source."""
    latest = [shown(point) for point in here.metrics]
    compared: dict[str, tuple[object, object]] = {
        "parameters": (source.params, here.params),
        "tags": (source.tags, here.tags),
        "latest metrics": (sorted(map(shown, tally.latest.values())), sorted(latest)),
        "number of points": (tally.counts, counts),
        "datasets": (_used(source.datasets), _used(here.datasets)),
        "logged models used": (sorted(source.models), sorted(here.models)),
        "logged models made": (
            sorted((one.model, one.step) for one in source.outputs),
            sorted((one.model, one.step) for one in here.outputs),
        ),
    }
    for name in ("experiment", "name", "status", "stage", "actor", "started_at", "finished_at"):
        compared[name] = (getattr(source.run, name), getattr(here.run, name))
    return [name for name, (one, other) in compared.items() if one != other]


def model_differences(source: LoggedModelData, here: LoggedModelData) -> list[str]:
    """Return in which parts a logged model is another one here than in the source."""
    compared: dict[str, tuple[object, object]] = {
        "parameters": (source.params, here.params),
        "tags": (source.tags, here.tags),
        "metrics": (_measured(source), _measured(here)),
    }
    for name in ("experiment", "name", "type", "source_run", "status", "stage", "created_at"):
        compared[name] = (getattr(source.model, name), getattr(here.model, name))
    return [name for name, (one, other) in compared.items() if one != other]


def trace_differences(source: Trace, here: Trace) -> list[str]:
    """Return in which parts a trace is another one here than in the source."""
    return [
        one.name for one in fields(Trace) if getattr(source, one.name) != getattr(here, one.name)
    ]


def shown(point: MetricPoint) -> tuple[str, str, int, int]:
    """Return a point such that NaN equals NaN."""
    return point.key, repr(float(point.value)), point.step, point.at_us


def _place(point: MetricPoint) -> Latest:
    # NaN is the only value that differs from itself; it counts as 0, as where it is stored.
    return point.step, point.at_us, point.value if point.value == point.value else 0.0


def _used(datasets: Iterable[DatasetInput]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    return sorted(
        (one.dataset.name, one.dataset.digest, sorted(one.tags.items())) for one in datasets
    )


def _measured(data: LoggedModelData) -> set[tuple[object, ...]]:
    return {(*shown(one.point), one.dataset, one.digest, one.run) for one in data.points}
