"""Intervals for one look at the data: shares, means, ratios of shares, quantiles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # scipy.special, the slowest import of all, is loaded by the first who names it

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with the range that ``confidence`` allows, from ``rows`` observations.

    ``low`` and ``high`` may be infinite where the data leave that side open; no part is NaN.
    """

    estimate: float
    low: float
    high: float
    rows: int
    confidence: float

    def __post_init__(self) -> None:
        if not self.low <= self.estimate <= self.high:
            raise ValueError(f"no interval: {self.low} <= {self.estimate} <= {self.high} is false")

    @property
    def half_width(self) -> float:
        """Return half the distance between the ends."""
        return (self.high - self.low) / 2


def as_sample(values: npt.ArrayLike, name: str = "values") -> Floats:
    """Return ``values`` as floats, shape ``(n,)``; empty or non-finite ones are refused.

    Raises
    ------
    ValueError
        If there are no values, more than one dimension, or one is NaN or infinite.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size:
        raise ValueError(f"{name} must be a non-empty row of numbers, not of shape {sample.shape}")
    if not np.isfinite(sample).all():
        raise ValueError(f"{name} holds {int((~np.isfinite(sample)).sum())} NaN or infinite values")
    return sample


def as_share(successes: int, n: int) -> float:
    """Return ``successes / n``; counts that cannot be are refused with ``ValueError``."""
    if not (n >= 1 and 0 <= successes <= n):
        raise ValueError(f"{successes} of {n} is no share")
    return successes / n


def normal_quantile(confidence: float) -> float:
    """Return the two-sided normal quantile, 1.96 for 0.95.

    Raises
    ------
    ValueError
        If ``confidence`` is not between 0 and 1.
    """
    return float(scipy.special.ndtri(0.5 + _checked(confidence) / 2))


def student_quantile(confidence: float, degrees: int) -> float:
    """Return the two-sided quantile of Student's t with ``degrees`` of freedom.

    Examples
    --------
    >>> round(student_quantile(0.95, 9), 3)
    2.262
    """
    if degrees < 1:
        raise ValueError("two independent observations are needed for an interval")
    return float(scipy.special.stdtrit(degrees, 0.5 + _checked(confidence) / 2))


def _checked(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    return confidence


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    r"""Wilson's score interval of a share.

    .. math:: \frac{p + z^2/2n \pm z \sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}

    Parameters
    ----------
    successes, n
        How many of how many; ``0 <= successes <= n`` and ``n >= 1``.
    confidence
        Probability with which the interval covers the true share.

    Returns
    -------
    Interval
        Ends within [0, 1]; it never collapses to a point.

    Raises
    ------
    ValueError
        If the counts are impossible.

    Examples
    --------
    >>> found = wilson(0, 100)
    >>> found.low, round(found.high, 4)
    (0.0, 0.037)

    References
    ----------
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference.
    *JASA* 22, 209-212.
    """
    share = as_share(successes, n)
    z2 = normal_quantile(confidence) ** 2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    spread = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # Rounding must not push an end past the estimate at 0 and 1.
    return Interval(
        estimate=share,
        low=0.0 if successes == 0 else middle - spread,
        high=1.0 if successes == n else middle + spread,
        rows=n,
        confidence=confidence,
    )


def mean_interval(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    r"""Student's t interval of a mean.

    .. math:: \bar x \pm t_{n-1} \, s / \sqrt n

    Parameters
    ----------
    values
        Independent observations, shape ``(n,)``, at least 2.
    confidence
        Probability with which the interval covers the true mean.

    Returns
    -------
    Interval
        In the unit of ``values``.

    Raises
    ------
    ValueError
        If there are fewer than two values, or one is not finite.

    Examples
    --------
    >>> found = mean_interval([1, 2, 3, 4])
    >>> found.estimate, round(found.low, 3), round(found.high, 3)
    (2.5, 0.446, 4.554)

    References
    ----------
    Student (1908). The probable error of a mean. *Biometrika* 6, 1-25.
    """
    sample = as_sample(values)
    reach = student_quantile(confidence, sample.size - 1)
    radius = reach * float(sample.std(ddof=1)) / math.sqrt(sample.size)
    mean = float(sample.mean())
    return Interval(
        estimate=mean,
        low=mean - radius,
        high=mean + radius,
        rows=sample.size,
        confidence=confidence,
    )


def ratio_interval(
    successes: int, n: int, base_successes: int, base_n: int, confidence: float = 0.95
) -> Interval:
    r"""Katz's log interval of the ratio of two independent shares.

    .. math:: \exp\left(\ln\frac{a/n}{b/m} \pm z\sqrt{1/a - 1/n + 1/b - 1/m}\right)

    A count of 0 is taken as one half for the ends on its open side, as Walters does.

    Parameters
    ----------
    successes, n
        Counts of the group compared.
    base_successes, base_n
        Counts of the group it is compared with.
    confidence
        Probability with which the interval covers the true ratio.

    Returns
    -------
    Interval
        From 0 to infinity; 1 for equal shares.

    Raises
    ------
    ValueError
        If the counts are impossible, or both counts of successes are 0.

    Examples
    --------
    >>> found = ratio_interval(40, 100, 50, 100)
    >>> round(found.estimate, 2), round(found.low, 3), round(found.high, 3)
    (0.8, 0.587, 1.091)

    References
    ----------
    Katz, D., Baptista, J., Azen, S. P. & Pike, M. C. (1978). Obtaining confidence intervals for
    the risk ratio in cohort studies. *Biometrics* 34, 469-474.
    """
    share, base_share = as_share(successes, n), as_share(base_successes, base_n)
    if successes == base_successes == 0:
        raise ValueError("neither group has a success: their ratio is not defined")
    a, b = max(successes, 0.5), max(base_successes, 0.5)
    centre = math.log(a / n) - math.log(b / base_n)
    radius = normal_quantile(confidence) * math.sqrt(1 / a - 1 / n + 1 / b - 1 / base_n)
    estimate = share / base_share if base_successes else math.inf
    return Interval(
        estimate=estimate,
        low=min(estimate, math.exp(centre - radius)),
        high=math.inf if not base_successes else max(estimate, math.exp(centre + radius)),
        rows=n + base_n,
        confidence=confidence,
    )


def quantile_interval(values: npt.ArrayLike, q: float, confidence: float = 0.95) -> Interval:
    r"""Distribution-free interval of a quantile between two order statistics.

    The number of values below the true quantile is binomial(n, q); the ends are the order
    statistics :math:`x_{(l)}, x_{(u)}` with :math:`P(l \le K < u) \ge` ``confidence``.

    Parameters
    ----------
    values
        Independent observations, shape ``(n,)``.
    q
        Which quantile, between 0 and 1, both excluded.
    confidence
        Probability with which the interval covers the true quantile.

    Returns
    -------
    Interval
        In the unit of ``values``; an end is infinite where ``n`` is too small to bound it
        (below 72 values for the upper end of a 95% interval of the 95th percentile).

    Raises
    ------
    ValueError
        If there are no values, or one is not finite, or ``q`` is no quantile.

    Examples
    --------
    >>> found = quantile_interval(range(1, 201), 0.95)
    >>> found.estimate, found.low, found.high
    (190.0, 184.0, 197.0)

    References
    ----------
    David, H. A. & Nagaraja, H. N. (2003). *Order Statistics*, 3rd ed., section 7.1. Wiley.
    """
    ordered = np.sort(as_sample(values))
    n = ordered.size
    if not 0 < q < 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")
    tail = (1 - _checked(confidence)) / 2
    below = scipy.special.bdtr(np.arange(n), n, q)  # P(K <= k)
    lower = int(np.searchsorted(below, tail, side="right"))
    upper = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return Interval(
        estimate=float(ordered[math.ceil(n * q) - 1]),
        low=float(ordered[lower - 1]) if lower else -math.inf,
        high=float(ordered[upper - 1]) if upper <= n else math.inf,
        rows=n,
        confidence=confidence,
    )
