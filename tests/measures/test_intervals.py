from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.measures.intervals import (
    Interval,
    mean_interval,
    quantile_interval,
    ratio_interval,
    wilson,
)

# 2,000 repetitions: the simulated coverage of a true 95% is within 1.5 points of it.
REPEATS, SLACK = 2_000, 0.015


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_wilson_lies_in_the_unit_interval_around_the_share(n: int, part: float) -> None:
    successes = round(part * n)
    found = wilson(successes, n)
    assert 0 <= found.low <= successes / n <= found.high <= 1
    assert found.half_width > 0


@pytest.mark.parametrize(("share", "n"), [(0.5, 30), (0.1, 100), (0.02, 400)])
def test_wilson_covers_the_share(share: float, n: int) -> None:
    counts = np.random.default_rng(1).binomial(n, share, REPEATS)
    inside = [(found := wilson(int(count), n)).low <= share <= found.high for count in counts]
    assert np.mean(inside) > 0.95 - SLACK - 0.01


def test_mean_interval_covers_the_mean_of_few_normal_values() -> None:
    samples = np.random.default_rng(2).normal(3, 2, (REPEATS, 5))
    inside = [(found := mean_interval(row)).low <= 3 <= found.high for row in samples]
    assert abs(np.mean(inside) - 0.95) < SLACK


def test_ratio_interval_covers_the_ratio() -> None:
    rng = np.random.default_rng(3)
    ours, base = rng.binomial(200, 0.2, REPEATS), rng.binomial(500, 0.25, REPEATS)
    found = [ratio_interval(int(a), 200, int(b), 500) for a, b in zip(ours, base, strict=True)]
    assert abs(np.mean([i.low <= 0.8 <= i.high for i in found]) - 0.95) < SLACK


def test_a_ratio_without_successes_stays_open_on_one_side() -> None:
    assert ratio_interval(0, 100, 30, 100).low == 0
    assert ratio_interval(30, 100, 0, 100).high == math.inf
    with pytest.raises(ValueError, match="neither group"):
        ratio_interval(0, 100, 0, 100)


def test_quantile_interval_covers_the_quantile_of_a_skewed_distribution() -> None:
    samples = np.random.default_rng(4).exponential(size=(REPEATS, 200))
    truth = -math.log(0.05)
    inside = [(found := quantile_interval(row, 0.95)).low <= truth <= found.high for row in samples]
    assert np.mean(inside) > 0.95 - SLACK


def test_a_high_quantile_of_few_values_has_no_upper_end() -> None:
    assert quantile_interval(range(71), 0.95).high == math.inf
    assert quantile_interval(range(72), 0.95).high == 71


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf], [[1.0]]])
def test_what_is_no_sample_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"NaN|non-empty"):
        mean_interval(values)


def test_an_interval_with_nan_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no interval"):
        Interval(estimate=0.0, low=math.nan, high=1.0, rows=3, confidence=0.95)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson(successes, n)
