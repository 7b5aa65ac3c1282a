"""Leaks: found where they are, and not where they are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.data import find_leaks, infer_schema
from everfit.data.leaks import auc

ROWS = 3000
R = np.random.default_rng(5)
BASE = pl.DataFrame(
    {
        "a": R.normal(size=ROWS),
        "b": R.exponential(size=ROWS),
        "c": R.choice(["p", "q", "r"], ROWS),
        "flag": R.random(ROWS) < 0.5,
    }
)
YES = R.random(ROWS) < 0.2
NUMBER = R.normal(size=ROWS) + BASE["a"].to_numpy()


def leaks(target: Any, **columns: Any) -> list[tuple[str, ...]]:
    frame = BASE.with_columns(**{k: pl.Series(v) for k, v in columns.items()}, y=pl.Series(target))
    return [leak.columns for leak in find_leaks(frame, infer_schema(frame, target="y"))]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("copy", YES),
        ("word", np.where(YES, "left", "stays")),
        ("score", YES + R.normal(size=ROWS) * 0.2),
        ("against", -1.0 * YES + R.normal(size=ROWS) * 0.2),
        ("closed_on", pl.select(pl.when(pl.Series(YES)).then(R.normal(size=ROWS))).to_series()),
        ("reason", np.where(YES, R.choice(["price", "move"], ROWS), "none")),
    ],
)
def test_one_column_that_tells_the_class_is_found(name: str, values: Any) -> None:
    assert leaks(YES, **{name: values}) == [(name,)]


def test_honest_columns_are_left_alone() -> None:
    assert leaks(YES) == []
    assert leaks(YES, good=YES + R.normal(size=ROWS) * 0.6) == []
    assert leaks(NUMBER) == []
    assert leaks(NUMBER, good=NUMBER + R.normal(size=ROWS) * 0.2) == []


def test_categories_of_a_few_rows_are_not_judged_by_themselves() -> None:
    # Each category has three rows: in the rows it was counted on it tells the class well.
    many = [f"k{i}" for i in R.permutation(ROWS) // 3]
    assert leaks(YES, many=many) == []
    assert leaks(NUMBER, many=many) == []


def test_one_class_among_three_may_be_easy() -> None:
    kinds = R.choice(["setosa", "versicolor", "virginica"], ROWS)
    petal = np.select([kinds == "setosa", kinds == "versicolor"], [1.4, 4.2], 5.5)
    assert leaks(kinds, petal=petal + R.normal(size=ROWS) * 0.5) == []
    assert leaks(kinds, petal=petal + R.normal(size=ROWS) * 0.05) == [("petal",)]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("copy", NUMBER),
        ("scaled", -2 * NUMBER + 7),
        ("log", np.exp(NUMBER)),
        ("rounded", np.round(NUMBER, 1)),
        ("each", [f"n{round(v)}" for v in NUMBER]),
    ],
)
def test_one_column_that_tells_the_number_is_found(name: str, values: Any) -> None:
    target = NUMBER if name != "each" else np.round(NUMBER)
    assert leaks(target, **{name: values}) == [(name,)]


def test_parts_of_a_sum_are_named_and_no_others() -> None:
    one, two = R.poisson(30, ROWS), R.poisson(100, ROWS)
    total = one + two
    assert leaks(total, one=one, two=two) == [("one", "two")]
    holes = pl.select(pl.when(pl.Series(R.random(ROWS) > 0.05)).then(pl.Series(one))).to_series()
    assert leaks(total, one=holes, two=two) == [("one", "two")]
    assert leaks(total, one=one) == []


def test_two_ways_to_the_same_sum_are_both_named() -> None:
    one, two = R.poisson(30, ROWS), R.poisson(100, ROWS)
    third = R.poisson(50, ROWS)
    found = leaks(one + two, one=one, two=two, third=third, rest=one + two - third)
    assert len(found) == 2
    assert {name for columns in found for name in columns} == {"one", "two", "third", "rest"}


def test_the_value_of_the_row_before_is_no_leak() -> None:
    steps = np.cumsum(R.normal(size=ROWS))
    at = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=i) for i in range(ROWS)]
    before = np.concatenate([[0.0], steps[:-1]]) + R.normal(size=ROWS) * 0.1
    assert leaks(steps, before=before, at=at) == []
    assert leaks(steps, before=before) == [("before",)]


def test_what_is_allowed_or_too_small_to_judge_is_not_refused() -> None:
    frame = BASE.with_columns(copy=pl.Series(NUMBER), y=pl.Series(NUMBER))
    schema = infer_schema(frame, target="y")
    assert find_leaks(frame, schema, allow=["copy"]) == []
    assert find_leaks(frame.head(20), schema) == []
    assert find_leaks(frame, infer_schema(frame, target=None)) == []


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_the_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    wins = [score for score, positive in rows if positive]
    losses = [score for score, positive in rows if not positive]
    if not wins or not losses:
        return
    pairs = sum((w > x) + (w == x) / 2 for w in wins for x in losses)
    scores, positive = zip(*rows, strict=True)
    expected = pairs / (len(wins) * len(losses))
    assert auc(pl.Series(scores), np.array(positive)) == pytest.approx(expected)


def test_a_target_may_be_called_count() -> None:
    frame = BASE.with_columns(count=pl.Series(np.where(YES, "yes", "no")))
    assert find_leaks(frame, infer_schema(frame, target="count")) == []


def test_a_number_can_be_told_from_texts_alone() -> None:
    frame = BASE.select("c", y=pl.Series(NUMBER))
    assert find_leaks(frame, infer_schema(frame, target="y")) == []
