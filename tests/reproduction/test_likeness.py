"""How near two values are, and what the nearness of all steps amounts to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from everfit.data import Task
from everfit.packages import FittedModel, infer_signature, pack
from everfit.reproduction.likeness import likeness, relative
from everfit.reproduction.model import (
    Change,
    Checked,
    Likeness,
    Reproduction,
    Verdict,
    judged,
    likened,
    verdict_of,
)
from everfit.training import RecordedStep

numbers = st.floats() | st.integers()
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text() | st.dates(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=15,
)
NONE = {"difference": 0.0, "where": "", "opaque": False}


@given(values)
def test_a_value_is_like_itself(value: Any) -> None:
    assert likeness(value, value) == NONE


@given(numbers, numbers)
def test_the_difference_of_numbers_is_mutual_and_bounded(one: float, other: float) -> None:
    found = relative(one, other)
    assert found == relative(other, one)
    assert 0 <= found <= 2
    assert (found == 0) == (one == other or (one != one and other != other))


@dataclass(frozen=True)
class Pair:
    left: Any
    right: Any


FRAME = pl.DataFrame({"x": [1.0, 2.0, None], "t": ["a", None, "c"], "d": [date(2026, 1, 1)] * 3})


@pytest.mark.parametrize(
    ("one", "other", "difference", "where"),
    [
        ({"mae": 4.0}, {"mae": 5.0}, 0.2, "mae: 4.0 then, 5.0 now"),
        ([1, 2], [1, 2, 3], None, "it: 2 values then, 3 now"),
        ({"a": 1}, {"b": 1}, None, "a: only then"),
        ("old", "new", None, "it: 'old' then, 'new' now"),
        (True, 1, None, "a bool then, a int now"),
        (1.0, math.inf, 2.0, "it: 1.0 then, inf now"),
        (10**400, 10**400 + 1, 0.0, ""),
        (Pair(1.0, "a"), Pair(1.0, "b"), None, "right: 'a' then, 'b' now"),
        (np.array([1.0, 2.0]), np.array([1.0, 4.0]), 0.5, "it: 1 of 2 values, the most value 1: "),
        (np.array(["a"]), np.array(["b"]), None, "it: 1 of 1 values, value 0: a then, b now"),
        (np.zeros(2), np.zeros(3), None, "it: float64 of (2,) then, float64 of (3,) now"),
        (FRAME, FRAME.with_columns(x=pl.lit(1.0)), None, "x: other values are missing"),
        (FRAME, FRAME.with_columns(t=pl.lit("a")), None, "t: 2 of 3 values, row 1: None then"),
        (FRAME, FRAME.with_columns(y=1), None, "it: other columns: y"),
        (FRAME, FRAME.select("t", "x", "d"), None, "it: other columns: in another order"),
        (FRAME, FRAME.head(2), None, "it: 3 rows then, 2 now"),
        (FRAME["x"], FRAME["x"] * 2, 0.5, "x: 2 of 3 values, the most value 0: 1.0 then, 2.0"),
        (pl.Series([[1.0]]), pl.Series([[2.0]]), 0.5, "0.0: 1.0 then, 2.0 now"),
    ],
)
def test_the_widest_gap_is_told(one: Any, other: Any, difference: float | None, where: str) -> None:
    found = likeness(one, other)
    assert found["difference"] == pytest.approx(difference) if difference else True
    assert (found["difference"] is None) == (difference is None)
    assert str(found["where"]).startswith(where)
    assert not found["opaque"]


def test_of_several_gaps_the_widest_counts_and_no_number_most_of_all() -> None:
    one: dict[str, Any] = {"a": 1.0, "b": 1.0, "c": "x"}
    assert likeness(one, {"a": 1.1, "b": 2.0, "c": "x"})["where"] == "b: 1.0 then, 2.0 now"
    assert likeness(one, {"a": 1.1, "b": 2.0, "c": "y"})["difference"] is None


def test_of_anything_else_only_the_bytes_are_known() -> None:
    found = likeness(LinearRegression(), LinearRegression())
    assert (found["difference"], found["opaque"]) == (0.0, True)
    both = likeness([1.0, LinearRegression()], [2.0, LinearRegression()])
    assert (both["difference"], both["opaque"]) == (0.5, True)


def fitted(slope: float) -> tuple[FittedModel, pl.DataFrame]:
    rows = pl.DataFrame({"x": [1.0, 2.0, 3.0]})
    model = LinearRegression().fit(rows, slope * rows["x"].to_numpy())
    signature = infer_signature(rows, slope * rows["x"], Task.REGRESSION, [])
    return FittedModel(model, signature), rows


def test_models_and_packages_are_asked_for_predictions() -> None:
    (one, rows), (other, _) = fitted(2.0), fitted(2.0 * (1 + 1e-6))
    for then, now in ((one, other), (pack(one), pack(other))):
        found = likeness(then, now, rows)
        assert found["difference"] == pytest.approx(1e-6, rel=1e-3)
        assert str(found["where"]).startswith("predictions: ")
        assert likeness(then, now)["opaque"]


def test_profiles_are_opened() -> None:
    def profile(mean: float) -> bytes:
        held = {"shape": [2], "floats": np.array([mean, 1.0]).tobytes()}
        return msgspec.msgpack.encode({"rows": 3, "numeric": held})

    found = likeness(profile(2.0), profile(1.0))
    assert (found["difference"], found["opaque"]) == (0.5, False)
    assert str(found["where"]).startswith("numeric: 1 of 2 values")
    assert likeness(b"\xc1 neither", b"\xc1 known")["opaque"]


# What the nearness of all steps amounts to


def recorded(name: str, *sources: str) -> RecordedStep:
    return RecordedStep(
        name=name,
        function="m:f",
        inputs={source: source for source in sources},
        params={},
        own_process=False,
        key=name,
        digest=name,
    )


STEPS = (recorded("rows"), recorded("estimator", "rows"), recorded("model", "estimator"))


def checks(**likenesses: Likeness) -> list[Checked]:
    return [Checked(name=name, likeness=found) for name, found in likenesses.items()]


@pytest.mark.parametrize(
    ("model", "estimator"),
    [
        (Likeness.IDENTICAL, Likeness.EQUAL),
        (Likeness.EQUAL, Likeness.EQUAL),
        (Likeness.DIFFERENT, Likeness.DIFFERENT),
        (Likeness.OPAQUE, Likeness.DIFFERENT),
    ],
)
def test_an_opaque_value_is_judged_by_what_was_made_of_it(
    model: Likeness, estimator: Likeness
) -> None:
    made = checks(rows=Likeness.IDENTICAL, estimator=Likeness.OPAQUE, model=model)
    assert [step.likeness for step in judged(STEPS, made)][1] is estimator


def test_an_opaque_value_of_which_nothing_was_made_differs() -> None:
    made = checks(rows=Likeness.IDENTICAL, estimator=Likeness.IDENTICAL, model=Likeness.OPAQUE)
    assert judged(STEPS, made)[2].likeness is Likeness.DIFFERENT


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"difference": 1e-10, "where": "", "opaque": False}, Likeness.EQUAL),
        ({"difference": 1e-10, "where": "", "opaque": True}, Likeness.OPAQUE),
        ({"difference": 1e-8, "where": "", "opaque": False}, Likeness.DIFFERENT),
        ({"difference": None, "where": "", "opaque": False}, Likeness.DIFFERENT),
        ({"difference": math.nan, "where": "", "opaque": False}, Likeness.DIFFERENT),
    ],
)
def test_the_tolerance_parts_equal_from_different(
    found: Mapping[str, object], expected: Likeness
) -> None:
    assert likened("step", found, 1e-9).likeness is expected


def test_the_verdict_names_the_first_difference_and_how_many_follow() -> None:
    identical = checks(rows=Likeness.TAKEN, estimator=Likeness.IDENTICAL)
    assert verdict_of(identical) == (Verdict.IDENTICAL, "")
    differing = [
        *identical,
        Checked(name="m", likeness=Likeness.DIFFERENT, difference=0.25, detail="mae: 4.0 then"),
        Checked(name="n", likeness=Likeness.DIFFERENT, difference=None),
    ]
    verdict, why = verdict_of(differing)
    assert verdict is Verdict.DIFFERENT
    assert why == "'m' differs first, by 0.25: mae: 4.0 then; 1 step behind or beside it too"


def test_the_badge_says_the_verdict_and_what_it_rests_on() -> None:
    made = Reproduction(run="run_1", verdict=Verdict.EQUAL, why="nearly", tolerance=1e-6)
    assert (made.badge, str(made)) == ("equal within 1e-06", "run_1: equal within 1e-06; nearly")
    change = Change(name="numpy", recorded="1.26", installed="2.0")
    lost = Reproduction(
        run="run_1",
        verdict=Verdict.IMPOSSIBLE,
        why="no code",
        tolerance=1e-9,
        environment=(change,),
    )
    assert lost.badge == "not reproducible: no code, with 1 change of the environment"
    assert str(lost) == f"run_1: {lost.badge}"
