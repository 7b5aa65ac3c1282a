"""What a sweep takes in: how far it read the logs, and what it sealed and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from everfit.data import decode_frame
from everfit.kernel import Blobs, Position
from everfit.monitoring.log import LABELS, PREDICTIONS, normalised
from everfit.monitoring.match import label_table
from everfit.monitoring.model import Segment, SweepResult, Window
from everfit.monitoring.segments import seal, stack
from everfit.monitoring.state import SweepState
from everfit.monitoring.turn import Turn


@dataclass(slots=True)
class Intake:
    """New rows and labels of one sweep, filled step by step.

    ``fresh`` are labels with their predictions, ``repeated`` counts those known already,
    ``pending`` are labels without a prediction yet and ``joined`` the numbers of such labels
    that have found theirs now.
    """

    state: SweepState
    now: datetime
    cursors: dict[str, dict[str, Position]] = field(default_factory=dict)
    predictions: pl.DataFrame | None = None
    labels: pl.DataFrame | None = None
    segments: list[Segment] = field(default_factory=list)
    fresh: pl.DataFrame | None = None
    repeated: int = 0
    pending: list[dict[str, Any]] = field(default_factory=list)
    joined: list[int] = field(default_factory=list)

    def read(self, blobs: Blobs, kind: str, payloads: Sequence[bytes]) -> None:
        """Take in what a log holds: labels as they are, other rows as a sealed segment."""
        if not payloads:
            return
        tables = [decode_frame(payload) for payload in payloads]
        if kind == LABELS:
            self.labels = label_table(tables).with_row_index("row", offset=self.state.labels)
            return
        typed = [normalised(table) for table in tables] if kind == PREDICTIONS else tables
        rows = stack(typed).rechunk()
        # One logged table with its types right is sealed as it stands in the log.
        as_logged = len(tables) == 1 and typed[0] is tables[0] and tables[0].n_chunks() == 1
        self.seal(blobs, kind, rows, content=payloads[0] if as_logged else None)
        if kind == PREDICTIONS:
            self.predictions = rows

    def seal(
        self, blobs: Blobs, kind: str, rows: pl.DataFrame, *, content: bytes | None = None
    ) -> None:
        """Store rows as the next segment of their kind."""
        number = self.state.sealed.get(kind, 0)
        sealed = seal(blobs, rows, kind=kind, number=number, now=self.now, content=content)
        self.segments.append(sealed)

    @property
    def pending_after(self) -> int:
        """Return how many labels wait for their prediction after this sweep."""
        return self.state.pending + len(self.pending) - len(self.joined)

    def result(self, turn: Turn, ended: Sequence[Window]) -> SweepResult:
        """Return what the sweep saw and changed."""
        return SweepResult(
            predictions=0 if self.predictions is None else self.predictions.height,
            windows=tuple(turn.windows[window.key] for window in ended),
            opened=tuple(turn.opened),
            closed=tuple(turn.closed),
            matured=0 if self.fresh is None else self.fresh.height,
            corrected=0 if self.fresh is None else int(self.fresh["correction"].sum()),
            repeated=self.repeated,
            pending=self.pending_after,
        )

    def state_after(self, turn: Turn) -> SweepState:
        """Return what the next sweep starts from."""
        sealed = dict(self.state.sealed)
        for segment in self.segments:
            sealed[segment.kind] = segment.number + 1
        return SweepState(
            cursors=self.cursors,
            sealed=sealed,
            labels=self.state.labels + (0 if self.labels is None else self.labels.height),
            pending=self.pending_after,
            awaiting=frozenset(turn.awaiting),
            cusums=turn.cusums,
            watches=turn.watches,
        )
