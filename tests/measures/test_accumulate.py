"""Sums over windows: rarely wrong, and they find small lasting changes."""

from __future__ import annotations

import numpy as np
import pytest

from everfit.measures.accumulate import Cusum, accumulate, cusum_threshold


def run(z: np.ndarray, threshold: float) -> list[int]:
    """Return the windows of alarms; the sums start anew behind each."""
    state, found = Cusum.start(z.shape[1]), []
    for window, row in enumerate(z):
        state = accumulate(state, row, allowance=0.5, ceiling=threshold + 2)
        if (state.highest > threshold).any():
            found.append(window)
            state = Cusum.start(z.shape[1])
    return found


def test_false_alarms_are_as_rare_as_declared() -> None:
    z = np.random.default_rng(2).normal(size=(12_000, 20))
    alarms = len(run(z, cusum_threshold(20, run_length=400)))
    assert 12_000 / 400 * 0.5 <= alarms <= 12_000 / 400 * 1.5


def test_a_shift_of_one_deviation_is_found_within_two_dozen_windows() -> None:
    random = np.random.default_rng(3)
    threshold = cusum_threshold(94, run_length=1_500)
    delays = []
    for _ in range(40):
        z = random.normal(size=(60, 94))
        z[:, 0] += 1.0
        delays.append(run(z, threshold)[0])
    assert np.median(delays) <= 24


def test_one_sided_streams_do_not_alarm_on_a_fall() -> None:
    state = Cusum.start(1)
    for _ in range(50):
        state = accumulate(
            state, np.array([-3.0]), allowance=0.5, ceiling=12.0, one_sided=np.array([True])
        )
    assert state.highest.tolist() == [0.0]


def test_a_window_that_says_nothing_lets_the_sums_fade() -> None:
    state = accumulate(Cusum.start(1), np.array([4.0]), allowance=0.5, ceiling=12.0)
    after = accumulate(state, np.array([np.nan]), allowance=0.5, ceiling=12.0)
    assert after.rise.tolist() == [pytest.approx(3.0)]


def test_more_streams_need_a_higher_threshold() -> None:
    assert cusum_threshold(200, run_length=1_500) > cusum_threshold(20, run_length=1_500)
