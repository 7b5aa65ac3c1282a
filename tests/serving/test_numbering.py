"""Ids of predictions: distinct, in the order of their rows, and of one length."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from everfit.serving.numbering import PAIRS, PredictionIds

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(counts=st.lists(st.integers(0, 2_500), min_size=1, max_size=5))
def test_ids_of_any_requests_are_distinct_and_sort_by_row(counts: list[int]) -> None:
    ids = PredictionIds()
    taken = [ids.take(count, NOW) for count in counts]
    assert [len(one) for one in taken] == counts
    every = [one for some in taken for one in some]
    assert len(set(every)) == len(every)
    assert sorted(every) == every
    assert {len(one) for one in every} <= {24}


def test_an_id_ends_in_the_number_of_its_prediction() -> None:
    ids = PredictionIds()
    for number, one in enumerate(ids.take(3_000, NOW)):
        assert one[-6:] == PAIRS[0] + PAIRS[number >> 10] + PAIRS[number & 1023]
