from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from everfit.measures.paired import (
    paired_difference,
    relative_improvement,
    time_blocks,
    worse_p_value,
)
from everfit.measures.pooling import shrunken

Floats = npt.NDArray[np.float64]
Pair = Callable[[np.random.Generator], tuple[Floats, Floats]]
HOUR = np.timedelta64(1, "h")


def hours(n: int) -> npt.NDArray[np.datetime64]:
    return np.datetime64("2026-01-01", "h") + np.arange(n) * HOUR


def skewed(rng: np.random.Generator) -> tuple[Floats, Floats]:
    champion = rng.exponential(size=300)
    return 0.9 * champion * rng.gamma(4, 0.25, 300), champion


def wrong_labels(rng: np.random.Generator) -> tuple[Floats, Floats]:
    champion = rng.random(600) < 0.1
    candidate = np.where(champion, rng.random(600) < 0.7, rng.random(600) < 0.02)
    return candidate.astype(float), champion.astype(float)


@pytest.mark.parametrize(("pair", "truth"), [(skewed, 0.1), (wrong_labels, 0.12)])
def test_relative_improvement_covers_the_truth(pair: Pair, truth: float) -> None:
    rng = np.random.default_rng(1)
    found = [relative_improvement(*pair(rng)) for _ in range(1_000)]
    # A true 95% shows as 93.6% to 96.4% in 1,000 repetitions, 19 times out of 20.
    assert 0.93 < np.mean([i.low <= truth <= i.high for i in found]) < 0.98


def test_a_handful_of_errors_proves_nothing() -> None:
    champion, candidate = np.zeros(100), np.zeros(100)
    champion[:3] = 1
    assert relative_improvement(candidate, champion).low < 0


def test_a_champion_without_loss_cannot_be_improved() -> None:
    with pytest.raises(ValueError, match="no loss"):
        relative_improvement(np.zeros(10), np.zeros(10))


def test_an_uncertain_champion_leaves_the_interval_open() -> None:
    champion = np.zeros(50)
    champion[0] = 9.0
    assert relative_improvement(np.full(50, 0.2), champion).low == -math.inf


def autoregressive(rng: np.random.Generator, n: int, phi: float) -> Floats:
    noise = rng.normal(size=n) * math.sqrt(1 - phi**2)
    values = np.empty(n)
    values[0] = rng.normal()
    for i in range(1, n):
        values[i] = phi * values[i - 1] + noise[i]
    return values


def test_blocks_of_time_save_the_interval_of_dependent_rows() -> None:
    rng = np.random.default_rng(2)
    with_blocks: list[bool] = []
    without: list[bool] = []
    for _ in range(200):
        difference = autoregressive(rng, 1_000, 0.9)
        champion = np.full(difference.size, 5.0)
        candidate = champion + difference
        blocks = time_blocks(hours(difference.size), difference)
        for found, kept in ((blocks, with_blocks), (None, without)):
            interval = paired_difference(candidate, champion, blocks=found)
            kept.append(interval.low <= 0 <= interval.high)
    assert np.mean(with_blocks) > 0.86
    assert np.mean(without) < 0.5


def test_blocks_are_days_in_order_of_time_whatever_the_order_of_rows() -> None:
    order = np.random.default_rng(3).permutation(480)
    values = np.tile([1.0, -1.0], 240)
    blocks = time_blocks(hours(480)[order], values[order])
    assert blocks.tolist() == (order // 24).tolist()


def test_few_days_are_cut_into_blocks_of_equal_count() -> None:
    blocks = time_blocks(hours(48), np.tile([1.0, -1.0], 24))
    assert blocks.max() + 1 >= 10
    assert np.bincount(blocks).max() - np.bincount(blocks).min() <= 1


def test_the_p_value_of_harm_is_uniform_at_the_margin_and_small_beyond() -> None:
    rng = np.random.default_rng(4)
    p_values = []
    for _ in range(1_000):
        champion = rng.exponential(size=300)
        p_values.append(
            worse_p_value(1.05 * champion * rng.gamma(4, 0.25, 300), champion, margin=0.05)
        )
    assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.07
    champion = rng.exponential(size=300)
    assert worse_p_value(1.5 * champion, champion, margin=0.05) < 1e-6


def test_slack_is_tolerated_by_row_whether_rows_stand_alone_or_in_blocks() -> None:
    rng = np.random.default_rng(6)
    none, blocks = np.zeros(400), np.arange(400) // 10
    for grouped in (None, blocks):
        p_values = [
            worse_p_value(rng.normal(0.5, 0.1, 400), none, slack=0.5, blocks=grouped)
            for _ in range(1_000)
        ]
        assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.07
        assert 0.03 < np.mean(np.array(p_values) > 0.95) < 0.07
    handful = np.zeros(100)
    handful[:3] = 1
    assert 0.01 < worse_p_value(handful, np.zeros(100), slack=0.02) < 0.99


def test_unpaired_or_too_few_losses_are_refused() -> None:
    with pytest.raises(ValueError, match="not paired"):
        relative_improvement([1.0, 2.0], [1.0])
    for measure in (relative_improvement, paired_difference, worse_p_value):
        with pytest.raises(ValueError, match="two independent observations"):
            measure([1.0], [1.0])
        with pytest.raises(ValueError, match="two independent observations"):
            measure([1.0, 2.0], [1.0, 2.0], blocks=[0, 0])


@pytest.mark.parametrize("scatter", [0.0, 0.05, 0.3])
def test_shrunken_intervals_cover_on_average_and_are_narrower(scatter: float) -> None:
    rng = np.random.default_rng(5)
    inside, widths = [], []
    for _ in range(200):
        errors = rng.uniform(0.03, 0.2, 12)
        effects = 0.05 + scatter * rng.normal(size=12)
        found = shrunken(effects + errors * rng.normal(size=12), errors)
        inside += [i.low <= effect <= i.high for i, effect in zip(found, effects, strict=True)]
        widths += [i.half_width / (1.96 * e) for i, e in zip(found, errors, strict=True)]
    assert np.mean(inside) > 0.93
    assert np.mean(widths) < 1.0


def test_shrinking_needs_enough_groups() -> None:
    with pytest.raises(ValueError, match="4 groups"):
        shrunken([0.1, 0.2, 0.3], [0.1, 0.1, 0.1])
