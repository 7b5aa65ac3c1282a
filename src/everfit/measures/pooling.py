"""Estimates of many similar groups, each strengthened by the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from everfit.measures.intervals import Floats, Interval, as_sample

MIN_GROUPS = 4
CELLS, HALVINGS = 200, 50


def shrunken(
    estimates: npt.ArrayLike, errors: npt.ArrayLike, confidence: float = 0.95
) -> tuple[Interval, ...]:
    r"""Intervals of groups whose true effects scatter around a common mean, all unknown.

    The hierarchical normal model :math:`y_i \sim N(\theta_i, V_i)`,
    :math:`\theta_i \sim N(\mu, \tau^2)` with flat priors on :math:`\mu` and :math:`\tau`. For a
    given :math:`\tau`, with :math:`w_i = 1/(V_i + \tau^2)` and :math:`b_i = V_i w_i`,

    .. math:: \theta_i \mid \tau, y \sim N\left((1 - b_i) y_i + b_i \hat\mu_\tau,\;
        (1 - b_i) V_i + b_i^2 / \textstyle\sum w\right)

    and the interval holds the middle of these normals mixed over the posterior of :math:`\tau`. A
    group measured badly leans on the others; groups that truly differ keep their own estimates.
    Coverage holds on average over the groups: a single group far from all others must be judged by
    its own interval as well.

    Parameters
    ----------
    estimates
        Effect in each group, shape ``(k,)``, at least 4 groups.
    errors
        Standard error of each, positive, same shape.
    confidence
        Probability with which an interval covers its group's true effect, on average.

    Returns
    -------
    tuple of Interval
        In the order and unit of ``estimates``; ``rows`` is the number of groups.

    Raises
    ------
    ValueError
        If there are fewer than 4 groups, shapes differ, or a number is not finite or an error is
        not positive.

    Examples
    --------
    >>> found = shrunken([0.10, 0.12, 0.02, 0.20, 0.11], [0.05, 0.05, 0.05, 0.05, 0.5])
    >>> [round(interval.estimate, 2) for interval in found]
    [0.1, 0.12, 0.05, 0.17, 0.11]

    References
    ----------
    Gelman, A. et al. (2013). *Bayesian Data Analysis*, 3rd ed., sections 5.4 and 5.5. CRC.
    """
    y, deviations = as_sample(estimates, "estimates"), as_sample(errors, "errors")
    if y.size < MIN_GROUPS or deviations.shape != y.shape or not deviations.min() > 0:
        raise ValueError(f"{MIN_GROUPS} groups with a positive error each are needed, not {y.size}")
    weights, means, spreads = _mixture(y, deviations**2)
    tail = (1 - confidence) / 2
    centres = weights @ means
    lows = _quantiles(tail, weights, means, spreads)
    highs = _quantiles(1 - tail, weights, means, spreads)
    return tuple(
        Interval(estimate=e, low=min(low, e), high=max(high, e), rows=y.size, confidence=confidence)
        for e, low, high in zip(centres.tolist(), lows.tolist(), highs.tolist(), strict=True)
    )


def _mixture(y: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the posterior weight of each scatter, and the groups' means and deviations under it.

    Shapes ``(cells,)``, ``(cells, k)``, ``(cells, k)``.
    """
    # Finer near 0, where the posterior is steep; the factor u is the change of variable.
    u = (np.arange(CELLS) + 0.5) / CELLS
    scatter = (3 * (float(y.std()) + float(np.sqrt(np.median(v)))) * u**2)[:, None]
    w = 1 / (v + scatter**2)
    total = w.sum(axis=1)
    mean = (w @ y) / total
    fit = (np.log(w) - w * (y - mean[:, None]) ** 2).sum(axis=1)
    log_weights = 0.5 * (fit - np.log(total)) + np.log(u)
    weights = np.exp(log_weights - log_weights.max())
    b = v * w
    means = (1 - b) * y + b * mean[:, None]
    spreads = np.sqrt((1 - b) * v + b**2 / total[:, None])
    return weights / weights.sum(), means, spreads


def _quantiles(share: float, weights: Floats, means: Floats, spreads: Floats) -> Floats:
    """Return the quantile of each group's mixture, by halving."""
    low = (means - 9 * spreads).min(axis=0)
    high = (means + 9 * spreads).max(axis=0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = weights @ scipy.special.ndtr((middle - means) / spreads) < share
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found: Floats = (low + high) / 2
    return found
