from __future__ import annotations

import math

import pytest

from everfit.measures.size import rows_for_width


def test_twice_the_precision_needs_four_times_the_rows() -> None:
    assert rows_for_width(500, 0.04, 0.02) == 2_000


def test_impossible_widths_have_no_size() -> None:
    with pytest.raises(ValueError, match="cannot plan"):
        rows_for_width(10, math.inf, 0.1)
