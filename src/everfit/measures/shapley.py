"""Shapley values of any function by sampling orders of its inputs, with their standard errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

# Mixed(known, background row) -> answers: shapes (asked, inputs), (asked,), (asked,).
Mixed = Callable[[Booleans, Integers], Floats]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampling:
    """Orders in which inputs become known, each against one background row.

    Every order is also taken backwards: what the one overstates the other understates.

    Attributes
    ----------
    orders
        Shape ``(orders, inputs)``; an order and its reverse stand next to each other.
    rows
        The background row of each order, shape ``(orders,)``.
    """

    orders: Integers
    rows: Integers

    @property
    def evaluations(self) -> int:
        """Return how often the function is asked for one row."""
        return self.orders.size + len(self.orders)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampled:
    """Estimated contributions and their standard errors, both of shape ``(inputs,)``.

    ``base`` + the sum of ``values`` is the function's answer, whatever was drawn.
    """

    base: float
    values: Floats
    errors: Floats


def sampling(inputs: int, background: int, *, most: int, seed: int = 0) -> Sampling:
    """Return what to ask of a function of so many inputs.

    Parameters
    ----------
    inputs, background
        How many inputs the function has, and how many background rows there are.
    most
        Evaluations per row at most; two orders are taken in any case.
    seed
        Where chance starts: the same seed gives the same orders.

    Examples
    --------
    >>> drawn = sampling(3, 10, most=100)
    >>> drawn.orders.shape, drawn.evaluations, drawn.orders[:2].tolist()
    ((20, 3), 80, [[2, 0, 1], [1, 0, 2]])
    """
    pairs = max(1, most // (2 * (inputs + 1)))
    if pairs > background:
        # Every background row counts as often as every other, so that the base is their mean.
        pairs -= pairs % background
    rng = np.random.default_rng(seed)
    forwards = np.array([rng.permutation(inputs) for _ in range(pairs)], dtype=np.int64)
    orders = np.stack([forwards, forwards[:, ::-1]], axis=1).reshape(2 * pairs, inputs)
    return Sampling(orders=orders, rows=np.repeat(np.arange(pairs) % background, 2))


def masks(drawn: Sampling) -> tuple[Booleans, Integers]:
    """Return which inputs are known at each evaluation, and the background row of each.

    Shapes ``(evaluations, inputs)`` and ``(evaluations,)``: of each order none known first, all
    known last.
    """
    inputs = drawn.orders.shape[1]
    places = np.argsort(drawn.orders, axis=1)
    known = places[:, None, :] < np.arange(inputs + 1)[None, :, None]
    return known.reshape(-1, inputs), np.repeat(drawn.rows, inputs + 1)


def sampled(drawn: Sampling, answers: Floats) -> Sampled:
    """Return the contributions that follow from ``answers``, in the order of `masks`.

    The error of an input is the standard error of the mean over pairs of orders; infinite where
    there is one pair only.

    References
    ----------
    Štrumbelj, E. & Kononenko, I. (2014). Explaining prediction models and individual predictions
    with feature contributions. *Knowledge and Information Systems* 41, 647-665.
    Mitchell, R., Cooper, J., Frank, E. & Holmes, G. (2022). Sampling permutations for Shapley
    value estimation. *JMLR* 23, 1-46.

    Examples
    --------
    >>> drawn = sampling(2, 1, most=6)
    >>> known, _ = masks(drawn)
    >>> found = sampled(drawn, (known @ [3.0, 4.0]) + 1.0)
    >>> found.base, found.values.tolist()
    (1.0, [3.0, 4.0])
    """
    count, inputs = drawn.orders.shape
    table = answers.reshape(count, inputs + 1)
    steps = np.empty((count, inputs))
    np.put_along_axis(steps, drawn.orders, np.diff(table, axis=1), axis=1)
    pairs = steps.reshape(-1, 2, inputs).mean(axis=1)
    errors = (
        pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs))
        if len(pairs) > 1
        else np.full(inputs, np.inf)
    )
    return Sampled(base=float(table[:, 0].mean()), values=steps.mean(axis=0), errors=errors)
