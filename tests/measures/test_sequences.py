from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate

from everfit.measures.detection import ErrorWatch, watch_error
from everfit.measures.sequences import (
    bounded_mean_sequence,
    evidence_above,
    evidence_below,
    evidence_of_more_errors,
    log_threshold,
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


def test_evidence_above_is_the_mixture_of_likelihood_ratios() -> None:
    def ratio(p: float) -> float:
        prior = 1 / math.sqrt(p * (1 - p))
        return prior * (p / 0.1) ** 15 * ((1 - p) / 0.9) ** 85

    mixed, _ = integrate.quad(ratio, 0.1, 1)
    whole, _ = integrate.quad(lambda p: 1 / math.sqrt(p * (1 - p)), 0.1, 1)
    assert evidence_above(15, 100, 0.1) == pytest.approx(math.log(mixed / whole), abs=1e-5)
    assert evidence_below(85, 100, 0.9) == pytest.approx(evidence_above(15, 100, 0.1))


def test_no_rows_and_hopeless_counts_are_no_evidence() -> None:
    assert evidence_above(0, 0, 0.1) == 0
    assert evidence_above(0, 10**6, 0.5) < -100
    assert evidence_of_more_errors(0, 100, 0, 1_000) == 0
    assert evidence_of_more_errors(0, 0, 5, 1_000) == 0
    with pytest.raises(ValueError, match="impossible"):
        evidence_of_more_errors(5, 2, 0, 10)


def alarms(canary: float, champion: float, *, share: float, requests: int) -> float:
    """Return how often a canary is rolled back when looked at after every error, at alpha 5%."""
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(200):
        arm = rng.random(requests) < share
        wrong = rng.random(requests) < np.where(arm, canary, champion)
        n, errors = arm.cumsum(), (arm & wrong).cumsum()
        base, base_errors = (~arm).cumsum(), (~arm & wrong).cumsum()
        found += any(
            evidence_of_more_errors(int(errors[t]), int(n[t]), int(base_errors[t]), int(base[t]))
            >= log_threshold(0.05)
            for t in np.flatnonzero(wrong)
        )
    return found / 200


def test_a_good_canary_is_rarely_rolled_back_however_often_one_looks() -> None:
    assert alarms(0.02, 0.02, share=0.1, requests=4_000) <= 0.05


def test_a_bad_canary_is_rolled_back() -> None:
    assert alarms(0.06, 0.02, share=0.1, requests=8_000) >= 0.9


def test_the_bounded_sequence_covers_and_shrinks() -> None:
    rng = np.random.default_rng(4)
    missed = 0
    for _ in range(100):
        values = rng.beta(1, 4, 300)
        found = [bounded_mean_sequence(values[:t]) for t in (10, 50, 150, 300)]
        missed += any(not i.low <= 0.2 <= i.high for i in found)
        assert found[-1].half_width < found[0].half_width
    assert missed / 100 <= 0.05
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        bounded_mean_sequence([0.5, 1.5])


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
