from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.measures.intervals import wilson
from everfit.measures.size import rows_for_share, rows_for_width, rows_to_develop


def test_the_published_example_of_riley_needs_662_rows() -> None:
    found = rows_to_develop(24, r2=0.288, prevalence=0.174)
    assert (found.shrinkage, found.optimism, found.risk, found.rows) == (623, 662, 221, 662)


@given(st.floats(0.01, 0.05), st.floats(0.2, 0.8))
def test_that_many_rows_give_the_width(half_width: float, share: float) -> None:
    n = rows_for_share(half_width, share=share)
    assert wilson(round(share * n), n).half_width <= half_width * 1.1


def test_twice_the_precision_needs_four_times_the_rows() -> None:
    assert rows_for_width(500, 0.04, 0.02) == 2_000


@pytest.mark.parametrize("r2", [0.0, 0.7, math.nan])
def test_impossible_models_have_no_size(r2: float) -> None:
    with pytest.raises(ValueError, match="r2 must lie"):
        rows_to_develop(10, r2=r2, prevalence=0.2)


def test_impossible_widths_have_no_size() -> None:
    with pytest.raises(ValueError, match="no rows"):
        rows_for_share(math.nan)
    with pytest.raises(ValueError, match="cannot plan"):
        rows_for_width(10, math.inf, 0.1)
