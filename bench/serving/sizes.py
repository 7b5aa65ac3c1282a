"""How much is measured: the full benchmark, or a quick one that shows that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of things and durations of one repetition."""

    repetitions: int = 3
    seconds: float = 5  # of sending, for each figure
    warm_seconds: float = 1
    idle_seconds: float = 3
    swap_seconds: float = 75  # of swapping revisions under load
    singles: int = 256  # different requests of one row
    batches: int = 4  # different requests of many
    batch_rows: int = 1_000
    clients: int = 16
    batch_clients: int = 4
    overload_clients: int = 512


FULL = Sizes()
QUICK = Sizes(repetitions=1, seconds=2, warm_seconds=0.5, idle_seconds=1, swap_seconds=6)
