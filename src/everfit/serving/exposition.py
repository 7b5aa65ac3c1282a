"""Counts as Prometheus reads them: in its text format, with what they cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from everfit.serving.counts import SERVER, Counts
from everfit.serving.families import FAMILIES, Family, Labels, Samples

HOUR_SECONDS = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a core and a GiB of memory cost for an hour."""

    currency: str
    per_cpu_hour: float
    per_gib_hour: float

    def samples(self, counts: Counts) -> Samples:
        """Yield what an endpoint cost so far, by what for."""
        if counts.process is None:
            used = {
                "cpu": sum(counts.cpu_seconds.values()) * self.per_cpu_hour,
                "memory": counts.gib_seconds * self.per_gib_hour,
            }
            for what, cost in used.items():
                yield "", {"currency": self.currency, "of": what}, cost / HOUR_SECONDS

    def per_thousand(self, counts: Counts) -> Samples:
        """Yield what a thousand predictions of an endpoint cost so far."""
        rows = sum(arm.predictions for arms in counts.served.values() for arm in arms.values())
        if rows:
            total = sum(cost for _, _, cost in self.samples(counts))
            yield "", {"currency": self.currency}, total / rows * 1000

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the metrics of costs."""
        return (
            Family(
                name="everfit_cost_total",
                kind="counter",
                help="Cost of CPU time and of memory held, at the prices of the settings.",
                samples=self.samples,
            ),
            Family(
                name="everfit_cost_per_1000_predictions",
                kind="gauge",
                help="Cost of a thousand predictions, on average since the counts began.",
                samples=self.per_thousand,
            ),
        )


def exposition(endpoints: Mapping[str, Counts], prices: Prices | None = None) -> str:
    """Return the counts of every endpoint, and their costs, in Prometheus' text format.

    What belongs to none stands under `SERVER` and has no label ``endpoint``.
    """
    lines: list[str] = []
    for family in FAMILIES + (prices.families if prices else ()):
        found = [
            _line(family.name + end, {**_of(endpoint), **labels}, value)
            for endpoint, counts in endpoints.items()
            for end, labels, value in family.samples(counts)
        ]
        if found:
            lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
            lines += found
    return "\n".join(lines) + "\n"


def _of(endpoint: str) -> dict[str, object]:
    return {} if endpoint == SERVER else {"endpoint": endpoint}


def _line(name: str, labels: Labels, value: float) -> str:
    text = ",".join(f'{key}="{_escaped(str(label))}"' for key, label in labels.items())
    return f"{name}{{{text}}} {value}" if text else f"{name} {value}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
