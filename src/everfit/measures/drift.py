"""P3 drift scores: a window's counts against a reference sketch, each with a known null law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from everfit.measures.sketch import CategoryCounts, CategorySketch, NumericCounts, NumericSketch

Floats = NDArray[np.float64]

NUMERIC_KINDS = ("location", "scale", "shape", "missing", "range")
CATEGORY_KINDS = ("cells", "unseen", "missing")
# Streams whose z can only be high when something is wrong.
ONE_SIDED = frozenset({"shape", "cells", "unseen", "range"})
# Streams without use in accumulation: a distance is no sum of rows and its z leans to one side;
# values far out of range show at once or not at all.
AT_ONCE = frozenset({"shape", "range"})
EXPECTED_PER_CELL = 5.0
# Effects are put on the scale of a shift in mean rank. (u - 1/2)^2 has a quarter of u's range;
# a row with a category the model never saw is wholly outside what it learnt.
SCALE_WEIGHT, UNSEEN_WEIGHT = 4.0, 4.0
HIGHEST_Z = 37.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One window's drift scores, one entry per stream (a column and a kind of change).

    ``z`` is standard normal where nothing drifts and rows are independent; ``effect`` is the
    size of the change in shares of rank, in [0, 1]; ``error`` the standard error of the effect;
    ``noise`` the share of z that the finite reference adds to every window alike.
    """

    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    rows: float
    z: Floats
    effect: Floats
    error: Floats
    noise: Floats

    @property
    def one_sided(self) -> NDArray[np.bool_]:
        """Return which streams alarm on high values only."""
        return np.array([kind in ONE_SIDED for kind in self.kinds], dtype=np.bool_)


def p_values(z: Floats, one_sided: NDArray[np.bool_]) -> Floats:
    """Return the probability, under no drift, of a score at least as extreme.

    Examples
    --------
    >>> p_values(np.array([1.96, 1.645]), np.array([False, True])).round(2).tolist()
    [0.05, 0.05]
    """
    upper = scipy.special.ndtr(-np.where(one_sided, z, np.abs(z)))
    result: Floats = np.where(one_sided, upper, 2.0 * upper)
    return result


def normal_score(z: Floats, skewness: Floats) -> Floats:
    r"""Return the normal score of a standardised sum whose distribution has this skewness.

    The sum is matched to a shifted gamma distribution of the same three moments, shape
    :math:`4 / s^2`, and its tail probability mapped back to the normal scale: exact for sums of
    exponentials, close for counts of rare events, where the plain z alarms on nothing.

    Parameters
    ----------
    z, skewness
        Standardised value and skewness of the sum, same shape.

    Examples
    --------
    >>> normal_score(np.array([3.0, 3.0]), np.array([0.0, 0.9])).round(2).tolist()
    [3.0, 2.35]

    References
    ----------
    Pearson, K. (1895), type III; Wilson, E. B. & Hilferty, M. M. (1931). *PNAS* 17.
    """
    sign = np.where(skewness < 0, -1.0, 1.0)
    skew = np.maximum(np.abs(skewness), 0.02)  # below that gamma and normal agree
    shape = 4.0 / skew**2
    position = np.maximum(shape + sign * z * np.sqrt(shape), 0.0)
    upper = scipy.special.gammaincc(shape, position)
    lower = scipy.special.gammainc(shape, position)
    score = np.where(upper < 0.5, _high(upper, z), -_high(lower, z))
    result: Floats = np.where(np.abs(skewness) < 0.02, z, sign * score)
    return np.clip(result, -HIGHEST_Z, HIGHEST_Z)


def _high(tail: Floats, z: Floats) -> Floats:
    """Return the normal quantile of an upper tail; past the smallest float, z as it was."""
    quantile: Floats = -scipy.special.ndtri(np.maximum(tail, 1e-300))
    return np.where(tail > 1e-300, quantile, np.maximum(np.abs(z), quantile))


def numeric_scores(sketch: NumericSketch, counts: NumericCounts) -> Scores:
    r"""Return location, scale, shape, missing and range scores of every numeric column.

    With :math:`u` the mid-rank of a value in the reference, n rows now and N then,

    .. math:: z_{loc} = (\bar u - \tfrac12)\sqrt n / \sigma_u, \quad
       z_{scale} = (\overline{(u-\tfrac12)^2} - \mu_2)\sqrt n / \sigma_2

    both divided by :math:`\sqrt{1 + n/N}` and corrected for skewness; shape is the
    Kolmogorov-Smirnov distance of u over 64 bins; missing a binomial test; range one for rows
    far beyond the smallest or largest value of the reference, of which none is to be expected.

    Returns
    -------
    Scores
        Five streams per column, kind by kind. A column without a value now has z = 0 except
        for missing.

    Examples
    --------
    >>> from everfit.measures.sketch import count_numeric, sketch_numeric
    >>> reference = np.linspace(0.0, 1.0, 10_000)
    >>> sketch = sketch_numeric({"x": reference})
    >>> window = count_numeric(sketch, [reference[::10] + 0.1])
    >>> dict(zip(numeric_scores(sketch, window).kinds,
    ...          numeric_scores(sketch, window).z.round(1).tolist()))
    {'location': 9.9, 'scale': 1.9, 'shape': 5.4, 'missing': -0.1, 'range': -0.1}

    References
    ----------
    EVIDENCE.md of this project (P3); Kolmogorov (1933); Conover (1999), chapter 6.
    """
    seen = counts.rows - counts.missing
    n = np.maximum(seen, 1.0)
    share = n / (n + np.maximum(sketch.rows, 1.0))
    known = (seen > 0) & (sketch.rows > 0)
    location = counts.ranks / n - sketch.rank[:, 0]
    scale = counts.spreads / n - sketch.spread[:, 0]
    root = np.sqrt(n * (1.0 - share))
    errors = [sketch.rank[:, 1] / root, sketch.spread[:, 1] / root]
    distance = np.abs(
        np.cumsum(counts.bins / n[:, None], axis=1) - np.cumsum(sketch.shares, axis=1)
    ).max(axis=1)
    total = sketch.rows + sketch.missing
    gone = _rate(counts.missing, np.full_like(n, counts.rows), sketch.missing, total)
    beyond = _rate(counts.outside, seen, np.zeros_like(n), sketch.rows)
    zs = [
        np.where(known, normal_score(location / errors[0], sketch.rank[:, 2] / np.sqrt(n)), 0.0),
        np.where(known, normal_score(scale / errors[1], sketch.spread[:, 2] / np.sqrt(n)), 0.0),
        np.where(known, _kolmogorov(distance * root), 0.0),
        gone[0],
        np.where(known, beyond[0], 0.0),
    ]
    return Scores(
        columns=sketch.names * len(NUMERIC_KINDS),
        kinds=tuple(kind for kind in NUMERIC_KINDS for _ in sketch.names),
        rows=counts.rows,
        z=np.concatenate(zs),
        effect=np.concatenate(
            [
                np.where(known, np.abs(location), 0.0),
                np.where(known, SCALE_WEIGHT * np.abs(scale), 0.0),
                np.where(known, distance, 0.0),
                gone[1],
                beyond[1],
            ]
        ),
        error=np.concatenate([errors[0], SCALE_WEIGHT * errors[1], 0.5 / root, gone[2], beyond[2]]),
        noise=np.tile(np.sqrt(share), len(NUMERIC_KINDS)),
    )


def category_scores(sketches: Sequence[CategorySketch], counts: Sequence[CategoryCounts]) -> Scores:
    r"""Return cells, unseen and missing scores of every category column.

    Cells is Pearson's :math:`\chi^2` over categories with at least 5 expected rows, the rest
    pooled, its null moments exact for few rows; unseen a binomial test against the share that
    the reference itself leads one to expect.

    Examples
    --------
    >>> from everfit.measures.sketch import count_category, sketch_category
    >>> sketch = sketch_category("city", {"Rome": 6000, "Oslo": 4000}, missing=0)
    >>> window = count_category(sketch, {"Rome": 600, "Oslo": 380, "Bern": 20}, missing=0)
    >>> scores = category_scores([sketch], [window])
    >>> dict(zip(scores.kinds, (scores.z > 4).tolist()))
    {'cells': False, 'unseen': True, 'missing': False}

    References
    ----------
    Pearson (1900); Haldane, J. B. S. (1937), moments of chi-squared. *Biometrika* 29.
    """
    names = tuple(sketch.name for sketch in sketches)
    cells = [_cells(sketch, count) for sketch, count in zip(sketches, counts, strict=True)]
    rows = np.array([count.rows for count in counts], dtype=np.float64)
    missing = np.array([count.missing for count in counts], dtype=np.float64)
    then = np.array([sketch.rows for sketch in sketches], dtype=np.float64)
    gone = np.array([sketch.missing for sketch in sketches], dtype=np.float64)
    novel = np.array([sketch.novel for sketch in sketches], dtype=np.float64)
    closed = np.array([sketch.closed for sketch in sketches], dtype=np.float64)
    strange = np.array([count.unseen for count in counts], dtype=np.float64)
    unseen = _rate(strange, (rows - missing) * closed, novel * then, then)
    absent = _rate(missing, rows, gone, then + gone)
    n = np.maximum(rows - missing, 1.0)
    return Scores(
        columns=names * len(CATEGORY_KINDS),
        kinds=tuple(kind for kind in CATEGORY_KINDS for _ in names),
        rows=float(rows.max(initial=0.0)),
        z=np.concatenate([np.array([z for z, _ in cells]), unseen[0], absent[0]]),
        effect=np.concatenate(
            [np.array([effect for _, effect in cells]), UNSEEN_WEIGHT * unseen[1], absent[1]]
        ),
        error=np.concatenate([0.5 / np.sqrt(n), UNSEEN_WEIGHT * unseen[2], absent[2]]),
        noise=np.tile(np.sqrt(n / (n + np.maximum(then, 1.0))), len(CATEGORY_KINDS)),
    )


def join(parts: Sequence[Scores]) -> Scores:
    """Return the scores of several groups of columns as one family."""
    return Scores(
        columns=tuple(name for part in parts for name in part.columns),
        kinds=tuple(kind for part in parts for kind in part.kinds),
        rows=max((part.rows for part in parts), default=0.0),
        z=np.concatenate([part.z for part in parts]),
        effect=np.concatenate([part.effect for part in parts]),
        error=np.concatenate([part.error for part in parts]),
        noise=np.concatenate([part.noise for part in parts]),
    )


def _kolmogorov(root_distance: Floats) -> Floats:
    """Return the one-sided normal score of sqrt(n) D; past the smallest float, its asymptote."""
    tail = scipy.special.kolmogorov(root_distance)
    # p = 2 exp(-2 K^2) and p ~ exp(-z^2 / 2) give z = 2 K far out.
    usual = -scipy.special.ndtri(np.clip(tail, 1e-300, 1.0 - 1e-16))
    score: Floats = np.where(tail > 1e-300, usual, np.maximum(2.0 * root_distance, usual))
    return np.minimum(score, HIGHEST_Z)


def _rate(
    events: Floats, rows: Floats, events_then: Floats, rows_then: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return normal score, change and standard error of the rate of an event.

    The counts are shrunk by 1 + n/N, which carries the doubt about the reference's own rate;
    the binomial tail is taken at its middle (mid-p), so that z is centred where nothing changed.
    """
    n = np.maximum(rows, 1.0)
    then = np.maximum(rows_then, 1.0)
    rate = (events_then + 0.5) / (then + 1.0)
    shrink = 1.0 / (1.0 + n / then)
    count, size = events * shrink, n * shrink
    at_least = np.where(
        count > 0, scipy.special.betainc(np.maximum(count, 1e-9), size - count + 1, rate), 1.0
    )
    above = np.where(
        count < size, scipy.special.betainc(count + 1, np.maximum(size - count, 1e-9), rate), 0.0
    )
    upper = 0.5 * (at_least + above)
    tail = np.minimum(upper, 1.0 - upper)
    score = np.where(upper < 0.5, 1.0, -1.0) * -scipy.special.ndtri(np.clip(tail, 1e-300, 0.5))
    change = np.abs(events / n - events_then / then)
    error = np.sqrt(np.maximum(rate * (1.0 - rate), 1.0 / then) / np.maximum(size, 1e-9))
    return np.where(rows > 0, score, 0.0), np.where(rows > 0, change, 0.0), error


def _cells(sketch: CategorySketch, count: CategoryCounts) -> tuple[float, float]:
    """Return the normal score of chi-squared over pooled cells, and the total variation.

    Cells are chosen, and expectations made, from both samples together: chosen by the reference
    alone, its luckiest rare categories would all look rarer now.
    """
    # Values beyond the most frequent ones join the pooled cell; new ones are another stream.
    now = np.append(count.cells, 0.0 if sketch.closed else count.unseen)
    before = np.append(sketch.counts, 0.0 if sketch.closed else sketch.rows - sketch.counts.sum())
    n, then = float(now.sum()), float(before.sum())
    if n < 1 or then < 1:
        return 0.0, 0.0
    effect = float(np.abs(now / n - before / then).sum()) / 2.0
    share = n / (n + then)
    expected = (now + before) * share
    large = expected >= EXPECTED_PER_CELL
    large[-1] = False
    observed = np.append(now[large], now[~large].sum())
    expected = np.append(expected[large], expected[~large].sum())
    if expected[-1] < EXPECTED_PER_CELL:
        observed, expected = observed[:-1], expected[:-1]
    cells = expected.size
    if cells < 2:
        return 0.0, effect
    statistic = float(((observed - expected) ** 2 / expected).sum()) / (1.0 - share)
    freedom = cells - 1
    excess = (float((n / expected).sum()) - cells**2 - 2.0 * cells + 2.0) / n
    variance = 2.0 * freedom + max(excess, 0.0)
    # A gamma distribution with the exact mean and variance of the statistic.
    shape, unit = freedom**2 / variance, variance / freedom
    tail = float(scipy.special.gammaincc(shape, statistic / unit))
    return -float(scipy.special.ndtri(min(max(tail, 1e-300), 1.0 - 1e-16))), effect
