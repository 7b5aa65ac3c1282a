"""Accumulation over windows: small lasting changes that no single window shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Siegmund's correction for what a discrete walk overshoots its boundary by.
PRECISION = 1e-9
OVERSHOOT = 1.166


@dataclass(frozen=True, slots=True, kw_only=True)
class Cusum:
    """Two one-sided sums per stream: evidence for a rise and for a fall, each at least 0."""

    rise: Floats
    fall: Floats

    @classmethod
    def start(cls, streams: int) -> Cusum:
        """Return the state before the first window."""
        return cls(rise=np.zeros(streams), fall=np.zeros(streams))

    @property
    def highest(self) -> Floats:
        """Return the larger of the two sums, shape ``(streams,)``."""
        return np.maximum(self.rise, self.fall)


def accumulate(
    state: Cusum,
    z: Floats,
    *,
    allowance: float | Floats,
    ceiling: float,
    one_sided: NDArray[np.bool_] | None = None,
) -> Cusum:
    r"""Return the sums after one more window.

    .. math:: S^+ \leftarrow \max(0, S^+ + z - k) \qquad S^- \leftarrow \max(0, S^- - z - k)

    Parameters
    ----------
    z
        Standardised score of each stream in this window, shape ``(streams,)``; NaN counts as 0
        (a stream that says nothing in this window).
    allowance
        k, the drift per window that is let go, in standard deviations; 0.5 finds a lasting
        change of one standard deviation soonest.
    one_sided
        Streams of which only a rise means something; their ``fall`` stays 0.
    ceiling
        The sums stop here, so that an alarm ends soon after its cause.

    Examples
    --------
    >>> state = Cusum.start(1)
    >>> for _ in range(4):
    ...     state = accumulate(state, np.array([2.0]), allowance=0.5, ceiling=12.0)
    >>> state.rise.tolist(), state.fall.tolist()
    ([6.0], [0.0])

    References
    ----------
    Page, E. S. (1954). Continuous inspection schemes. *Biometrika* 41.
    """
    known = np.nan_to_num(z)
    fall = np.clip(state.fall - known - allowance, 0.0, ceiling)
    return Cusum(
        rise=np.clip(state.rise + known - allowance, 0.0, ceiling),
        fall=fall if one_sided is None else np.where(one_sided, 0.0, fall),
    )


def cusum_threshold(streams: int, *, run_length: float, allowance: float = 0.5) -> float:
    r"""Return h, the sum at which to alarm so that false alarms are ``run_length`` windows apart.

    Solves Siegmund's approximation :math:`ARL = (e^{2kb} - 2kb - 1) / 2k^2` with
    :math:`b = h + 1.166` for ``2 * streams`` independent one-sided sums.

    Parameters
    ----------
    streams
        Number of two-sided sums watched together, at least 1.
    run_length
        Windows until the first false alarm on average, over all streams together.

    Returns
    -------
    float
        Above 0, in standard deviations of z.

    Examples
    --------
    >>> round(cusum_threshold(94, run_length=1500), 1)
    10.7

    References
    ----------
    Siegmund, D. (1985). *Sequential Analysis*. Springer.
    """
    target = run_length * 2 * streams

    def excess(bound: float) -> float:
        exponent = 2.0 * allowance * bound
        return math.expm1(exponent) - exponent - 2.0 * allowance**2 * target

    # Bisection: `excess` grows with the bound, and scipy.optimize would add 0.2 s to every start.
    low, high = OVERSHOOT, 300.0 / allowance
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return max(high - OVERSHOOT, 0.1)
