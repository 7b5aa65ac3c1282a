"""What is stored comes back as it was; what could be changed is never shared."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from everfit.steps.codec import decode, encode, shareable, tidied

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


def _same(one: Any, two: Any) -> bool:
    """Return whether both are equal, of equal types all the way down, NaN equal to NaN."""
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return list(one) == list(two) and all(_same(one[name], two[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, two) and (one == two or one != one)
    return bool(one == two)


@given(values)
def test_plain_values_come_back_exactly(value: Any) -> None:
    assert _same(decode(*encode(value)), value)


@dataclass(frozen=True)
class Parts:
    train: pl.DataFrame
    test: pl.DataFrame
    names: tuple[str, ...]


@dataclass
class Mutable:
    name: str


FRAME = pl.DataFrame(
    {"a": [1, 2, None], "t": [datetime(2026, 1, 1), None, None], "s": ["x", "é", None]}  # noqa: DTZ001
)


def test_frames_come_back_and_have_one_content_however_they_are_chunked() -> None:
    kind, content = encode(FRAME)
    assert kind == "frame"
    assert decode(kind, content).equals(FRAME)
    assert decode(kind, content).schema == FRAME.schema
    whole = pl.DataFrame({"a": range(5), "s": list("abcde")})
    assert encode(pl.concat([whole[:2], whole[2:]], rechunk=False)) == encode(whole)


def test_frames_inside_other_values_come_back() -> None:
    parts = Parts(train=FRAME, test=FRAME[:1], names=("a",))
    kind, content = encode(parts)
    back = decode(kind, content)
    assert (kind, back.names) == ("pickle", ("a",))
    assert back.train.equals(FRAME)
    assert back.test.equals(FRAME[:1])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["a", "bc"]),
        np.array(["2026-01-01"], dtype="datetime64[D]"),
        np.array(7),
        np.array([None, "x"], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
    ],
)
def test_arrays_come_back_writable(array: np.ndarray[Any, Any]) -> None:
    back = decode(*encode(array))
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert back.flags.writeable


def test_estimators_come_back() -> None:
    fitted = LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
    assert decode(*encode(fitted)).predict([[2.0]]) == pytest.approx([5.0])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (FRAME, True),
        (Parts(train=FRAME, test=FRAME, names=("a",)), True),
        ((1, "a", date(2026, 1, 1)), True),
        ([1], False),
        ({"a": 1}, False),
        (([1],), False),
        (np.arange(3), False),
        (Mutable("a"), False),
        (LinearRegression(), False),
    ],
)
def test_only_what_nobody_can_change_is_shared(value: object, expected: bool) -> None:
    assert shareable(value) is expected


def _anew(value: Any) -> Any:
    """Return the value with every text in it an object of its own."""
    if isinstance(value, str):
        return value[:1] + value[1:]
    if isinstance(value, dict):
        return {_anew(name): _anew(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_anew(part) for part in value)
    return value


@given(values)
def test_a_tidied_pickle_is_the_same_value_and_tidy(value: Any) -> None:
    content = tidied(pickle.dumps(value, protocol=5))
    assert _same(pickle.loads(content), value)
    assert tidied(content) == content


@given(st.lists(st.text(alphabet="ab", min_size=2)), st.data())
def test_which_equal_texts_are_one_object_does_not_show(texts: list[str], data: Any) -> None:
    # Tuples, so that this is no plain value that JSON holds.
    value = [(text, {text: data.draw(st.sampled_from(texts))}) for text in texts]
    first, second = encode((value, {})), encode((_anew(value), {}))
    assert first == second


def test_a_tidied_pickle_of_many_values_refers_to_each() -> None:
    value = [f"text {number % 400}" for number in range(2_000)]
    loop: list[Any] = [tuple(value), value]
    loop.append(loop)
    back = pickle.loads(tidied(pickle.dumps(loop, protocol=5)))
    assert back[:2] == [tuple(value), value]
    assert back[2] is back
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    again = pickle.loads(tidied(pickle.dumps(model, protocol=5)))
    assert again.coef_.tolist() == model.coef_.tolist()
