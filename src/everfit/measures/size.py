"""How many rows are enough: to know a score, and to develop a model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from everfit.measures.intervals import normal_quantile


def rows_for_share(
    half_width: float = 0.025, *, share: float = 0.5, confidence: float = 0.95
) -> int:
    r"""Rows that give a share, such as an accuracy, an interval of ± ``half_width``.

    .. math:: n = \lceil z^2 p (1 - p) / w^2 \rceil

    Parameters
    ----------
    half_width
        Half the width of the interval aimed at, between 0 and 1.
    share
        The share expected; one half needs the most rows.
    confidence
        Probability with which the interval covers the true share.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If a parameter lies outside its range.

    Examples
    --------
    >>> rows_for_share(0.025), rows_for_share(0.025, share=0.85)
    (1537, 784)

    References
    ----------
    Cochran, W. G. (1977). *Sampling Techniques*, 3rd ed., section 4.4. Wiley.
    """
    if not (0 < half_width < 1 and 0 <= share <= 1):
        raise ValueError(f"no rows give a share of {share} an interval of ±{half_width}")
    needed = normal_quantile(confidence) ** 2 * share * (1 - share) / half_width**2
    return max(1, math.ceil(needed))


def rows_for_width(rows: int, half_width: float, wanted: float) -> int:
    r"""Rows that would narrow an interval to ± ``wanted``, from the width it has now.

    .. math:: n' = \lceil n (w / w')^2 \rceil

    Parameters
    ----------
    rows
        Rows the present interval rests on, at least 1.
    half_width, wanted
        Half width now and aimed at, same unit; ``wanted`` above 0.

    Returns
    -------
    int
        May be below ``rows`` where the interval is narrow enough already.

    Raises
    ------
    ValueError
        If a parameter lies outside its range, or the present width is not finite.

    Examples
    --------
    >>> rows_for_width(400, 0.05, 0.025)
    1600

    References
    ----------
    Cochran, W. G. (1977). *Sampling Techniques*, 3rd ed., section 4.6. Wiley.
    """
    if not (rows >= 1 and 0 <= half_width < math.inf and wanted > 0):
        raise ValueError(f"cannot plan from {rows} rows, ±{half_width}, to ±{wanted}")
    return max(1, math.ceil(rows * (half_width / wanted) ** 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentSize:
    """Rows needed to develop a model of a yes/no outcome, by criterion; ``rows`` is the largest.

    ``shrinkage``: coefficients need at most 10% shrinkage. ``optimism``: the apparent R² of
    Nagelkerke is at most 0.05 too high. ``risk``: the overall rate is known to ±0.05.
    """

    shrinkage: int
    optimism: int
    risk: int

    @property
    def rows(self) -> int:
        """Return the rows that meet every criterion."""
        return max(self.shrinkage, self.optimism, self.risk)


def rows_to_develop(parameters: int, *, r2: float, prevalence: float) -> DevelopmentSize:
    r"""Rows needed to develop a model of a yes/no outcome without overfitting.

    .. math:: n_1 = \frac{p}{(S - 1)\ln(1 - R^2/S)},\ S = 0.9; \qquad
        n_2: \text{ the same with } S = \frac{R^2}{R^2 + 0.05\, R^2_{\max}}; \qquad
        n_3 = \left(\frac{1.96}{0.05}\right)^2 \varphi(1 - \varphi)

    with :math:`R^2_{\max} = 1 - (\varphi^\varphi (1-\varphi)^{1-\varphi})^2`.

    Parameters
    ----------
    parameters
        Number of coefficients the model may fit, at least 1.
    r2
        Cox-Snell R² expected, above 0 and below its maximum at this prevalence.
    prevalence
        Share of rows with the outcome (:math:`\varphi`), between 0 and 1.

    Returns
    -------
    DevelopmentSize
        Rows by criterion.

    Raises
    ------
    ValueError
        If a parameter lies outside its range.

    Examples
    --------
    >>> rows_to_develop(24, r2=0.288, prevalence=0.174).rows
    662

    References
    ----------
    Riley, R. D. et al. (2020). Calculating the sample size required for developing a clinical
    prediction model. *BMJ* 368, m441.
    """
    if not (parameters >= 1 and 0 < prevalence < 1):
        raise ValueError(f"no size for {parameters} parameters at prevalence {prevalence}")
    entropy = prevalence * math.log(prevalence) + (1 - prevalence) * math.log1p(-prevalence)
    largest = -math.expm1(2 * entropy)
    if not 0 < r2 < largest:
        raise ValueError(f"r2 must lie between 0 and {largest:.3f} at this prevalence, not at {r2}")

    def rows(shrinkage: float) -> int:
        return math.ceil(parameters / ((shrinkage - 1) * math.log1p(-r2 / shrinkage)))

    return DevelopmentSize(
        shrinkage=rows(0.9),
        optimism=rows(r2 / (r2 + 0.05 * largest)),
        risk=rows_for_share(0.05, share=prevalence),
    )
