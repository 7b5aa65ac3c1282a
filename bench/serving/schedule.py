"""The arithmetic of a load generator: when requests are due, and what became of them. Pure."""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

MILLI = 1e3
REFUSALS = (429, 503)


def fixed(rate: float, seconds: float) -> array[float]:
    """Return the seconds after the start at which requests are due, evenly apart."""
    return array("d", (at / rate for at in range(math.ceil(rate * seconds))))


def poisson(rate: float, seconds: float, *, seed: int) -> array[float]:
    """Return the same for callers who know nothing of each other.

    It is a Poisson process given how many come, so that no run has more of them than another.
    """
    dice = random.Random(seed)  # noqa: S311
    return array("d", sorted(dice.random() * seconds for _ in range(round(rate * seconds))))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the least value that so large a share of all do not exceed; NaN where there are none.

    It is one of the values (nearest rank): nothing is made up between the two slowest.
    """
    if not ordered:
        return math.nan
    return ordered[min(max(math.ceil(share * len(ordered)) - 1, 0), len(ordered) - 1)]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of the requests of one run; each is counted once. Latencies in milliseconds."""

    seconds: float
    due: int
    answered: int  # with 200
    in_time: int  # with 200, soon enough after they were due, within ``window`` seconds
    window: float
    refused: int  # with 429 or 503
    hinted: int  # of these, with Retry-After
    failed: int  # another status, or the connection broke
    unanswered: int  # no answer when the run was over
    unsent: int  # every connection was waiting for an answer
    client_cpu: float  # seconds
    late_ms: float  # p99 of sending after the time that was due: the client's own doing
    p50_ms: float
    p99_ms: float
    worst_ms: float
    refused_p99_ms: float  # of those refused

    @property
    def rate(self) -> float:
        """Return the requests answered with 200 in a second."""
        return self.answered / self.seconds

    @property
    def goodput(self) -> float:
        """Return those that came in time, in a second."""
        return self.in_time / self.window


@dataclass(kw_only=True)
class Tally:
    """Count answers while a run lasts; latencies are in seconds, from when a request was due.

    An answer is in time if it took no longer than ``patience`` and came between ``since`` and
    ``until``: neither the filling of queues nor what is worked off after the last request passes
    for throughput.
    """

    patience: float = math.inf
    since: float = -math.inf  # on the clock of whoever counts
    until: float = math.inf
    in_time: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    refusals: array[float] = field(default_factory=lambda: array("d"))
    late: array[float] = field(default_factory=lambda: array("d"))
    hinted: int = 0
    broken: int = 0
    unsent: int = 0

    def note(self, status: int, due: float, now: float, *, hinted: bool = False) -> None:
        """Count an answer; ``hinted`` says that it told when to come again."""
        self.statuses[status] += 1
        if status == 200:
            self.latencies.append(now - due)
            self.in_time += now - due <= self.patience and self.since <= now <= self.until
        elif status in REFUSALS:
            self.refusals.append(now - due)
            self.hinted += hinted

    def report(self, due: int, seconds: float, client_cpu: float = 0.0) -> Report:
        """Return what became of ``due`` requests within ``seconds``."""
        ordered = sorted(self.latencies)
        refused = sum(self.statuses[status] for status in REFUSALS)
        total = self.statuses.total()
        return Report(
            seconds=seconds,
            due=due,
            answered=len(ordered),
            in_time=self.in_time,
            window=min(self.until - self.since, seconds),
            refused=refused,
            hinted=self.hinted,
            failed=total - len(ordered) - refused + self.broken,
            unanswered=due - total - self.broken - self.unsent,
            unsent=self.unsent,
            client_cpu=client_cpu,
            late_ms=quantile(sorted(self.late), 0.99) * MILLI,
            p50_ms=quantile(ordered, 0.5) * MILLI,
            p99_ms=quantile(ordered, 0.99) * MILLI,
            worst_ms=quantile(ordered, 1) * MILLI,
            refused_p99_ms=quantile(sorted(self.refusals), 0.99) * MILLI,
        )
