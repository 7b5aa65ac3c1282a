"""Preparation cleans without fitting, and quality is judged on what it leaves."""

from __future__ import annotations

import math
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.data import (
    Role,
    check,
    clean,
    decode_frame,
    encode_frame,
    infer_schema,
    parse_expectations,
    prepare,
    profile,
)
from everfit.errors import DataInvalid

TABLE = pl.DataFrame(
    {
        "x": [1.0, float("nan"), 3.0, 1.0],
        "c": [" red", "?", "green ", " red"],
        "y": [1, 0, 1, 1],
    }
)


def test_preparing_unifies_missing_and_keeps_rows_and_order() -> None:
    prepared = prepare(TABLE, infer_schema(TABLE, target="y"))
    assert prepared.rows() == [(1.0, "red", 1), (None, None, 0), (3.0, "green", 1), (1.0, "red", 1)]


def test_columns_that_the_schema_does_not_know_are_left_out_and_missing_ones_named() -> None:
    schema = infer_schema(TABLE, target="y")
    assert prepare(TABLE.with_columns(new=1), schema).columns == ["x", "c", "y"]
    with pytest.raises(DataInvalid, match="no column 'c'"):
        prepare(TABLE.drop("c"), schema)


def test_texts_in_a_column_of_numbers_are_refused_with_their_lines() -> None:
    schema = infer_schema(TABLE, target="y")
    later = TABLE.with_columns(x=pl.Series(["1", "2", "many", None]))
    with pytest.raises(DataInvalid, match=r"1 values that are no numbers: 'many' \(lines 4\)"):
        prepare(later, schema)
    forced = infer_schema(TABLE, target="y", roles={"c": Role.NUMERIC})
    with pytest.raises(DataInvalid, match="'red'"):
        prepare(TABLE, forced)


def test_the_types_of_other_libraries_become_plain() -> None:
    frame = pl.DataFrame(
        [
            pl.Series("c", ["a", " b"], dtype=pl.Categorical),
            pl.Series("e", ["a", "b"], dtype=pl.Enum(["a", "b"])),
            pl.Series("d", ["1.5", "2"]).cast(pl.Decimal(8, 2)),
            pl.Series("f", [1.5, math.inf], dtype=pl.Float32),
        ]
    )
    plain = clean(frame)
    assert plain.dtypes == [pl.String, pl.String, pl.Float64, pl.Float32]
    assert plain.rows() == [("a", "a", 1.5, 1.5), ("b", "b", 2.0, None)]


TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=9)


@given(TEXTS)
def test_cleaning_twice_changes_nothing(texts: list[str | None]) -> None:
    once = clean(pl.DataFrame({"a": pl.Series(texts, dtype=pl.String)}))
    assert clean(once).equals(once)


@given(TEXTS)
def test_tables_survive_encoding(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"a": pl.Series(texts, dtype=pl.String), "n": range(len(texts))})
    assert decode_frame(encode_frame(frame)).equals(frame)


def test_a_profile_has_the_figures_of_each_kind() -> None:
    numbers, texts, days, lists = profile(
        pl.DataFrame(
            {
                "n": [4, 1, None, 2, 1],
                "t": ["b", "a", "b", "a", None],
                "d": [date(2020, 1, d) for d in range(1, 6)],
                "l": [[1], [2], None, [3], [4]],
            }
        )
    )
    assert (numbers.count, numbers.missing, numbers.distinct) == (4, 1, 3)
    assert (numbers.minimum, numbers.mean, numbers.maximum) == (1.0, 2.0, 4.0)
    assert numbers.sd == pytest.approx(math.sqrt(2))
    assert dict(numbers.quantiles)[0.5] in (1.0, 2.0)
    assert texts.top == (("a", 2), ("b", 2))
    assert texts.distinct == 2
    assert (days.minimum, days.maximum, days.mean) == ("2020-01-01", "2020-01-05", None)
    assert (lists.count, lists.missing) == (4, 1)


def test_the_most_frequent_texts_have_their_own_counts() -> None:
    # Many texts, that their order among the counts is another one each time; a column may be
    # called like a count.
    texts = [f"text {number:03}" for number in range(200) for _ in range(number % 7 + 1)]
    frame = pl.DataFrame({"n": texts, "text": texts})
    most = tuple((f"text {number:03}", 7) for number in range(6, 76, 7))
    for _ in range(5):
        assert [column.top for column in profile(frame)] == [most, most]


def test_profiles_of_nothing_are_empty() -> None:
    assert profile(pl.DataFrame()) == ()
    [column] = profile(pl.DataFrame({"n": pl.Series([None, float("nan")], dtype=pl.Float64)}))
    assert (column.count, column.missing, column.mean, column.quantiles) == (0, 2, None, ())


@pytest.mark.parametrize(
    ("rule", "values", "failing"),
    [
        ({"between": [0, 1]}, [0.0, 1.0, 1.1, None, float("nan")], 1),
        ({"between": [0, None]}, [5, -1, None], 1),
        ({"between": [None, 10]}, ["3", "11", "many", None], 2),
        ({"between": [0, 1]}, [True, False], 2),
        ({"between": [date(2020, 1, 2), None]}, [date(2020, 1, 1), date(2020, 1, 3)], 1),
        ({"between": [date(2020, 1, 2), None]}, [1, 2], 2),
        ({"in": [1, 2]}, [1, 2.0, 2.5, None], 1),
        ({"in": ["a", 1]}, ["a", "1", "b", None], 1),
        ({"in": [True]}, [True, False, None], 1),
        ({"matches": "[a-z]+@x"}, ["a@x", "a@xx", "B@x", None], 2),
        ({"unique": True}, [1, 1, 2, 1, None, None], 2),
        ({"missing": 0}, [1, None, 2], 1),
        ({"missing": "50%"}, [1, None, 2, 3], 0),
        ({"missing": "10%"}, [1.0, float("nan"), None, 3.0], 2),
        ({"type": "integer"}, [1.0, 1.5, None], 1),
        ({"type": "integer"}, ["1", "x1", "1.5", None], 2),
        ({"type": "number"}, ["1", "x1", "1.5", None], 1),
        ({"type": "text"}, [1, None], 1),
        ({"type": "boolean"}, [True, None], 0),
        ({"type": "time"}, [date(2020, 1, 1)], 0),
        ({"type": "time"}, ["2020"], 1),
    ],
)
def test_each_rule_fails_the_rows_it_should(
    rule: dict[str, object], values: list[object], failing: int
) -> None:
    expectations, problems = parse_expectations({"c": rule})
    assert problems == ()
    report = check(pl.DataFrame({"c": pl.Series(values, strict=False)}), expectations)
    assert report.checks[0].failed == report.failed_rows == failing
    assert report.passed == (failing == 0)
    assert len(report.checks[0].examples) == failing


def test_rows_that_fail_two_checks_count_once() -> None:
    expectations, _ = parse_expectations(
        {"a": {"between": [0, 1], "unique": True}, "b": {"missing": 0}}
    )
    report = check(pl.DataFrame({"a": [5, 5, 0], "b": [None, 1, 1]}), expectations)
    assert [c.failed for c in report.checks] == [2, 1, 1]
    assert report.failed_rows == 2
    assert report.checks[0].examples == ((1, "5"), (2, "5"))


def test_a_column_that_is_not_there_fails_every_row() -> None:
    expectations, _ = parse_expectations({"gone": {"missing": "5%"}})
    report = check(pl.DataFrame({"a": [1, 2]}), expectations)
    assert (report.failed_rows, report.checks[0].failed) == (2, 2)
    assert check(pl.DataFrame({"a": [1]}), ()).passed


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        ({"a": {"between": [1, 0]}}, "data.expect.a.between"),
        ({"a": {"between": [None, None]}}, "data.expect.a.between"),
        ({"a": {"between": [0, "x"]}}, "data.expect.a.between"),
        ({"a": {"between": [0, float("nan")]}}, "data.expect.a.between"),
        ({"a": {"in": []}}, "data.expect.a.in"),
        ({"a": {"matches": "("}}, "data.expect.a.matches"),
        ({"a": {"type": "float"}}, "data.expect.a.type"),
        ({"a": {"unique": "yes"}}, "data.expect.a.unique"),
        ({"a": {"missing": "150%"}}, "data.expect.a.missing"),
        ({"a": {"missing": True}}, "data.expect.a.missing"),
        ({"a": {"nonsense": 1}}, "data.expect.a"),
        ({"a": 5}, "data.expect.a"),
    ],
)
def test_rules_that_make_no_sense_are_problems_with_their_path(
    rules: dict[str, object], path: str
) -> None:
    expectations, problems = parse_expectations(rules)
    assert expectations == ()
    assert [p.path for p in problems] == [path]
    assert problems[0].remedy
