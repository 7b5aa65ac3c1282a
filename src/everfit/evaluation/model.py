"""Gates, verdicts and reports: what a version must show, and what it showed. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

Number = float | int | str | None


class Outcome(StrEnum):
    """What the evidence says: the claim holds, it does not, or there is not enough of it yet."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    UNDECIDED = "undecided"


def combined(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the outcome of all together: one fail fails, nothing at all is undecided.

    Examples
    --------
    >>> combined([Outcome.PASS, Outcome.UNDECIDED]).value, combined([]).value
    ('undecided', 'undecided')
    """
    found = set(outcomes)
    if Outcome.FAIL in found:
        return Outcome.FAIL
    return Outcome.PASS if found == {Outcome.PASS} else Outcome.UNDECIDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Better:
    """The metric is better than the champion's by more than ``margin`` of it, on the same rows."""

    margin: float = 0.0
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class NoWorse:
    """No slice of at least ``min_rows`` rows is worse than with the champion by ``margin``."""

    margin: float = 0.05
    min_rows: int = 200
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Fair:
    """Ratios between the groups of each protected column lie within the bounds."""

    across: tuple[str, ...]
    equal_opportunity: tuple[float, float] | None = None
    demographic_parity: tuple[float, float] | None = None
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Fast:
    """One row is answered within ``p95_ms`` milliseconds, 19 times out of 20."""

    p95_ms: float
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve:
    """So many people approved; with ``not_author`` its author does not count."""

    people: int = 1
    not_author: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sufficient:
    """The held-out rows are enough to know the error to ± ``share`` points or ± ``relative``.

    ``share`` is for an error rate (0.05 is 5 points), ``relative`` for an error in the target's
    unit, as a share of it. The defaults only refuse held-out rows that say next to nothing:
    whether the candidate is better is proven by its own gate, whatever their number. Fewer than
    30 rows, or 10 blocks of time, are never enough: errors that happen to be equal prove nothing.
    """

    share: float = 0.10
    relative: float = 0.40
    confidence: float = 0.95


Gate = Better | NoWorse | Fair | Fast | Approve | Sufficient


def default_gates() -> tuple[Gate, ...]:
    """Return the gates of a policy that names none."""
    return (Better(), NoWorse())


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one gate found: in plain words, and the numbers behind them, all finite or None."""

    gate: str
    outcome: Outcome
    summary: str
    numbers: Mapping[str, Number]


def verdict(gate: str, outcome: Outcome, summary: str, /, **numbers: Number) -> Verdict:
    """Return a verdict whose infinite numbers (an open end of an interval) are None."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }
    return Verdict(gate=gate, outcome=outcome, summary=summary, numbers=finite)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The verdicts on one candidate against one champion, on the same held-out rows."""

    id: str
    model: str
    candidate: int
    champion: int | None
    rows: int
    rows_digest: str
    verdicts: tuple[Verdict, ...]
    at: datetime

    @property
    def outcome(self) -> Outcome:
        """Return fail if any verdict fails, else undecided if any is, else pass."""
        return combined(verdict.outcome for verdict in self.verdicts)
