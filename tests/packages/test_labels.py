"""One class, however it is written."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from everfit.packages import label_text, label_texts

LABELS = (
    st.lists(st.booleans(), min_size=1)
    | st.lists(st.integers(-(2**53), 2**53), min_size=1)
    | st.lists(st.integers(-(10**9), 10**9).map(float), min_size=1)
    | st.lists(st.text() | st.sampled_from(["True", "False", "1.0", "-2.00", "1.05"]), min_size=1)
)


@given(LABELS)
def test_one_label_and_a_column_of_them_become_the_same_texts(labels: list[object]) -> None:
    assert label_texts(pl.Series(labels)).to_list() == [label_text(label) for label in labels]


def test_a_missing_label_stays_missing() -> None:
    assert label_texts(pl.Series([1, None])).to_list() == ["1", None]
