"""What one sweep leaves for the next: how far the logs are read, and running evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from everfit.kernel import Position
from everfit.measures.accumulate import Cusum
from everfit.measures.detection import ErrorWatch
from everfit.monitoring.model import EPOCH
from everfit.monitoring.reference import MICROSECOND

Key = tuple[datetime, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepState:
    """Where a sweep starts from.

    ``sealed`` counts the segments of each kind, ``labels`` numbers pending labels, ``awaiting``
    names windows that have labels but not enough of them yet to be held against the standard.
    """

    cursors: Mapping[str, Mapping[str, Position]] = field(default_factory=dict)
    sealed: Mapping[str, int] = field(default_factory=dict)
    labels: int = 0
    pending: int = 0
    awaiting: frozenset[Key] = frozenset()
    cusums: Mapping[int, Cusum] = field(default_factory=dict)
    watches: Mapping[int, ErrorWatch] = field(default_factory=dict)


def encode_state(state: SweepState) -> str:
    """Return the state as JSON text."""
    plain = {
        "cursors": {
            kind: {writer: [at.segment, at.offset] for writer, at in cursor.items()}
            for kind, cursor in state.cursors.items()
        },
        "sealed": dict(state.sealed),
        "labels": state.labels,
        "pending": state.pending,
        "awaiting": sorted([(at - EPOCH) // MICROSECOND, v] for at, v in state.awaiting),
        "cusums": {
            str(version): [np.round(c.rise, 9).tolist(), np.round(c.fall, 9).tolist()]
            for version, c in state.cusums.items()
        },
        "watches": {
            str(version): [list(watch.log_wealth), watch.rows]
            for version, watch in state.watches.items()
            if watch.rows
        },
    }
    return msgspec.json.encode(plain).decode()


def decode_state(content: str | None) -> SweepState:
    """Return the state that ``encode_state`` wrote; the first one where there is none."""
    if content is None:
        return SweepState()
    plain: dict[str, Any] = msgspec.json.decode(content)
    return SweepState(
        cursors={
            kind: {w: Position(segment=at[0], offset=at[1]) for w, at in cursor.items()}
            for kind, cursor in plain["cursors"].items()
        },
        sealed=plain["sealed"],
        labels=plain["labels"],
        pending=plain["pending"],
        awaiting=frozenset((EPOCH + at * MICROSECOND, v) for at, v in plain["awaiting"]),
        cusums={
            int(version): Cusum(rise=np.array(rise), fall=np.array(fall))
            for version, (rise, fall) in plain["cusums"].items()
        },
        watches={
            int(version): ErrorWatch(log_wealth=tuple(wealth), rows=rows)
            for version, (wealth, rows) in plain["watches"].items()
        },
    )
