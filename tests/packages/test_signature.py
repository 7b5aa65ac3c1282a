"""Rows are made to fit a signature, or refused with every place that is wrong."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.errors import DataInvalid, Invalid, RowsInvalid
from everfit.packages import Field, Kind, Signature, cast, infer_signature
from everfit.packages.signature import DTYPES

OUTPUT = Field(name="cnt", kind=Kind.NUMBER)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def taking(**kinds: Kind) -> Signature:
    fields = tuple(Field(name=name, kind=kind) for name, kind in kinds.items())
    return Signature(inputs=fields, output=OUTPUT, task="regression")


def nullable(kind: Kind) -> Signature:
    field = Field(name="x", kind=kind, nullable=True)
    return Signature(inputs=(field,), output=OUTPUT, task="regression")


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (Kind.NUMBER, [1, 2], [1.0, 2.0]),
        (Kind.NUMBER, [True, False], [1.0, 0.0]),
        (Kind.NUMBER, ["0.5", " -1e3 "], [0.5, -1000.0]),
        (Kind.NUMBER, [Decimal("1.25")], [1.25]),
        (Kind.NUMBER, [math.nan, 1.0], [None, 1.0]),
        (Kind.INTEGER, [3.0, -0.0], [3, 0]),
        (Kind.INTEGER, ["7"], [7]),
        (Kind.INTEGER, [Decimal("4.0")], [4]),
        (Kind.INTEGER, [math.nan, 1.0], [None, 1]),
        (Kind.TEXT, [1, 2], ["1", "2"]),
        (Kind.TEXT, [True], ["true"]),
        (Kind.BOOLEAN, [0, 1], [False, True]),
        (Kind.BOOLEAN, [0.0, None], [False, None]),
        (Kind.BOOLEAN, ["true", "FALSE "], [True, False]),
        (Kind.TIME, [date(2026, 1, 31)], [NOON.replace(hour=0)]),
        (Kind.TIME, [NOON.replace(tzinfo=None)], [NOON]),
        (Kind.TIME, [NOON.astimezone(timezone(timedelta(hours=2)))], [NOON]),
        (Kind.TIME, ["2026-01-31T12:00:00Z", "2026-01-31 14:00+02:00"], [NOON, NOON]),
        *[(kind, [None, None], [None, None]) for kind in Kind],
    ],
)
def test_what_loses_nothing_is_converted(
    kind: Kind, values: list[object], expected: list[object]
) -> None:
    found = cast(pl.DataFrame({"x": values}), nullable(kind))
    assert found.schema == {"x": DTYPES[kind]}
    assert found["x"].to_list() == expected


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["a", "b"])])
def test_categories_of_polars_are_texts(dtype: pl.DataType) -> None:
    frame = pl.DataFrame({"x": pl.Series(["a", "b", None], dtype=dtype)})
    assert cast(frame, nullable(Kind.TEXT))["x"].to_list() == ["a", "b", None]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.NUMBER, ["1", "two", ""]),
        (Kind.NUMBER, ["1", "nan", "inf"]),
        (Kind.NUMBER, [1.0, math.inf, -math.inf]),
        (Kind.INTEGER, [1.0, 3.5, 1e30]),
        (Kind.INTEGER, ["1", "3.5", "x"]),
        (Kind.INTEGER, [1, 2**64 - 1, 2**63]),
        (Kind.BOOLEAN, [1, 2, -1]),
        (Kind.BOOLEAN, ["true", "yes", ""]),
        (Kind.TIME, ["2026-01-31", "31.01.2026", ""]),
    ],
)
def test_a_value_that_would_change_is_named_with_its_row(kind: Kind, values: list[object]) -> None:
    dtype = pl.UInt64 if 2**63 in values else None
    with pytest.raises(RowsInvalid) as refused:
        cast(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}), nullable(kind))
    assert [(problem.path, problem.found) for problem in refused.value.problems] == [
        ("rows[1].x", repr(values[1])),
        ("rows[2].x", repr(values[2])),
    ]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.TEXT, [1.5]),
        (Kind.NUMBER, [[1.0]]),
        (Kind.INTEGER, [NOON]),
        (Kind.BOOLEAN, [NOON]),
        (Kind.TIME, [1]),
    ],
)
def test_a_column_of_another_type_is_named_once(kind: Kind, values: list[object]) -> None:
    with pytest.raises(RowsInvalid, match="x: found a column of"):
        cast(pl.DataFrame({"x": values}), taking(x=kind))


@pytest.mark.parametrize("values", [[1.0, None], [1.0, math.nan], [1, None], ["1", None]])
def test_a_missing_value_is_refused_where_training_saw_none(values: list[object]) -> None:
    frame = pl.DataFrame({"x": values})
    with pytest.raises(RowsInvalid, match=r"rows\[1\].x: found no value"):
        cast(frame, taking(x=Kind.NUMBER))
    assert cast(frame, taking(x=Kind.NUMBER), allow_nulls=True)["x"].to_list() == [1.0, None]


def test_every_problem_is_told_at_once_by_row() -> None:
    frame = pl.DataFrame({"b": ["x", "1"], "a": ["1", "y"], "more": [[], []]})
    with pytest.raises(RowsInvalid) as refused:
        cast(frame, taking(a=Kind.NUMBER, b=Kind.INTEGER, gone=Kind.TEXT))
    assert str(refused.value).splitlines()[1:] == [
        "  gone: found no such column; send a column 'gone' with a text in each row",
        "  rows[0].b: found 'x'; send a whole number",
        "  rows[1].a: found 'y'; send a finite number",
    ]


def test_the_first_twenty_problems_are_told_and_the_rest_counted() -> None:
    frame = pl.DataFrame({"a": ["x"] * 1000, "b": ["x"] * 1000})
    with pytest.raises(RowsInvalid) as refused:
        cast(frame, taking(a=Kind.NUMBER, b=Kind.NUMBER))
    paths = [problem.path for problem in refused.value.problems]
    assert paths == [f"rows[{row}].{name}" for row in range(10) for name in "ab"]
    assert "1980 more" in refused.value.hint


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(RowsInvalid) as refused:
        cast(pl.DataFrame({"a": ["x" * 10_000]}), taking(a=Kind.NUMBER))
    assert len(str(refused.value)) < 200


def test_columns_come_in_the_order_of_the_signature_and_others_are_left_out() -> None:
    frame = pl.DataFrame({"b": ["u"], "extra": [1], "a": [0.5]})
    found = cast(frame, taking(a=Kind.NUMBER, b=Kind.TEXT))
    assert found.columns == ["a", "b"]
    assert frame.columns == ["b", "extra", "a"]


def test_a_sum_that_overflows_is_no_infinite_value() -> None:
    frame = pl.DataFrame({"x": [1.7e308, 1.7e308]})
    assert cast(frame, taking(x=Kind.NUMBER)).equals(frame)


texts = st.one_of(st.text(max_size=4), st.floats().map(repr), st.integers(-9, 9).map(str))


@given(values=st.lists(st.one_of(st.none(), st.floats()), min_size=1))
def test_only_infinite_numbers_are_refused(values: list[float | None]) -> None:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})
    infinite = [row for row, value in enumerate(values) if value in (math.inf, -math.inf)]
    if infinite:
        with pytest.raises(RowsInvalid) as refused:
            cast(frame, nullable(Kind.NUMBER))
        assert [p.path for p in refused.value.problems] == [f"rows[{i}].x" for i in infinite[:20]]
    else:
        expected = [None if v is None or math.isnan(v) else v for v in values]
        assert cast(frame, nullable(Kind.NUMBER))["x"].to_list() == expected


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_spelled_as_text_are_the_same_numbers(values: list[float]) -> None:
    frame = pl.DataFrame({"x": [repr(value) for value in values]})
    assert cast(frame, taking(x=Kind.NUMBER))["x"].to_list() == values


frames = st.fixed_dictionaries(
    {
        "number": st.lists(st.one_of(st.none(), st.floats(allow_infinity=False)), min_size=3),
        "integer": st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=3),
        "text": st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=3),
        "boolean": st.lists(st.one_of(st.none(), st.booleans()), min_size=3),
    }
)
POLARS = {"number": pl.Float64, "integer": pl.Int64, "text": pl.String, "boolean": pl.Boolean}


@given(columns=frames)
def test_rows_fit_the_signature_inferred_from_them(columns: dict[str, list[object]]) -> None:
    frame = pl.DataFrame(
        {n: pl.Series(values[:3], dtype=POLARS[n]) for n, values in columns.items()}
    )
    signature = infer_signature(frame, pl.Series("cnt", [0.0]), "regression")
    assert {field.name: field.kind for field in signature.inputs} == {n: Kind(n) for n in columns}
    found = cast(frame[frame.columns[::-1]], signature)
    assert found.equals(frame.fill_nan(None))
    assert cast(found, signature).equals(found)
    assert Signature.from_builtins(signature.to_builtins()) == signature


def test_the_signature_tells_what_training_saw() -> None:
    frame = pl.DataFrame(
        {
            "temp": [0.5, None, math.nan, -1.0],
            "day": pl.Series([3, 1, 2, 1], dtype=pl.Int8),
            "weather": pl.Series(["wet", "dry", None, "dry"], dtype=pl.Categorical),
            "note": ["x" * 300, "", "", ""],
            "holiday": [True, False, True, True],
            "seen": [date(2026, 1, 1)] * 4,
        }
    )
    signature = infer_signature(frame, pl.Series("cnt", [1, 2, 3, 4]), "regression")
    assert signature.inputs == (
        Field(name="temp", kind=Kind.NUMBER, nullable=True, minimum=-1.0, maximum=0.5),
        Field(name="day", kind=Kind.INTEGER, minimum=1.0, maximum=3.0),
        Field(name="weather", kind=Kind.TEXT, nullable=True, categories=("dry", "wet")),
        Field(name="note", kind=Kind.TEXT),
        Field(name="holiday", kind=Kind.BOOLEAN),
        Field(name="seen", kind=Kind.TIME),
    )
    assert signature.output == Field(name="cnt", kind=Kind.NUMBER)


def test_too_many_texts_are_no_categories() -> None:
    names = pl.DataFrame({"name": [str(number) for number in range(1001)]})
    assert infer_signature(names, None, "clustering").inputs[0].categories == ()
    assert len(infer_signature(names[1:], None, "clustering").inputs[0].categories) == 1000


@pytest.mark.parametrize(
    ("classes", "kind"),
    [
        (("no", "yes"), Kind.TEXT),
        ((False, True), Kind.BOOLEAN),
        ((0, 1), Kind.INTEGER),
        ((0.0, 0.5), Kind.NUMBER),
        ((0, "other"), Kind.TEXT),
    ],
)
def test_the_output_is_of_the_kind_of_the_classes(
    classes: tuple[str | int | float | bool, ...], kind: Kind
) -> None:
    frame = pl.DataFrame({"x": [1.0]})
    signature = infer_signature(frame, pl.Series("y", ["yes"]), "classification", classes)
    assert (signature.output.name, signature.output.kind) == ("y", kind)
    assert signature.classes == classes
    assert Signature.from_builtins(signature.to_builtins()) == signature


def test_columns_no_signature_can_hold_are_refused_together() -> None:
    frame = pl.DataFrame({"a": [[1]], "b": [{"c": 1}], "d": [1.0], "e": [None]})
    with pytest.raises(DataInvalid) as refused:
        infer_signature(frame, None, "clustering")
    assert [problem.path for problem in refused.value.problems] == ["a", "b", "e"]


def test_what_is_no_signature_is_refused() -> None:
    with pytest.raises(Invalid, match="no signature"):
        Signature.from_builtins({"inputs": 3})
