"""Why a model answered as it did: what each input contributed to one prediction. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from everfit.packages import Scalar


class Method(StrEnum):
    """How contributions were found."""

    LINEAR = "exact-linear"
    """In closed form, against the mean of the background rows."""
    TREES = "exact-trees"
    """Path-dependent TreeSHAP, against the rows that each tree was trained on."""
    APPROXIMATE = "approximate"
    """By sampling orders of the inputs, against a few background rows, with standard errors."""


class Output(StrEnum):
    """What contributions add up to."""

    VALUE = "value"
    """The predicted value."""
    PROBABILITY = "probability"
    """The probability of the predicted class."""
    LOG_ODDS = "log-odds"
    """The logarithm of its odds against the other class."""
    MARGIN = "margin"
    """Its score before the link, against that of the other class or the mean of all."""
    LABEL = "label"
    """1 where the model gives this label, else 0: on average the share of rows with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one input added to the output, or took from it; ``error`` is its standard error."""

    input: str
    value: Any
    amount: float
    error: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One prediction taken apart.

    ``base`` + all amounts + ``rest`` = ``output``. ``contributions`` stand in the order of their
    size; ``rest`` is the sum of those left out. ``label`` is the class or cluster explained, None
    in a regression. ``against`` names what the base is the mean of, and ``evaluations`` says how
    often the model was asked, 0 where it was not.
    """

    base: float
    contributions: tuple[Contribution, ...]
    rest: float = 0.0
    output: float
    of: Output
    label: Scalar | None = None
    method: Method
    against: str
    evaluations: int = 0

    def top(self, count: int) -> Explanation:
        """Return the explanation with its ``count`` largest contributions, the rest summed up."""
        left = sum(part.amount for part in self.contributions[count:])
        kept = self.contributions[:count]
        return replace(self, contributions=kept, rest=self.rest + left)


def ordered(parts: Sequence[Contribution]) -> tuple[Contribution, ...]:
    """Return contributions, the largest first; of equals the first input."""
    return tuple(sorted(parts, key=lambda part: -abs(part.amount)))
