"""Two models on the same rows: by how much is one better? Rows of a series go in as blocks."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy

from everfit.measures.intervals import (
    Floats,
    Interval,
    as_sample,
    mean_interval,
    student_quantile,
)

MIN_BLOCKS = 10
Blocks = npt.NDArray[np.int64]


def paired_difference(
    candidate: npt.ArrayLike,
    champion: npt.ArrayLike,
    *,
    blocks: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Interval:
    r"""Mean loss of the candidate minus mean loss of the champion, over the same rows.

    With :math:`D_b` the sum of differences and :math:`n_b` the rows of block :math:`b` of
    :math:`B`, the batch-means (ratio) estimator

    .. math:: \bar d = \frac{\sum D_b}{\sum n_b}, \qquad
        \bar d \pm t_{B-1} \frac{\sqrt{B \sum (D_b - \bar d\, n_b)^2 / (B - 1)}}{\sum n_b}

    Parameters
    ----------
    candidate, champion
        Losses per row, lower is better, shape ``(n,)``.
    blocks
        Block of each row, shape ``(n,)``; by default every row is a block of its own, which holds
        only where rows are independent. See `time_blocks`.
    confidence
        Probability with which the interval covers the true difference.

    Returns
    -------
    Interval
        In the unit of the losses; negative where the candidate is better.

    Raises
    ------
    ValueError
        If there are fewer than two blocks, shapes differ, or a loss is not finite.

    Examples
    --------
    >>> found = paired_difference([1, 2, 3, 4], [2, 3, 4, 6])
    >>> found.estimate, round(found.high, 2)
    (-1.25, -0.45)

    References
    ----------
    Alexopoulos, C. & Seila, A. F. (1998). Output data analysis. In *Handbook of Simulation*, Wiley.
    """
    a, b = _pair(candidate, champion)
    if blocks is None:
        return mean_interval(a - b, confidence)
    sums, counts = _totals(blocks, a - b, np.ones(a.size))
    reach = student_quantile(confidence, sums.size - 1)
    mean = float(sums.sum() / counts.sum())
    radius = reach * _deviation(sums - mean * counts) / float(counts.sum())
    return Interval(
        estimate=mean, low=mean - radius, high=mean + radius, rows=a.size, confidence=confidence
    )


def relative_improvement(
    candidate: npt.ArrayLike,
    champion: npt.ArrayLike,
    *,
    blocks: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Interval:
    r"""Share of the champion's loss that the candidate removes, over the same rows.

    .. math:: 1 - \rho, \qquad \rho = \sum C_b / \sum H_b

    with Fieller's interval: all :math:`\rho` at which the block sums :math:`C_b - \rho H_b` are
    compatible with mean 0 by a t test on :math:`B - 1` degrees of freedom. It needs no small
    coefficient of variation, and opens to infinity where the champion's loss itself is uncertain.
    Losses that are all 0 or 1 get two rows more, one lost by each side (Bonett & Price), so that a
    handful of errors cannot give an interval without width.

    Parameters
    ----------
    candidate, champion
        Losses per row, lower is better, shape ``(n,)``, with a positive mean for the champion.
    blocks
        Block of each row, shape ``(n,)``; by default every row is a block of its own.
    confidence
        Probability with which the interval covers the true improvement.

    Returns
    -------
    Interval
        At most 1 (no loss is left), 0 for equal losses, negative where the candidate is worse.

    Raises
    ------
    ValueError
        If the champion has no loss, there are fewer than two blocks, shapes differ, or a loss is
        not finite.

    Examples
    --------
    >>> found = relative_improvement([8, 9, 7, 8], [10, 11, 9, 10])
    >>> round(found.estimate, 3), round(found.low, 3), round(found.high, 3)
    (0.2, 0.177, 0.23)

    References
    ----------
    Fieller, E. C. (1954). Some problems in interval estimation. *JRSS B* 16, 175-185.
    Bonett, D. G. & Price, R. M. (2012). Adjusted Wald confidence interval for a difference of
    binomial proportions based on paired data. *J. Educ. Behav. Stat.* 37, 479-488.
    """
    a, b = _pair(candidate, champion)
    if not b.sum() > 0:
        raise ValueError("the champion has no loss on these rows: nothing can be improved")
    estimate = 1 - float(a.sum() / b.sum())
    c, h, _, degrees = _units(a, b, blocks)
    low, high = _fieller(c, h, student_quantile(confidence, degrees))
    return Interval(
        estimate=estimate,
        low=min(estimate, 1 - high),
        high=max(estimate, 1 - low),
        rows=a.size,
        confidence=confidence,
    )


def worse_p_value(
    candidate: npt.ArrayLike,
    champion: npt.ArrayLike,
    *,
    margin: float = 0.0,
    slack: float = 0.0,
    blocks: npt.ArrayLike | None = None,
) -> float:
    r"""P-value against "the candidate's loss is at most ``1 + margin`` times the champion's".

    The one-sided t test behind `relative_improvement`, on :math:`C_b - (1 + m) H_b - s\, n_b` with
    :math:`n_b` the rows of block :math:`b`.

    Parameters
    ----------
    candidate, champion, blocks
        As in `relative_improvement`.
    margin
        How much worse is tolerated, as a share of the champion's loss.
    slack
        How much worse is tolerated besides, in the unit of the losses: what a share cannot say
        where the champion has no loss.

    Returns
    -------
    float
        From 0 to 1; small where the candidate is worse than tolerated, and near 1 where it is
        shown not to be.

    Raises
    ------
    ValueError
        As in `relative_improvement`, but for a champion without loss.

    Examples
    --------
    >>> round(worse_p_value([12, 11, 13, 12], [10, 10, 11, 10], margin=0.05), 3)
    0.008
    >>> round(worse_p_value([0.0, 0.2, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0], slack=0.5), 3)
    0.998

    References
    ----------
    Fieller, E. C. (1954). Some problems in interval estimation. *JRSS B* 16, 175-185.
    """
    c, h, sizes, degrees = _units(candidate, champion, blocks)
    excess = c - (1 + margin) * h - slack * sizes
    if degrees < 1:
        raise ValueError("two independent observations are needed for a test")
    error = float(excess.std(ddof=1)) / math.sqrt(excess.size)
    mean = float(excess.mean())
    if not error > 0:
        return 0.0 if mean > 0 else 1.0
    return float(scipy.special.stdtr(degrees, -mean / error))


def _units(
    candidate: npt.ArrayLike, champion: npt.ArrayLike, blocks: npt.ArrayLike | None
) -> tuple[Floats, Floats, Floats, int]:
    """Return both losses and the rows by unit (row or block), and the degrees of freedom."""
    a, b = _pair(candidate, champion)
    c, h, sizes = a, b, np.ones(a.size)
    if blocks is not None:
        c, h = _totals(blocks, a, b)
        sizes, _ = _totals(blocks, sizes, b)
    degrees = c.size - 1
    if np.isin([a, b], (0, 1)).all():
        c, h = np.append(c, [0.0, 1.0]), np.append(h, [1.0, 0.0])
        sizes = np.append(sizes, [1.0, 1.0])
    return c, h, sizes, degrees


def _pair(candidate: npt.ArrayLike, champion: npt.ArrayLike) -> tuple[Floats, Floats]:
    a, b = as_sample(candidate, "the candidate's losses"), as_sample(champion, "the champion's")
    if a.shape != b.shape:
        raise ValueError(f"{a.size} losses of the candidate, {b.size} of the champion: not paired")
    return a, b


def _totals(blocks: npt.ArrayLike, first: Floats, second: Floats) -> tuple[Floats, Floats]:
    _, codes = np.unique(np.asarray(blocks), return_inverse=True)
    if codes.shape != first.shape:
        raise ValueError(f"{codes.size} blocks for {first.size} rows")
    return (
        np.bincount(codes, first).astype(np.float64),
        np.bincount(codes, second).astype(np.float64),
    )


def _deviation(residuals: Floats) -> float:
    """Return the standard deviation of a sum of blocks whose residuals have mean 0."""
    blocks = residuals.size
    return math.sqrt(blocks * float((residuals**2).sum()) / (blocks - 1))


def _fieller(c: Floats, h: Floats, reach: float) -> tuple[float, float]:
    """Return the lowest and highest ratio of means, within [0, infinity)."""
    mean_c, mean_h = float(c.mean()), float(h.mean())
    covariance = np.cov(c, h) / c.size * reach**2
    square = mean_h**2 - float(covariance[1, 1])
    if not square > 0:
        return 0.0, math.inf
    middle = mean_c * mean_h - float(covariance[0, 1])
    constant = mean_c**2 - float(covariance[0, 0])
    root = math.sqrt(max(middle**2 - square * constant, 0.0))
    return max((middle - root) / square, 0.0), max((middle + root) / square, 0.0)


def time_blocks(
    times: npt.ArrayLike, differences: npt.ArrayLike, *, at_least: int = MIN_BLOCKS
) -> Blocks:
    r"""Blocks of consecutive rows long enough to be treated as independent.

    Begins with days, or with ``4 * at_least`` blocks of equal count where there are fewer than
    ``at_least`` days, and joins neighbours two by two while the lag-1 autocorrelation of the
    blocks' mean differences is above its one-sided 10% critical value :math:`1.28/\sqrt B` and
    ``at_least`` blocks remain.

    Parameters
    ----------
    times
        Time of each row, ``datetime64``, shape ``(n,)``, in any order.
    differences
        What will be averaged, such as the difference of two losses, shape ``(n,)``.
    at_least
        Fewest blocks; fewer give t intervals too wide to decide anything.

    Returns
    -------
    array
        Block number of each row, shape ``(n,)``, growing with time.

    Raises
    ------
    ValueError
        If there are no rows, or shapes differ.

    Examples
    --------
    >>> hours = np.datetime64("2026-01-01") + np.arange(480) * np.timedelta64(1, "h")
    >>> rough = np.tile([1.0, -1.0], 240)
    >>> int(time_blocks(hours, rough).max()) + 1
    20

    References
    ----------
    Fishman, G. S. & Yarberry, L. S. (1997). An implementation of the batch means method.
    *INFORMS Journal on Computing* 9, 296-310.
    """
    values = as_sample(differences, "differences")
    moments = np.asarray(times)
    if moments.shape != values.shape:
        raise ValueError(f"{moments.size} times for {values.size} rows")
    _, blocks = np.unique(moments.astype("datetime64[D]"), return_inverse=True)
    if blocks.max() + 1 < at_least:
        rank = np.argsort(np.argsort(moments, kind="stable"), kind="stable")
        blocks = rank * min(4 * at_least, values.size) // values.size
    while blocks.max() + 1 >= 2 * at_least and _dependent(blocks, values):
        blocks = blocks // 2
    return blocks.astype(np.int64)


def _dependent(blocks: npt.NDArray[np.intp], values: Floats) -> bool:
    means = np.bincount(blocks, values) / np.bincount(blocks)
    centred = means - means.mean()
    spread = float((centred**2).sum())
    correlation = float((centred[1:] * centred[:-1]).sum()) / spread if spread > 0 else 0.0
    return correlation > 1.28 / math.sqrt(means.size)
