"""What every exact method gives: a base and one contribution per encoded column, that add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from everfit.explaining.model import Method, Output

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
# What a library's single precision leaves of a sum, and what our own double precision does.
SINGLE, DOUBLE = 1e-5, 1e-8


class Additive(Protocol):
    """An exact method for one fitted last step."""

    @property
    def method(self) -> Method:
        """Return how contributions are found."""
        ...

    @property
    def output(self) -> Output:
        """Return what they add up to."""
        ...

    @property
    def tolerance(self) -> float:
        """Return how far sums may be from the model's outputs, relative to their size."""
        ...

    def contributions(self, rows: Floats, chosen: Integers) -> tuple[Floats, Floats]:
        """Return bases, shape ``(rows,)``, and contributions, shape ``(rows, columns)``.

        ``chosen`` is the place of the class explained, 0 in a regression.
        """
        ...


def by_class(scores: Floats) -> Floats:
    """Return class scores such that each tells its class from the others; classes stand last.

    Of two classes the log-odds of each. Of more the score less their mean, for what raises all
    scores alike moves no probability.

    Examples
    --------
    >>> by_class(np.array([[2.0]])).tolist(), by_class(np.array([1.0, 3.0])).tolist()
    ([[-2.0, 2.0]], [-2.0, 2.0])
    >>> by_class(np.array([1.0, 2.0, 6.0])).tolist()
    [-2.0, -1.0, 3.0]
    """
    classes = scores.shape[-1]
    if classes > 2:
        centred: Floats = scores - scores.mean(axis=-1, keepdims=True)
        return centred
    difference = scores[..., 0] if classes == 1 else scores[..., 1] - scores[..., 0]
    return np.stack([-difference, difference], axis=-1)


def margin(classes: int) -> Output:
    """Return what `by_class` gives for so many classes."""
    return Output.LOG_ODDS if classes <= 2 else Output.MARGIN


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linear:
    """A weighted sum of the columns: shapes ``(columns, outputs)``, ``(outputs,)``, ``(columns,)``.

    A column contributes its weight times its distance from ``centre``, the mean of the
    background rows: of inputs taken as independent, their Shapley values.
    """

    weights: Floats
    intercept: Floats
    centre: Floats
    output: Output
    method: Method = Method.LINEAR
    tolerance: float = DOUBLE

    def contributions(self, rows: Floats, chosen: Integers) -> tuple[Floats, Floats]:
        """Return bases and contributions."""
        # Of a row alone and among others the same to the last bit.
        base = self.intercept + self.centre @ self.weights
        return base[chosen], self.weights.T[chosen] * (rows - self.centre)


def linear(last: Any, rows: Floats, *, classes: int) -> Linear | None:
    """Return the closed form of a linear or naive Bayes model; None where it is no such one.

    ``rows`` are the encoded background rows; ``classes`` is 0 in a regression.
    """
    weights, intercept = getattr(last, "coef_", None), getattr(last, "intercept_", None)
    if weights is None:
        # Naive Bayes over counts: logarithms of shares, times counts.
        weights = getattr(last, "feature_log_prob_", None)
        intercept = getattr(last, "class_log_prior_", None)
    if weights is None or intercept is None or hasattr(weights, "todense"):
        return None
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64)).T
    intercept = np.atleast_1d(np.asarray(intercept, dtype=np.float64))
    wanted = (1,) if classes == 0 else (classes, 1) if classes == 2 else (classes,)
    if weights.shape[1] not in wanted or weights.shape[0] != rows.shape[1]:
        return None
    if classes:
        weights, intercept = by_class(weights), by_class(intercept)
    return Linear(
        weights=weights,
        intercept=np.broadcast_to(intercept, weights.shape[1:]),
        centre=rows.mean(axis=0),
        output=margin(classes) if classes else Output.VALUE,
    )
