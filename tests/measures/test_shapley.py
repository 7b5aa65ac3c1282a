"""Sampled contributions against functions whose Shapley values are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.measures.shapley import masks, sampled, sampling


@given(
    inputs=st.integers(1, 12),
    background=st.integers(1, 40),
    most=st.integers(2, 600),
    seed=st.integers(0, 99),
)
def test_it_adds_up_within_its_bound_whatever_the_function(
    inputs: int, background: int, most: int, seed: int
) -> None:
    drawn = sampling(inputs, background, most=most, seed=seed)
    assert drawn.evaluations <= max(most, 2 * (inputs + 1))
    known, rows = masks(drawn)
    assert known.shape == (drawn.evaluations, inputs)
    assert rows.max() < background
    # Any function whose answer to the full row does not depend on the background row.
    noise = np.random.default_rng(seed).normal(size=drawn.evaluations)
    answers = np.where(known.all(axis=1), 7.0, noise)
    found = sampled(drawn, answers)
    assert found.base + found.values.sum() == pytest.approx(7.0)


def test_every_background_row_counts_alike_in_the_base() -> None:
    drawn = sampling(3, 10, most=500)
    counts = np.bincount(drawn.rows, minlength=10)
    assert counts.min() == counts.max() > 0


def test_an_additive_function_is_found_exactly_from_any_orders() -> None:
    rng = np.random.default_rng(0)
    background, row, weights = rng.normal(size=(8, 5)), rng.normal(size=5), rng.normal(size=5)
    drawn = sampling(5, 8, most=2_000)
    known, rows = masks(drawn)
    found = sampled(drawn, np.where(known, row, background[rows]) @ weights)
    assert found.values == pytest.approx(weights * (row - background.mean(axis=0)))


def test_an_interaction_is_split_and_the_error_says_how_far_off_it_may_be() -> None:
    rng = np.random.default_rng(3)
    background, row = rng.normal(size=(64, 3)), np.array([1.0, 2.0, 3.0])

    def asked(most: int) -> tuple[float, float]:
        drawn = sampling(3, 64, most=most)
        known, rows = masks(drawn)
        mixed = np.where(known, row, background[rows])
        found = sampled(drawn, mixed[:, 0] * mixed[:, 1] + mixed[:, 2])
        return float(found.values[0]), float(found.errors[0])

    exact = np.mean((1 - background[:, 0]) * (2 + background[:, 1]) / 2)
    few, many = asked(400), asked(40_000)
    assert abs(few[0] - exact) < 4 * few[1]
    assert abs(many[0] - exact) < 4 * many[1] < few[1] * 4


def test_one_pair_of_orders_has_no_error_to_tell() -> None:
    drawn = sampling(50, 4, most=2)
    known, _ = masks(drawn)
    found = sampled(drawn, known.sum(axis=1).astype(np.float64))
    assert np.isinf(found.errors).all()
