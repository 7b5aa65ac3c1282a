"""How many rows are enough to know a score."""

from __future__ import annotations

import math


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
