"""Many tests at once: which of them to believe."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p_values: ArrayLike, q: float) -> NDArray[np.bool_]:
    r"""Return which hypotheses to reject so that the expected share of false ones is at most q.

    Rejects the hypotheses with the :math:`k` smallest p-values, where :math:`k` is the largest
    rank with :math:`p_{(k)} \le q k / m`. Where nothing is true, the chance of any rejection
    is at most q (for independent or positively dependent tests).

    Parameters
    ----------
    p_values
        One per hypothesis, in [0, 1], shape ``(..., m)``; the last axis is one family. NaN is
        never rejected and still counts in m.
    q
        False discovery rate allowed, in (0, 1).

    Returns
    -------
    ndarray of bool
        Same shape as ``p_values``.

    Examples
    --------
    >>> benjamini_hochberg([0.001, 0.2, 0.012, 0.04], q=0.05).tolist()
    [True, False, True, False]

    References
    ----------
    Benjamini, Y. & Hochberg, Y. (1995). Controlling the false discovery rate. *JRSS B* 57.
    """
    if not 0.0 < q < 1.0:
        raise ValueError(f"q must lie in (0, 1), found {q}")
    values = np.nan_to_num(np.asarray(p_values, dtype=np.float64), nan=2.0)
    tests = values.shape[-1]
    if tests == 0:
        return np.zeros(values.shape, dtype=np.bool_)
    ordered = np.sort(values, axis=-1)
    passing = ordered <= q * np.arange(1, tests + 1) / tests
    cutoffs = np.where(passing, ordered, -1.0).max(axis=-1, keepdims=True)
    rejected: NDArray[np.bool_] = values <= cutoffs
    return rejected
