"""Rows that depend on one another: judge a window by how the reference's own windows varied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_WINDOWS = 8
EULER = 0.5772156649


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependence:
    """How the scores of the reference's own windows varied, per stream; shape ``(streams,)``.

    ``phi`` is the mean of z squared (of its upper half, twice, where only that means anything):
    1 for independent rows, otherwise the factor by which dependence inflates the variance of a
    window's mean. ``dependent`` says whether it does so anywhere in the table; then ``limit`` is
    the studentised score that calls for an alarm.
    """

    dependent: bool
    windows: int
    rows: float  # mean rows of those windows
    centre: Floats
    variance: Floats
    effective: Floats  # number of windows that would tell as much if they were independent
    phi: Floats
    limit: float


def dependence(
    z: Floats, rows: Floats, one_sided: NDArray[np.bool_], *, alpha: float = 0.005
) -> Dependence | None:
    r"""Return how window scores vary on the reference, or None for fewer than 8 windows.

    Every window is studentised by the others, its neighbours left out; the largest score over
    all streams, one number per window, is fitted by a Gumbel distribution of the same mean and
    variance, and its upper ``alpha`` quantile is the limit (never below the largest seen).
    A window's variance is corrected by the effective number of windows
    :math:`m (1 - r) / (1 + r)`, r their lag-1 autocorrelation.

    Parameters
    ----------
    z
        Score of each stream in each of the reference's windows in time order, shape
        ``(windows, streams)``.
    rows
        Rows of each window, shape ``(windows,)``.
    one_sided
        Streams of which only high values mean something, shape ``(streams,)``.
    alpha
        Share of windows without drift that may alarm.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal(0.0, 3.0, (50, 1))
    >>> found = dependence(z, np.full(50, 200.0), np.array([False]))
    >>> found.dependent, found.phi.round(0).tolist(), round(found.limit, 1)
    (True, [8.0], 3.5)

    References
    ----------
    Bartlett, M. S. (1946), effective sample size. *JRSS Supplement* 8; Gumbel, E. J. (1958).
    *Statistics of Extremes*.
    """
    windows = z.shape[0]
    if windows < FEWEST_WINDOWS or z.shape[1] == 0:
        return None
    centre = z.mean(axis=0)
    deviation = z - centre
    squares = (deviation**2).sum(axis=0)
    lagged = (deviation[1:] * deviation[:-1]).sum(axis=0)
    memory = np.clip(lagged / np.maximum(squares, 1e-12), 0.0, 0.98)
    effective = np.maximum(windows * (1.0 - memory) / (1.0 + memory), 2.0)
    # Low scores of a one-sided stream mean nothing, and lie lower still for discrete columns.
    phi = np.where(one_sided, 2.0 * np.maximum(z, 0.0) ** 2, z**2).mean(axis=0)
    # One stream may be high by chance; the bound holds for the highest of all of them.
    chance = float(scipy.special.chdtri(windows, 0.001 / z.shape[1])) / windows
    return Dependence(
        dependent=bool(phi.mean() > 1.5 or phi.max() > max(chance, 2.0)),
        windows=windows,
        rows=float(rows.mean()),
        centre=centre,
        # The windows' spread around their own mean misses what that mean itself varies.
        variance=np.maximum(squares / windows * effective / (effective - 1.0), 1.0),
        effective=effective,
        phi=phi,
        limit=_limit(z, one_sided, alpha),
    )


def _limit(z: Floats, one_sided: NDArray[np.bool_], alpha: float) -> float:
    maxima = np.empty(len(z))
    for index in range(len(z)):
        keep = np.abs(np.arange(len(z)) - index) > 1
        others = z[keep]
        spread = np.maximum(others.var(axis=0, ddof=1), 1.0) * (1.0 + 1.0 / len(others))
        t = (z[index] - others.mean(axis=0)) / np.sqrt(spread)
        maxima[index] = np.where(one_sided, t, np.abs(t)).max()
    scale = float(maxima.std(ddof=1)) * math.sqrt(6.0) / math.pi
    quantile = float(maxima.mean()) - EULER * scale - scale * math.log(-math.log1p(-alpha))
    return max(quantile, float(maxima.max()), 3.5)


def excursions(windows: Sequence[Floats], *, far: float = 0.0) -> Floats:
    """Return how far windows of one series leave the range that its other windows span.

    Parameters
    ----------
    windows
        Values of each window in time order, shape ``(columns, rows)`` each, rows at least 1; NaN
        is no value.
    far
        Share of the width of the others' range that a value must lie beyond it.

    Returns
    -------
    array
        Shape ``(columns,)``: the largest share of a window's rows below the least or above the
        greatest value of all windows but itself and its neighbours, in [0, 1].

    Examples
    --------
    >>> week = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> excursions([week, week, week, week + 2.0]).tolist()
    [0.5]
    """
    lows = np.array([np.fmin.reduce(window, axis=1) for window in windows])
    highs = np.array([np.fmax.reduce(window, axis=1) for window in windows])
    places = np.arange(len(windows))
    worst = np.zeros(lows.shape[1])
    for index, window in enumerate(windows):
        others = np.abs(places - index) > 1
        low = np.fmin.reduce(lows[others], axis=0)[:, None]
        high = np.fmax.reduce(highs[others], axis=0)[:, None]
        low, high = low - far * (high - low), high + far * (high - low)
        worst = np.maximum(worst, ((window < low) | (window > high)).mean(axis=1))
    return worst


def studentise(found: Dependence, z: Floats, *, rows: float) -> Floats:
    r"""Return a window's scores in standard deviations of the reference's own windows.

    .. math:: t = (z - c\sqrt{n / n_0}) / \sqrt{(1 + (v - 1)\,n / n_0)(1 + 1/m)}

    with centre c, variance v of the reference's windows of :math:`n_0` rows and m effective
    windows. Hold it against ``found.limit``. Windows of fewer rows than the reference's are taken
    to vary as much: how long dependence lasts within a window is not known.

    Examples
    --------
    >>> z = np.random.default_rng(0).normal(0.0, 3.0, (50, 1))
    >>> found = dependence(z, np.full(50, 200.0), np.array([False]))
    >>> studentise(found, np.array([6.0, 30.0]), rows=200).round(1).tolist()
    [2.0, 10.4]
    """
    ratio = max(rows / max(found.rows, 1.0), 1.0)
    variance = (1.0 + (found.variance - 1.0) * ratio) * (1.0 + 1.0 / found.effective)
    t: Floats = (z - found.centre * np.sqrt(ratio)) / np.sqrt(variance)
    return t
