"""Requests in JSON: the same rows in every form, and every problem of a wrong one at once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.conftest import CLASSIFICATION, INPUTS, REGRESSION

from everfit.errors import Invalid, RowsInvalid, TooLarge
from everfit.packages import Field, Kind, Signature
from everfit.serving.columns import Problems, describe, keys_and_times
from everfit.serving.labels import decode_labels
from everfit.serving.rows import RowsDecoder
from everfit.serving.tensors import decode_tensors

GOOD = {"temp": 0.5, "hour": 3, "sky": "clear", "holiday": False}
TIMED = Signature(
    inputs=(Field(name="due", kind=Kind.TIME), *INPUTS), output=REGRESSION.output, task="regression"
)
rows = st.fixed_dictionaries(
    {
        "temp": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60),
        "hour": st.integers(-(2**63), 2**63 - 1),
        "sky": st.none() | st.text(),
        "holiday": st.booleans(),
    }
)


def decode(body: object, signature: Signature = REGRESSION) -> pl.DataFrame:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return RowsDecoder(signature, max_rows=150).decode(content).frame


def tensors(given: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = {"temp": "FP64", "hour": "INT64", "sky": "BYTES", "holiday": "BOOL"}
    return {
        "inputs": [
            {"name": n, "shape": [len(given)], "datatype": kind, "data": [row[n] for row in given]}
            for n, kind in kinds.items()
        ]
    }


def infer(body: object) -> pl.DataFrame:
    return decode_tensors(msgspec.json.encode(body), REGRESSION, max_rows=150).frame


@pytest.mark.parametrize("name", ['a "q", b', "back\\slash", "new\nline"])
def test_any_name_of_a_column_can_be_asked_with(name: str) -> None:
    named = replace(REGRESSION, inputs=(Field(name=name, kind=Kind.NUMBER),))
    assert decode({"rows": [{name: 1.5}]}, named)[name].to_list() == [1.5]


def test_what_is_said_of_a_missing_input_is_not_refused_later() -> None:
    fields = [Field(name=n, kind=Kind.NUMBER, nullable=n == "b") for n in "ab"]
    signature = replace(REGRESSION, inputs=tuple(fields))
    with pytest.raises(RowsInvalid) as caught:
        decode({"rows": [{}]}, signature)
    assert [problem.remedy for problem in caught.value.problems] == [
        "give every input; this one is never null",
        "give every input, null where it is unknown",
    ]
    assert decode({"rows": [{"a": 1, "b": None}]}, signature)["b"].to_list() == [None]


@given(given=st.lists(rows, min_size=1, max_size=120))
def test_every_form_gives_the_same_rows(given: list[dict[str, Any]]) -> None:
    frame = decode({"rows": given})
    expected = [{**row, "temp": float(row["temp"])} for row in given]
    assert frame.to_dicts() == expected
    assert decode(given).equals(frame)
    assert infer(tensors(given)).equals(frame)
    # An unused time sends the same rows the careful way.
    timed = [{"due": "2026-01-01", **row} for row in given]
    assert decode({"rows": timed}, TIMED).drop("due").equals(frame)


def test_one_row_alone_and_forgiven_spellings() -> None:
    assert decode(GOOD).height == 1
    assert decode({**GOOD, "hour": 3.0})["hour"].to_list() == [3]
    assert infer({**tensors([GOOD]), "id": "42"}).height == 1
    nested = tensors([GOOD])
    nested["inputs"][0] |= {"shape": [1, 1], "data": [[0.5]]}
    assert infer(nested)["temp"].to_list() == [0.5]


def test_times_are_read_in_any_zone() -> None:
    due = ["2026-01-01", "2026-01-01T12:00:00+02:00", "2026-01-01T10:00:00Z"]
    frame = decode([{**GOOD, "due": at} for at in due], TIMED)
    noon = datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert frame["due"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC), noon, noon]


def test_keys_and_times_come_with_the_rows() -> None:
    given = {"keys": ["ann", None], "times": ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]}
    body = msgspec.json.encode({"rows": [GOOD, GOOD], **given})
    by_rows = RowsDecoder(REGRESSION, max_rows=9).decode(body)
    body = msgspec.json.encode({**tensors([GOOD, GOOD]), "parameters": given})
    by_columns = decode_tensors(body, REGRESSION, max_rows=9)
    for decoded in (by_rows, by_columns):
        assert decoded.keys == ["ann", None]
        assert decoded.times is not None
        assert [at.day for at in decoded.times] == [1, 2]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


WRONG: list[tuple[object, list[str]]] = [
    ({"rows": [GOOD, {**GOOD, "temp": "warm"}]}, ["rows[1].temp"]),
    ({"rows": [{**GOOD, "temp": True}]}, ["rows[0].temp"]),
    ({"rows": [{**GOOD, "temp": None}]}, ["rows[0].temp"]),
    ({"rows": [{**GOOD, "temp": [1]}]}, ["rows[0].temp"]),
    ({"rows": [{**GOOD, "hour": 3.5}]}, ["rows[0].hour"]),
    ({"rows": [{**GOOD, "hour": 2**63}]}, ["rows[0].hour"]),
    ({"rows": [{**GOOD, "hour": "3"}]}, ["rows[0].hour"]),
    ({"rows": [{**GOOD, "sky": 1}]}, ["rows[0].sky"]),
    ({"rows": [{**GOOD, "holiday": 1}]}, ["rows[0].holiday"]),
    ({"rows": [without("hour")]}, ["rows[0].hour"]),
    ({"rows": [without("sky")]}, ["rows[0].sky"]),
    ({"rows": [{**GOOD, "wind": 1}]}, ["rows[0].wind"]),
    ({"rows": [GOOD, 5]}, ["rows[1]"]),
    ({"rows": GOOD, "key": "ann"}, ["key"]),
    ({"rows": "all"}, ["rows"]),
    (7, ["rows"]),
    (None, ["rows"]),
    ({"rows": [GOOD], "keys": ["a", "b"]}, ["keys"]),
    ({"rows": [GOOD], "keys": "a"}, ["keys"]),
    ({"rows": [GOOD], "keys": [5]}, ["keys[0]"]),
    ({"rows": [GOOD], "times": ["yesterday"]}, ["times[0]"]),
    ({"rows": [GOOD], "times": [None]}, ["times[0]"]),
    (
        {"rows": [{**GOOD, "temp": "warm", "holiday": "no"}, without("temp")], "times": []},
        ["rows[1].temp", "rows[0].temp", "rows[0].holiday", "times"],
    ),
]


@pytest.mark.parametrize(("body", "paths"), WRONG, ids=str)
def test_every_problem_of_wrong_rows_is_named(body: object, paths: list[str]) -> None:
    with pytest.raises(RowsInvalid) as caught:
        decode(body)
    assert [problem.path for problem in caught.value.problems] == paths
    assert all(problem.found and problem.remedy for problem in caught.value.problems)


def changed(**change: object) -> dict[str, Any]:
    body = tensors([GOOD, GOOD])
    body["inputs"][0] |= change
    return body


WRONG_TENSORS: list[tuple[object, list[str]]] = [
    (changed(data=[0.5, "x"]), ["inputs.temp.data[1]"]),
    (changed(data=[0.5, None]), ["inputs.temp.data[1]"]),
    (changed(datatype="BYTES"), ["inputs.temp.datatype"]),
    (changed(datatype="FLOAT"), ["inputs.temp.datatype"]),
    (changed(shape=[3]), ["inputs.temp.shape"]),
    (changed(shape=[1, 2]), ["inputs.temp.shape"]),
    (changed(name="wind"), ["inputs.temp", "inputs.wind"]),
    (changed(name="hour"), ["inputs[1]", "inputs.temp"]),
    (changed(data="x"), ["inputs[0]", "inputs.temp"]),
    (
        {"inputs": tensors([GOOD])["inputs"][:2] + tensors([GOOD, GOOD])["inputs"][2:]},
        ["inputs.sky.shape", "inputs.sky.data", "inputs.holiday.shape", "inputs.holiday.data"],
    ),
    ({**tensors([GOOD]), "outputs": [{"name": "cost"}]}, ["outputs[0].name"]),
    ({"inputs": []}, ["inputs", "inputs.temp", "inputs.hour", "inputs.sky", "inputs.holiday"]),
    ([], ["inputs", "inputs.temp", "inputs.hour", "inputs.sky", "inputs.holiday"]),
    ({**tensors([GOOD]), "parameters": {"keys": []}}, ["keys"]),
]


@pytest.mark.parametrize(("body", "paths"), WRONG_TENSORS, ids=str)
def test_every_problem_of_wrong_columns_is_named(body: object, paths: list[str]) -> None:
    with pytest.raises(RowsInvalid) as caught:
        infer(body)
    assert [problem.path for problem in caught.value.problems] == paths


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"rows": [NaN]}', b"\xff", b"[" * 5_000, b'[{"temp": 1e999}]']
)
def test_what_is_no_json_is_refused_as_such(body: bytes) -> None:
    with pytest.raises(Invalid, match="no JSON"):
        decode(body)


def test_what_is_too_deep_to_be_shown_is_still_described() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "too deep" in describe(deep)
    assert "too long" in describe(10**5_000)


def test_rows_are_bounded_from_both_sides() -> None:
    with pytest.raises(RowsInvalid, match="no rows"):
        decode({"rows": []})
    with pytest.raises(TooLarge, match="151 rows"):
        decode({"rows": [GOOD] * 151})
    with pytest.raises(TooLarge):
        infer(tensors([GOOD] * 151))


def test_a_thousand_problems_are_counted_not_listed() -> None:
    with pytest.raises(RowsInvalid) as caught:
        decode({"rows": [{**GOOD, "temp": "x", "hour": "x"}] * 150})
    assert len(caught.value.problems) == 101
    assert caught.value.problems[-1].found == "200 more"


@given(
    body=st.binary(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "rows",
                        "inputs",
                        "keys",
                        "times",
                        "temp",
                        "labels",
                        "label",
                        "id",
                        "name",
                        "shape",
                        "datatype",
                        "data",
                        "outputs",
                        "parameters",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=20,
    ).map(msgspec.json.encode)
)
def test_no_body_whatever_is_an_error_of_ours(body: bytes) -> None:
    for read in (
        RowsDecoder(REGRESSION, max_rows=9).decode,
        lambda content: decode_tensors(content, REGRESSION, max_rows=9),
        lambda content: decode_labels(content, max_rows=9),
    ):
        with suppress(Invalid, TooLarge):
            read(body)


def test_labels_are_read() -> None:
    body = [{"id": "p_1", "label": 3, "at": "2026-01-01T00:00:00Z"}, {"id": "p_2", "label": 4.5}]
    frame = decode_labels(msgspec.json.encode({"labels": body}), max_rows=9)
    assert frame["id"].to_list() == ["p_1", "p_2"]
    assert frame["label"].to_list() == [3.0, 4.5]
    assert frame["at"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC), None]
    frame = decode_labels(b'[{"key": "ann", "label": "yes"}]', max_rows=9)
    assert frame.to_dict(as_series=False) == {"label": ["yes"], "key": ["ann"]}


@pytest.mark.parametrize(
    ("labels", "paths"),
    [
        ([{"id": "p_1"}], ["labels[0]"]),
        ([{"label": 1}], ["labels[0]"]),
        ([{"id": "p_1", "label": None}], ["labels[0].label"]),
        (
            [{"id": "p_1", "label": [1]}, {"id": 7, "label": "x"}],
            ["labels[0].label", "labels[1].id"],
        ),
        (
            [{"id": None, "label": 1}, {"id": None, "key": None, "label": 1}],
            ["labels[0]", "labels[1]"],
        ),
        ([{"id": "p_1", "label": 1, "at": "now"}], ["labels[0].at"]),
        ([{"id": "p_1", "label": 1, "on": 1}], ["labels[0].on"]),
        ("all", ["labels"]),
    ],
    ids=str,
)
def test_every_problem_of_wrong_labels_is_named(labels: object, paths: list[str]) -> None:
    with pytest.raises(RowsInvalid) as caught:
        decode_labels(msgspec.json.encode({"labels": labels}), max_rows=9)
    assert [problem.path for problem in caught.value.problems] == paths


def test_one_request_may_name_some_labels_by_id_and_others_by_key() -> None:
    body = [
        {"id": "p_1", "label": 1},
        {"key": "ann", "label": 2},
        {"id": None, "key": "b", "label": 3},
    ]
    frame = decode_labels(msgspec.json.encode({"labels": body}), max_rows=9)
    assert frame["id"].to_list() == ["p_1", None, None]
    assert frame["key"].to_list() == [None, "ann", "b"]
    assert frame["label"].to_list() == [1, 2, 3]


def test_labels_of_several_kinds_are_read_as_texts() -> None:
    body = [{"id": "a", "label": 1}, {"id": "b", "label": "1"}, {"id": "c", "label": True}]
    frame = decode_labels(msgspec.json.encode({"labels": body}), max_rows=9)
    assert frame["label"].to_list() == ["1", "1", "true"]


def test_labels_that_do_not_fit_the_model_are_named_with_all_else_that_is_wrong() -> None:
    labels = [
        {"id": "a", "label": "abc"},
        {"id": "b", "label": 1.5},
        {"id": 7, "label": True},
        {"id": "d", "label": "2.5"},
        {"label": 1},
    ]
    with pytest.raises(RowsInvalid) as caught:
        decode_labels(msgspec.json.encode(labels), max_rows=9, signature=REGRESSION)
    paths = [problem.path for problem in caught.value.problems]
    assert paths == ["labels[4]", "labels[0].label", "labels[2].label", "labels[2].id"]


@pytest.mark.parametrize("good", [True, "true", "False"])
def test_a_known_class_fits_however_it_is_written(good: object) -> None:
    body = msgspec.json.encode([{"id": "a", "label": good}])
    assert decode_labels(body, max_rows=9, signature=CLASSIFICATION).height == 1


def test_an_unknown_class_is_refused_and_the_known_ones_are_named() -> None:
    body = msgspec.json.encode([{"id": "a", "label": True}, {"id": "b", "label": "perhaps"}])
    with pytest.raises(RowsInvalid) as caught:
        decode_labels(body, max_rows=9, signature=CLASSIFICATION)
    (problem,) = caught.value.problems
    assert (problem.path, problem.found) == ("labels[1].label", "'perhaps'")
    assert "false, true" in problem.remedy


def test_a_new_class_passes_where_it_is_said_to_be_one() -> None:
    body = {"labels": [{"id": "b", "label": "perhaps"}], "new_classes": True}
    read = decode_labels(msgspec.json.encode(body), max_rows=9, signature=CLASSIFICATION)
    assert read["label"].to_list() == ["perhaps"]
    with pytest.raises(RowsInvalid, match="perhaps"):
        decode_labels(msgspec.json.encode(body), max_rows=9, signature=REGRESSION)


@pytest.mark.parametrize("moment", ["9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_a_mark_for_never_is_no_time_of_a_row(moment: str) -> None:
    problems = Problems()
    keys_and_times(None, ["2026-01-01T00:00:00Z", moment], 2, problems)
    with pytest.raises(RowsInvalid, match=r"times\[1\]"):
        problems.raise_any()


def test_a_clustering_has_no_classes_to_refuse_a_label_by() -> None:
    clusters = replace(CLASSIFICATION, task="clustering", classes=())
    body = msgspec.json.encode([{"id": "a", "label": "any"}])
    assert decode_labels(body, max_rows=9, signature=clusters)["label"].to_list() == ["any"]
