from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.measures.fairness import (
    GroupCounts,
    count_groups,
    opportunity_ratio,
    selection_ratio,
)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), min_size=1))
def test_counts_add_up_and_the_largest_group_comes_first(
    rows: list[tuple[str, bool, bool]],
) -> None:
    groups, truth, said = zip(*rows, strict=True)
    found = count_groups(groups, np.array(truth), np.array(said))
    assert sum(group.rows for group in found) == len(rows)
    assert sum(group.positives for group in found) == sum(truth)
    assert sum(group.found for group in found) == sum(a and b for _, a, b in rows)
    assert [group.rows for group in found] == sorted((g.rows for g in found), reverse=True)


@pytest.mark.parametrize(("rows", "positives"), [(99, 50), (500, 19)])
def test_a_small_group_is_undecided(rows: int, positives: int) -> None:
    base = GroupCounts(group="a", rows=1_000, selected=500, positives=400, found=300)
    small = GroupCounts(group="b", rows=rows, selected=19, positives=positives, found=15)
    assert opportunity_ratio(small, base) is None
    assert selection_ratio(small, base) is None


def test_groups_that_are_never_chosen_are_undecided() -> None:
    never = GroupCounts(group="a", rows=1_000, selected=0, positives=400, found=0)
    assert selection_ratio(never, never) is None
    assert opportunity_ratio(never, never) is None


def test_missing_groups_are_a_group_and_numbers_are_no_truth() -> None:
    yes = np.array([True, False])
    assert {group.group for group in count_groups([None, "a"], yes, yes)} == {"missing", "a"}
    with pytest.raises(ValueError, match="booleans"):
        count_groups(["a", "b"], [0.0, float("nan")], yes)
    with pytest.raises(ValueError, match="groups"):
        count_groups([], yes[:0], yes[:0])
