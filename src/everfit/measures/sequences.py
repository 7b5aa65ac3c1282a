"""Intervals that stay valid however often one looks: for rollouts and monitoring.

They invert e-values: under a hypothesis, the chance that its e-value *ever* reaches ``1 / alpha``
is at most ``alpha``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy

from everfit.measures.intervals import Floats, Interval, as_sample, as_share

# Jeffreys' prior: evidence about rare and frequent events grows at nearly the best rate.
PRIOR = 0.5


def log_threshold(alpha: float) -> float:
    """Return the log e-value that proves a claim at false-alarm probability ``alpha``.

    Examples
    --------
    >>> round(log_threshold(0.05), 3)
    2.996
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha}")
    return -math.log(alpha)


def mean_sequence(
    values: npt.ArrayLike, confidence: float = 0.95, *, target: int = 100
) -> Interval:
    r"""Interval of a mean that may be looked at after every observation.

    The anytime-valid t-test: the scale-invariant likelihood ratio mixed over the standardised
    effect with :math:`N(0, 1/c)`, inverted. With :math:`a = c/(n+c)` and
    :math:`g = (\alpha\sqrt a)^{-2/n}`,

    .. math:: \bar x \pm s_n \sqrt{\frac{g - 1}{1 - g a}},
              \qquad s_n^2 = \frac1n\sum (x_i - \bar x)^2 .

    Exact for normal observations from the second one on; for others it is the asymptotic
    confidence sequence (Robbins' normal mixture), to which it converges. Dependent rows go in as
    means of blocks.

    Parameters
    ----------
    values
        Observations so far, in order of arrival, shape ``(n,)``.
    confidence
        Probability with which the intervals of *all* looks cover the true mean.
    target
        Number of observations at which the interval is to be shortest (sets ``c``).

    Returns
    -------
    Interval
        In the unit of ``values``; infinite while there are too few of them.

    Raises
    ------
    ValueError
        If there are no values, or one is not finite.

    Examples
    --------
    >>> found = mean_sequence([0.9, 1.1] * 20)
    >>> found.estimate, round(found.low, 2), round(found.high, 2)
    (1.0, 0.95, 1.05)
    >>> mean_sequence([0.9, 1.1]).high
    inf

    References
    ----------
    Wang, H. & Ramdas, A. (2025). Anytime-valid t-tests and confidence sequences for Gaussian means
    with unknown variance. *Sequential Analysis* 44, 56-110.
    Waudby-Smith, I., Arbour, D., Sinha, R., Kennedy, E. H. & Ramdas, A. (2024). Time-uniform
    central limit theory and asymptotic confidence sequences. *Annals of Statistics* 52, 2613-2640.
    """
    sample = as_sample(values)
    mean = float(sample.mean())
    radius = mean_radius(sample.size, float(sample.std()), confidence, target=target)
    return Interval(
        estimate=mean,
        low=mean - float(radius),
        high=mean + float(radius),
        rows=sample.size,
        confidence=confidence,
    )


def mean_radius(
    n: npt.ArrayLike, deviation: npt.ArrayLike, confidence: float = 0.95, *, target: int = 100
) -> Floats:
    """Return half the width of ``mean_sequence`` from sums kept elsewhere, for many looks at once.

    Parameters
    ----------
    n
        Number of observations at each look, at least 1.
    deviation
        Standard deviation at each look, with divisor ``n``; same shape as ``n``.
    confidence, target
        As in `mean_sequence`.

    Returns
    -------
    array
        Same shape as ``n``; infinite where ``n`` is too small.

    Examples
    --------
    >>> mean_radius([2, 100, 10_000], [1.0, 1.0, 1.0]).round(3).tolist()
    [inf, 0.312, 0.036]
    """
    count = np.asarray(n, dtype=np.float64)
    threshold = log_threshold(1 - confidence)
    mixing = target / (2 * threshold + math.log(2 * threshold + 1))
    shrink = mixing / (count + mixing)
    log_growth = 2 / count * (threshold - 0.5 * np.log(shrink))
    # g - 1 and 1 - g a, written so that neither overflows at small counts.
    room = -(log_growth + np.log(shrink))
    closed = room > 0
    safe = np.where(closed, log_growth, 0.0)
    ratio = np.expm1(safe) / -np.expm1(-np.where(closed, room, 1.0))
    radius: Floats = np.where(closed, np.asarray(deviation) * np.sqrt(ratio), math.inf)
    return radius


def share_sequence(successes: int, n: int, confidence: float = 0.95) -> Interval:
    r"""Interval of a share that may be looked at after every observation.

    All :math:`p` against which the beta mixture of likelihood ratios is below
    :math:`1/\alpha`; the mixture is a betting martingale whose bets are spread over all shares.

    .. math:: \frac{B(a + s, a + n - s)}{B(a, a)\, p^s (1 - p)^{n - s}} < \frac1\alpha,
              \qquad a = \tfrac12

    Parameters
    ----------
    successes, n
        How many of how many so far.
    confidence
        Probability with which the intervals of *all* looks cover the true share.

    Returns
    -------
    Interval
        Ends within [0, 1].

    Raises
    ------
    ValueError
        If the counts are impossible.

    Examples
    --------
    >>> found = share_sequence(10, 1000)
    >>> round(found.low, 4), round(found.high, 4)
    (0.0024, 0.0262)

    References
    ----------
    Robbins, H. (1970). Statistical methods related to the law of the iterated logarithm.
    *Annals of Mathematical Statistics* 41, 1397-1409.
    Waudby-Smith, I. & Ramdas, A. (2024). Estimating means of bounded random variables by betting.
    *JRSS B* 86, 1-27.
    """
    share = as_share(successes, n)
    failures = n - successes
    mixture = scipy.special.betaln(PRIOR + successes, PRIOR + failures)
    mixture -= scipy.special.betaln(PRIOR, PRIOR)

    def inside(p: float) -> bool:
        likelihood = scipy.special.xlogy(successes, p) + scipy.special.xlog1py(failures, -p)
        return bool(mixture - likelihood < log_threshold(1 - confidence))

    return Interval(
        estimate=share,
        low=0.0 if inside(0.0) else _edge(0.0, share, inside),
        high=1.0 if inside(1.0) else _edge(1.0, share, inside),
        rows=n,
        confidence=confidence,
    )


def _edge(outside: float, within: float, inside: Callable[[float], bool]) -> float:
    """Return the last point outside, by halving: the interval errs on the wide side."""
    for _ in range(60):
        middle = (outside + within) / 2
        if inside(middle):
            within = middle
        else:
            outside = middle
    return outside
