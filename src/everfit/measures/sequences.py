"""Intervals and evidence that stay valid however often one looks: for rollouts and monitoring.

An e-value is evidence against a hypothesis: under it, the chance that the e-value *ever* reaches
``1 / alpha`` is at most ``alpha``. The functions return its logarithm; compare it with
``log_threshold(alpha)``.
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


def evidence_above(successes: int, n: int, limit: float) -> float:
    r"""Log e-value against "the share is at most ``limit``".

    The likelihood ratio of shares above the limit to it, mixed over Jeffreys' prior cut off there:

    .. math:: \ln \frac{B(a+s, a+n-s)\,[1 - I_m(a+s, a+n-s)]}
                       {B(a, a)\,[1 - I_m(a, a)]\; m^s (1-m)^{n-s}}

    Parameters
    ----------
    successes, n
        How many of how many so far; none yet is no evidence.
    limit
        The share that must not be exceeded, between 0 and 1, both excluded.

    Returns
    -------
    float
        In nats, any sign; the larger, the stronger the proof.

    Raises
    ------
    ValueError
        If the counts are impossible, or the limit is no share.

    Examples
    --------
    >>> round(evidence_above(30, 1000, 0.01), 2), evidence_above(10, 1000, 0.01) < 0
    (9.55, True)

    References
    ----------
    Waudby-Smith, I. & Ramdas, A. (2024). Estimating means of bounded random variables by betting.
    *JRSS B* 86, 1-27.
    """
    if n == 0 == successes:
        return 0.0
    as_share(successes, n)
    if not 0 < limit < 1:
        raise ValueError(f"a limit on a share lies between 0 and 1, not at {limit}")
    failures = n - successes
    after = scipy.special.betaln(PRIOR + successes, PRIOR + failures)
    before = scipy.special.betaln(PRIOR, PRIOR)
    above = scipy.special.betaincc(PRIOR + successes, PRIOR + failures, limit)
    prior_above = scipy.special.betaincc(PRIOR, PRIOR, limit)
    if above <= 0:  # It underflows far below the limit.
        return -math.inf
    likelihood = scipy.special.xlogy(successes, limit) + scipy.special.xlog1py(failures, -limit)
    return float(after - before + math.log(above) - math.log(prior_above) - likelihood)


def evidence_below(successes: int, n: int, limit: float) -> float:
    """Log e-value against "the share is at least ``limit``": the mirror of `evidence_above`.

    Examples
    --------
    >>> round(evidence_below(0, 1000, 0.01), 2)
    8.78
    """
    return evidence_above(n - successes, n, 1 - limit)


def evidence_of_more_errors(
    errors: int,
    n: int,
    base_errors: int,
    base_n: int,
    *,
    ratio: float = 1.0,
    share: float | None = None,
) -> float:
    r"""Log e-value against "the error rate is at most ``ratio`` times that of the base".

    Requests are assigned to the two arms at random. Given that an error happens, it is on the
    canary's side with probability at most :math:`\pi = \rho w / (\rho w + 1 - w)` where
    :math:`w` is the canary's share of requests and :math:`\rho` the ratio: the canary's errors
    among all errors are a share to be held against :math:`\pi`, however rare errors are.

    Parameters
    ----------
    errors, n
        Errors and requests of the arm under suspicion since its share of traffic last changed.
    base_errors, base_n
        The same of the arm it is compared with, over the same time.
    ratio
        How many times the base's error rate is tolerated.
    share
        The share of requests that the arm is given by design, which makes the guarantee exact;
        otherwise the share it was seen to get.

    Returns
    -------
    float
        In nats; 0 where there is no error or an arm has no request yet.

    Raises
    ------
    ValueError
        If the counts are impossible, or the ratio is not positive.

    Examples
    --------
    >>> evidence_of_more_errors(20, 1000, 50, 9000) > log_threshold(0.01)
    True
    >>> evidence_of_more_errors(6, 1000, 50, 9000) > 0
    False

    References
    ----------
    Lehmann, E. L. & Romano, J. P. (2005). *Testing Statistical Hypotheses*, section 4.5: comparing
    two Poisson rates by conditioning on their sum.
    """
    if not (0 <= errors <= n and 0 <= base_errors <= base_n and ratio > 0):
        raise ValueError(f"impossible counts or ratio: {errors}/{n}, {base_errors}/{base_n}")
    if not (n and base_n):
        return 0.0
    if share is None:
        share = n / (n + base_n)
    return evidence_above(errors, errors + base_errors, ratio * share / (ratio * share + 1 - share))


def bounded_mean_sequence(
    values: npt.ArrayLike, confidence: float = 0.95, *, cells: int = 500
) -> Interval:
    r"""Interval of the mean of values in [0, 1] that may be looked at after every observation.

    The hedged capital process: for each candidate mean :math:`m` two gamblers bet that the mean
    is above, and below; the means at which neither has now multiplied the stake by
    :math:`2/\alpha` remain.

    .. math:: K^\pm_t(m) = \prod_{i \le t} \left(1 \pm \lambda_i (x_i - m)\right), \quad
        \lambda_i = \sqrt{\frac{2\ln(2/\alpha)}{\hat\sigma^2_{i-1}\, i \ln(1 + i)}}

    No assumption but the bound and a constant conditional mean, and shorter than Hoeffding's or
    Bernstein's interval.

    Parameters
    ----------
    values
        Observations so far, in order of arrival, shape ``(n,)``, each in [0, 1].
    confidence
        Probability with which the intervals of *all* looks cover the true mean.
    cells
        Number of candidate means; the ends are rounded outwards to this grid.

    Returns
    -------
    Interval
        Ends within [0, 1].

    Raises
    ------
    ValueError
        If there are no values, or one lies outside [0, 1].

    Examples
    --------
    >>> found = bounded_mean_sequence([0.1, 0.3] * 200)
    >>> round(found.low, 2), round(found.high, 2)
    (0.18, 0.22)

    References
    ----------
    Waudby-Smith, I. & Ramdas, A. (2024). Estimating means of bounded random variables by betting.
    *JRSS B* 86, 1-27, section 4.
    """
    sample = as_sample(values)
    if sample.min() < 0 or sample.max() > 1:
        raise ValueError(f"values must lie in [0, 1], not in [{sample.min()}, {sample.max()}]")
    threshold = log_threshold((1 - confidence) / 2)
    bets = _plug_in_bets(sample, threshold)
    means = (np.arange(cells) + 0.5) / cells
    alive = np.ones(cells, dtype=bool)
    for sign, odds in ((1.0, means), (-1.0, 1 - means)):
        stake = np.minimum(bets[:, None], 0.5 / odds[None, :])
        alive &= np.log1p(sign * stake * (sample[:, None] - means[None, :])).sum(axis=0) < threshold
    mean = float(sample.mean())
    alive[min(int(mean * cells), cells - 1)] = True
    kept = np.flatnonzero(alive)
    # Each edge lies between a middle that fell and its neighbour that stands.
    return Interval(
        estimate=mean,
        low=min(mean, max(0.0, (float(kept[0]) - 0.5) / cells)),
        high=max(mean, min(1.0, (float(kept[-1]) + 1.5) / cells)),
        rows=sample.size,
        confidence=confidence,
    )


def _plug_in_bets(sample: Floats, threshold: float) -> Floats:
    """Return each observation's bet, made from those before it only."""
    i = np.arange(1, sample.size + 1)
    running = (0.5 + np.cumsum(sample)) / (i + 1)
    variance = (0.25 + np.cumsum((sample - running) ** 2)) / (i + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bets: Floats = np.sqrt(2 * threshold / (before * i * np.log1p(i)))
    return bets
