"""Counts against a sketch add up, and ranks are uniform where nothing changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.measures.sketch import (
    EDGES,
    count_category,
    count_numeric,
    ranks,
    sketch_category,
    sketch_numeric,
)

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    "reference",
    [
        RANDOM.normal(size=50_000),
        RANDOM.lognormal(0.0, 3.0, size=50_000),
        RANDOM.integers(0, 24, size=50_000).astype(float),
        np.where(RANDOM.random(50_000) < 0.9, 0.0, RANDOM.normal(size=50_000)),
    ],
    ids=["normal", "heavy", "hours", "mostly-zero"],
)
def test_ranks_of_the_reference_are_centred_on_one_half(reference: np.ndarray) -> None:
    sketch = sketch_numeric({"x": reference})
    assert sketch.rank[0, 0] == pytest.approx(0.5, abs=1e-3)
    assert len(sketch.knots[0]) <= 3 * EDGES
    exact = (np.searchsorted(np.sort(reference), reference[:500]) + 0.5) / reference.size
    if np.unique(reference).size == reference.size:
        assert np.abs(ranks(sketch, 0, reference[:500]) - exact).max() < 2 / EDGES


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60))
def test_any_values_can_be_sketched_and_counted(values: list[float]) -> None:
    column = np.array(values)
    sketch = sketch_numeric({"x": column})
    assert (np.diff(sketch.knots[0]) >= 0).all()
    counts = count_numeric(sketch, [column])
    assert counts.missing[0] == (~np.isfinite(column)).sum()
    assert counts.bins.sum() + counts.missing[0] == column.size
    assert counts.outside[0] == 0


@given(st.integers(0, 80))
def test_counts_of_parts_add_up_to_those_of_the_whole(cut: int) -> None:
    sketch = sketch_numeric({"x": np.arange(1000.0), "y": np.arange(1000.0) % 7})
    x, y = np.linspace(-5.0, 1100.0, 80), np.where(np.arange(80) % 9 == 0, np.nan, 3.0)
    whole = count_numeric(sketch, [x, y])
    both = count_numeric(sketch, [x[:cut], y[:cut]]) + count_numeric(sketch, [x[cut:], y[cut:]])
    assert whole.rows == both.rows
    for name in ("missing", "outside", "ranks", "spreads", "bins"):
        np.testing.assert_allclose(getattr(whole, name), getattr(both, name), atol=1e-9)


def test_a_value_never_seen_is_expected_as_often_as_values_seen_once() -> None:
    random = np.random.default_rng(5)
    shares = 1 / np.arange(1, 800) ** 1.3
    shares /= shares.sum()

    def drawn(rows: int) -> dict[str, int]:
        values, counts = np.unique(random.choice(len(shares), rows, p=shares), return_counts=True)
        return {str(v): int(c) for v, c in zip(values, counts, strict=True)}

    sketch = sketch_category("c", drawn(5_000), 0)
    seen = count_category(sketch, drawn(200_000), 0)
    assert seen.unseen / seen.rows == pytest.approx(sketch.novel, rel=0.25)


def test_category_counts_add_up() -> None:
    sketch = sketch_category("c", {"a": 3, "b": 2}, missing=1)
    both = count_category(sketch, {"a": 1}, 1) + count_category(sketch, {"z": 4}, 0)
    assert (both.rows, both.missing, both.unseen, both.cells.tolist()) == (6, 1, 4, [1, 0])
