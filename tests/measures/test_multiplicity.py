"""Benjamini-Hochberg keeps its promise and rejects what it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.measures.multiplicity import benjamini_hochberg


def test_the_share_of_false_rejections_stays_below_q() -> None:
    random = np.random.default_rng(1)
    p = random.random((4_000, 50))
    p[:, :10] = random.random((4_000, 10)) * 1e-3  # true effects
    rejected = benjamini_hochberg(p, q=0.1)
    share = rejected[:, 10:].sum(axis=1) / np.maximum(rejected.sum(axis=1), 1)
    assert share.mean() <= 0.1
    assert rejected[:, :10].mean() > 0.99


def test_nan_is_never_rejected_and_still_counts() -> None:
    assert benjamini_hochberg([0.04, np.nan], q=0.05).tolist() == [False, False]
    assert benjamini_hochberg([], q=0.05).tolist() == []


@pytest.mark.parametrize("q", [0.0, 1.0, float("nan")])
def test_a_rate_outside_zero_and_one_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="q must lie"):
        benjamini_hochberg([0.1], q=q)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.permutations(range(30)))
def test_order_does_not_matter(values: list[float], order: list[int]) -> None:
    p = np.array(values)
    moved = [place for place in order if place < len(p)]
    assert (benjamini_hochberg(p, 0.2)[moved] == benjamini_hochberg(p[moved], 0.2)).all()
