from __future__ import annotations

import math

import numpy as np
import pytest

from everfit.measures.detection import ErrorWatch, watch_error
from everfit.measures.sequences import (
    mean_radius,
    mean_sequence,
    share_sequence,
)


@pytest.mark.parametrize("target", [30, 200])
def test_looking_after_every_row_rarely_misses_the_mean(target: int) -> None:
    values = np.random.default_rng(1).normal(size=(1_000, 1_000))
    n = np.arange(1, 1_001)
    means = values.cumsum(axis=1) / n
    deviations = np.sqrt(np.maximum((values**2).cumsum(axis=1) / n - means**2, 0))
    radii = mean_radius(np.broadcast_to(n, means.shape), deviations, target=target)
    # At most 5% by theory; a fixed 95% interval looked at so often misses in most repetitions.
    assert (np.abs(means) > radii).any(axis=1).mean() <= 0.05


def test_the_mean_sequence_costs_less_than_twice_a_fixed_interval() -> None:
    n = np.array([30, 100, 1_000])
    fixed = 1.96 / np.sqrt(n)
    assert (mean_radius(n, np.ones(3), target=100) < 2 * fixed).all()


def test_one_value_says_nothing_about_the_mean() -> None:
    assert mean_sequence([3.0]).low == -math.inf
    with pytest.raises(ValueError, match="NaN"):
        mean_sequence([1.0, math.nan])


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_looking_after_every_row_rarely_misses_the_share(share: float) -> None:
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(100):
        successes = (rng.random(1_000) < share).cumsum()
        looks = np.flatnonzero(np.arange(1_000) % 25 == 24)
        found = [share_sequence(int(successes[t]), int(t) + 1) for t in looks]
        missed += any(not i.low <= share <= i.high for i in found)
    # 5% at most; 2 standard deviations of 100 repetitions are 4 points.
    assert missed / 100 <= 0.05 + 0.04


def errors(rng: np.random.Generator, n: int, rate: float) -> np.ndarray[tuple[int], np.dtype]:
    return (rng.random(n) < rate).astype(np.float64)


def test_the_detector_rests_for_as_long_as_it_promises() -> None:
    """At most 0.3 false alarms per 10,000 rows, at the limit itself."""
    rng = np.random.default_rng(5)
    rows, found = 1_000_000, 0
    watch, left = ErrorWatch(), errors(rng, rows, 0.1)
    for part in np.split(left, 100):
        watch = watch_error(part, 0.1, since=watch)
        found += watch.alarm is not None
    # 30 are promised at most; the simulated count may exceed its mean by chance (2 sd of 30).
    assert found <= 30 + 11


@pytest.mark.parametrize(("rate", "reach"), [(0.15, 500), (0.20, 200), (0.50, 20)])
def test_the_detector_is_quick(rate: float, reach: int) -> None:
    rng = np.random.default_rng(6)
    delays = []
    for _ in range(100):
        before = watch_error(errors(rng, 2_000, 0.1), 0.1, since=ErrorWatch())
        since = ErrorWatch() if before.alarm is not None else before
        alarm = watch_error(errors(rng, 2_000, rate), 0.1, since=since).alarm
        delays.append(2_000 if alarm is None else alarm)
    assert np.median(delays) <= reach


def test_the_detector_does_not_care_how_rows_are_parted() -> None:
    losses = errors(np.random.default_rng(7), 500, 0.12)
    once = watch_error(losses, 0.2, since=ErrorWatch())
    watch = ErrorWatch()
    for part in np.split(losses, [1, 7, 300]):
        watch = watch_error(part, 0.2, since=watch)
    assert watch.log_wealth == pytest.approx(once.log_wealth)
    assert (watch.rows, watch.alarm) == (once.rows, once.alarm) == (500, None)


def test_the_detector_starts_anew_after_an_alarm() -> None:
    watch = watch_error(np.r_[np.ones(100), np.zeros(300)], 0.1, since=ErrorWatch())
    assert watch.alarm is not None
    assert watch.alarm < 15
    assert watch.rows == 400 - watch.alarm - 1


@pytest.mark.parametrize(
    ("losses", "limit"), [([], 0.1), ([math.nan], 0.1), ([2.0], 0.1), ([0.0], 0.0), ([0.0], 1.0)]
)
def test_the_detector_refuses_what_it_cannot_judge(losses: list[float], limit: float) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        watch_error(losses, limit, since=ErrorWatch())
