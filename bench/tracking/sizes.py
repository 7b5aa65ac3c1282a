"""How much is measured: the full benchmark, or a quick one that shows that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of things and durations of one repetition."""

    repetitions: int = 3
    budget_seconds: float = 15  # a section that has taken longer is not repeated again
    seconds: float = 2  # of sending, for what is measured as a rate
    clients: int = 8
    batches: int = 400  # requests of 1,000 metrics at most, so built before the clock runs
    runs: int = 10_000
    many_runs: int = 100_000
    points: int = 1_000_000
    artifact_mebibytes: int = 200


FULL = Sizes()
QUICK = Sizes(
    repetitions=1,
    seconds=1,
    batches=100,
    runs=1_000,
    many_runs=3_000,
    points=50_000,
    artifact_mebibytes=20,
)
