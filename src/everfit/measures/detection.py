"""The e-detector: has the error risen above what was signed off? Streaming, rarely wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from everfit.measures.intervals import Floats, as_sample

BETS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorWatch:
    """Where a watch on a bounded loss stands: three plain fields, kept between windows.

    ``log_wealth`` is the logarithm of the detector per bet, ``rows`` how many losses it has
    seen since it (re)started, ``alarm`` the 0-based position in the *last* update at which it
    crossed its threshold, or None.
    """

    log_wealth: tuple[float, ...] = (-math.inf,) * BETS
    rows: int = 0
    alarm: int | None = None


def watch_error(
    losses: npt.ArrayLike, limit: float, *, since: ErrorWatch, run_length: float = 33_334
) -> ErrorWatch:
    r"""Return the watch after ``losses``, with the position of the first alarm among them.

    A Shiryaev-Roberts e-detector: one gambler enters at every row and bets that the mean loss is
    above the limit; the detector is the sum of their wealth, averaged over bets of several sizes.

    .. math:: M^{(k)}_t = \left(M^{(k)}_{t-1} + 1\right)\left(1 + \lambda_k (x_t - m)\right),
              \qquad \text{alarm when } \tfrac1K \sum_k M^{(k)}_t \ge A

    While the conditional mean loss is at most :math:`m`, every factor has mean at most 1, so the
    expected time to an alarm is at least :math:`A` rows, whatever the distribution. Bets
    :math:`\lambda_k = f_k / m` with :math:`f_k` geometric up to 0.9, so that a rise by a tenth of
    the limit and one to 100% are both met by a nearby bet.

    Parameters
    ----------
    losses
        In order of time, shape ``(n,)``, each in [0, 1]: 0/1 errors, or a loss divided by a bound
        and cut off there. Rows that depend on their neighbours go in as means of blocks.
    limit
        The mean loss that is still all right: the upper confidence bound of the signed-off loss
        plus a tolerance; between 0 and 1, both excluded.
    since
        The watch so far; a new one is ``ErrorWatch()``. After an alarm the detector goes on from
        the rows behind it as a new one.
    run_length
        Guaranteed mean number of rows between false alarms (:math:`A`).

    Returns
    -------
    ErrorWatch
        To be kept and handed in again; feeding rows in one or in many parts makes no difference.

    Raises
    ------
    ValueError
        If there are no losses, one lies outside [0, 1], or a parameter makes no sense.

    Examples
    --------
    >>> quiet = watch_error([0, 0, 0, 1] * 250, 0.3, since=ErrorWatch())
    >>> quiet.rows, quiet.alarm
    (1000, None)
    >>> watch_error([0, 1] * 250, 0.3, since=quiet).alarm
    99

    References
    ----------
    Shin, J., Ramdas, A. & Rinaldo, A. (2024). E-detectors: a nonparametric framework for sequential
    change detection. *New England Journal of Statistics in Data Science* 2, 229-260.
    """
    sample = as_sample(losses, "losses")
    if sample.min() < 0 or sample.max() > 1:
        raise ValueError(f"losses must lie in [0, 1], not in [{sample.min()}, {sample.max()}]")
    if not (0 < limit < 1 and run_length > 1):
        raise ValueError(f"no detector for limit {limit} and run length {run_length}")
    wealth = _wealth(sample, limit, np.array(since.log_wealth))
    evidence = np.logaddexp.reduce(wealth, axis=1) - math.log(BETS)
    crossed = np.flatnonzero(evidence >= math.log(run_length))
    if not crossed.size:
        state = tuple(float(value) for value in wealth[-1])
        return ErrorWatch(log_wealth=state, rows=since.rows + sample.size)
    alarm = int(crossed[0])
    rest = sample[alarm + 1 :]
    state = ErrorWatch().log_wealth
    if rest.size:
        state = tuple(float(value) for value in _wealth(rest, limit, np.array(state))[-1])
    return ErrorWatch(log_wealth=state, rows=rest.size, alarm=alarm)


def _wealth(sample: Floats, limit: float, before: Floats) -> Floats:
    """Return the logarithm of the detector after each row, per bet, shape ``(n, BETS)``.

    The recursion solved: M_t = exp(S_t) (M_0 + sum over starts j <= t of exp(-S_{j-1})).
    """
    smallest = min(0.1 * limit / (1 - limit), 0.5)
    bets = np.geomspace(smallest, 0.9, BETS) / limit
    sums = np.cumsum(np.log1p(bets * (sample[:, None] - limit)), axis=0)
    starts = np.vstack([np.logaddexp(before, 0.0), -sums[:-1]])
    wealth: Floats = sums + np.logaddexp.accumulate(starts, axis=0)
    return wealth
