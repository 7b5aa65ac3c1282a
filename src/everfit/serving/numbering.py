"""Prediction ids, made in bulk: they sort by time and never repeat."""

from __future__ import annotations

import secrets
import threading
from datetime import datetime

from everfit.kernel import time_part
from everfit.kernel.ids import ALPHABET

PAIRS = [first + second for first in ALPHABET for second in ALPHABET]


class PredictionIds:
    """Numbers the predictions of one process.

    An id is ``p_`` + 10 characters of milliseconds + 6 random ones of this process + 6 that count
    its predictions: ids of one process are distinct for a billion rows even while the clock
    stands still, and those of a request sort in the order of its rows.
    """

    def __init__(self) -> None:
        self._process = "".join(secrets.choice(ALPHABET) for _ in range(6))
        self._next = 0
        self._lock = threading.Lock()

    def take(self, count: int, at: datetime) -> list[str]:
        """Return ``count`` fresh ids of predictions made at ``at``."""
        with self._lock:
            first = self._next
            self._next += count
        head = f"p_{time_part(at)}{self._process}"
        ids: list[str] = []
        while count:
            # As many as have all but the last two characters in common.
            begin = first & 1023
            same = PAIRS[begin : begin + count]
            common = head + PAIRS[first >> 20 & 1023] + PAIRS[first >> 10 & 1023]
            ids += [common + pair for pair in same]
            first, count = first + len(same), count - len(same)
        return ids
