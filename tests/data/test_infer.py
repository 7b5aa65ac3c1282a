"""Schemas: the role of every column, and everything that is wrong said at once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from everfit.data import Role, Schema, Task, infer_schema, infer_task, prepare
from everfit.data.times import parse_times
from everfit.errors import DataInvalid

ROWS = 400


def table(**columns: object) -> pl.DataFrame:
    base = {"x": [i * 0.5 for i in range(ROWS)], "y": [i % 2 for i in range(ROWS)]}
    return pl.DataFrame({**base, **columns})


def roles(schema: Schema) -> dict[str, Role]:
    return {column.name: column.role for column in schema.columns}


def refusal(frame: pl.DataFrame, **said: object) -> DataInvalid:
    with pytest.raises(DataInvalid) as caught:
        infer_schema(frame, **{"target": "y", **said})  # type: ignore[arg-type]
    assert caught.value.hint
    return caught.value


def test_each_column_gets_its_role_and_a_reason() -> None:
    schema = infer_schema(
        table(
            row=range(ROWS),
            customer_id=[7 * i % 211 for i in range(ROWS)],
            token=[f"t{i}x" for i in range(ROWS)],
            note=[f"a rather long text about row {i}, all different" for i in range(ROWS)],
            colour=["red", "green"] * (ROWS // 2),
            flag=[True, False] * (ROWS // 2),
            one=["same"] * ROWS,
            born=[date(1990, 1, 1) + timedelta(days=i) for i in range(ROWS)],
            away=["x"] * ROWS,
        ),
        target="y",
        exclude=["away"],
    )
    assert roles(schema) == {
        "x": Role.NUMERIC,
        "y": Role.TARGET,
        "row": Role.IDENTIFIER,
        "customer_id": Role.IDENTIFIER,
        "token": Role.IDENTIFIER,
        "note": Role.TEXT,
        "colour": Role.CATEGORY,
        "flag": Role.BOOLEAN,
        "one": Role.CONSTANT,
        "born": Role.TIME,
        "away": Role.EXCLUDED,
    }
    assert [c.name for c in schema.features] == ["x", "note", "colour", "flag"]
    assert all(column.reason for column in schema.columns)
    assert schema.task is Task.CLASSIFICATION


def test_what_the_policy_says_of_a_role_holds() -> None:
    schema = infer_schema(
        table(row=range(ROWS)), target="y", roles={"row": Role.NUMERIC, "x": Role.CATEGORY}
    )
    assert roles(schema) == {"x": Role.CATEGORY, "y": Role.TARGET, "row": Role.NUMERIC}


def test_unknown_names_are_all_reported_with_the_nearest() -> None:
    error = refusal(
        table(colour=["r", "g"] * (ROWS // 2)),
        target="yy",
        time="dat + hr",
        group="color",
        exclude=["xx"],
        roles={"q": Role.TEXT},
    )
    assert [p.path.removeprefix("data.") for p in error.problems] == [
        "target",
        "time",
        "time",
        "group",
        "exclude",
        "roles",
    ]
    assert "did you mean colour?" in str(error)


def test_the_target_cannot_be_something_else_too() -> None:
    error = refusal(table(), exclude=["y"], roles={"x": Role.TARGET})
    assert [p.path for p in error.problems] == ["data.exclude", "data.roles.x"]


def test_columns_that_cannot_be_used_are_all_named_with_the_remedy() -> None:
    numbers = [str(i) for i in range(ROWS - 1)]
    error = refusal(
        table(empty=[None] * ROWS, lists=[[1]] * ROWS, amount=[*numbers, "12 EUR"]),
    )
    assert [p.path for p in error.problems] == [
        "column 'empty'",
        "column 'lists'",
        "column 'amount'",
    ]
    assert "exclude" in str(error.problems[0])
    assert "'12 EUR'" in str(error.problems[2])
    excluded = infer_schema(
        table(empty=[None] * ROWS, lists=[[1]] * ROWS), target="y", exclude=["empty", "lists"]
    )
    assert [c.name for c in excluded.features] == ["x"]


def test_missing_targets_are_counted_located_and_dropped_on_request() -> None:
    frame = table().with_columns(y=pl.when(pl.col("x") < 1).then(None).otherwise(pl.col("y")))
    error = refusal(frame)
    assert "missing in 2 of 400 rows (lines 2, 3," in str(error)
    assert "drop_missing_target" in error.hint
    schema = infer_schema(frame, target="y", drop_missing_target=True)
    assert prepare(frame, schema).height == ROWS - 2


def test_nan_and_infinite_targets_are_missing() -> None:
    frame = table(y=[float("nan"), float("inf"), *[float(i) for i in range(ROWS - 2)]])
    assert "missing in 2 of 400" in str(refusal(frame))


def test_a_target_that_is_missing_everywhere_is_refused_even_then() -> None:
    refusal(table(y=pl.Series([None] * ROWS, dtype=pl.Int64)), drop_missing_target=True)


@pytest.mark.parametrize(
    ("target", "task", "said"),
    [
        (["a"] * ROWS, None, "always 'a'"),
        ([f"v{i}" for i in range(ROWS)], None, "no classes"),
        (["a", "b"] * (ROWS // 2), Task.REGRESSION, "regression predicts a number"),
        ([*map(str, range(ROWS - 1)), "n.a."], None, "1 of 400 values are none: 'n.a.'"),
        ([date(2020, 1, 1)] * ROWS, None, "Date"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused(
    target: list[object], task: Task | None, said: str
) -> None:
    assert said in str(refusal(table(y=target), task=task))


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["yes", "no"] * 50, Task.CLASSIFICATION),
        ([True, False] * 50, Task.CLASSIFICATION),
        ([0, 1] * 50, Task.CLASSIFICATION),
        ([0.0, 1.0] * 50, Task.CLASSIFICATION),
        ([1, 2, 3] * 50, Task.CLASSIFICATION),
        ([0.5, 1.5] * 50, Task.REGRESSION),
        (list(range(100)), Task.REGRESSION),
        ([1, 2, 3, 4, 5], Task.REGRESSION),
        (None, Task.CLUSTERING),
    ],
)
def test_the_target_speaks_for_a_task(values: list[object] | None, task: Task) -> None:
    assert infer_task(None if values is None else pl.Series(values))[0] is task


def test_no_target_means_clustering_and_nothing_else() -> None:
    assert infer_schema(table(), target=None).task is Task.CLUSTERING
    assert "needs a target" in str(refusal(table(), target=None, task=Task.REGRESSION))


def test_an_empty_table_is_refused() -> None:
    refusal(table().clear())


DAYS = [20_110_101 + i // 24 for i in range(ROWS)]


def test_a_date_number_is_a_time_only_under_a_fitting_name() -> None:
    named = infer_schema(table(dteday=DAYS, amount=DAYS), target="y")
    assert named.time == "dteday"
    assert roles(named)["amount"] is Role.NUMERIC


def test_a_date_and_an_hour_make_the_time() -> None:
    frame = table(dteday=DAYS, hr=[i % 24 for i in range(ROWS)])
    schema = infer_schema(frame, target="y", time="dteday + hr")
    assert (schema.time, schema.time_from, schema.derived_time) == (
        "time",
        ("dteday", "hr"),
        "time",
    )
    assert [c.name for c in schema.features] == ["x", "hr"]
    prepared = prepare(frame, schema)
    assert prepared["time"][25] == datetime(2011, 1, 2, 1, tzinfo=UTC)
    assert prepare(prepared, schema).equals(prepared)


def test_the_made_time_column_takes_a_free_name() -> None:
    frame = table(dteday=DAYS, hr=[i % 24 for i in range(ROWS)], time=["x", "z"] * (ROWS // 2))
    assert infer_schema(frame, target="y", time="dteday + hr").time == "event_time"


def test_of_several_times_only_a_usual_name_is_taken() -> None:
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(ROWS)]
    assert infer_schema(table(born=days, joined=days), target="y").time is None
    assert infer_schema(table(born=days, timestamp=days), target="y").time == "timestamp"
    assert infer_schema(table(born=days), target="y", exclude=["born"]).time is None


def test_a_time_that_cannot_be_read_or_is_missing_is_refused() -> None:
    assert "cannot be read as times" in str(refusal(table(), time="x"))
    gaps = table(day=[None, *[date(2020, 1, 1)] * (ROWS - 1)])
    assert "1 rows have no time" in str(refusal(gaps, time="day"))
    assert infer_schema(gaps, target="y").time is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2011-01-31", datetime(2011, 1, 31, tzinfo=UTC)),
        ("2011-01-31T13:05:06.5Z", datetime(2011, 1, 31, 13, 5, 6, 500_000, tzinfo=UTC)),
        ("2011-01-31 13:05:00+02:00", datetime(2011, 1, 31, 11, 5, tzinfo=UTC)),
        ("31.01.2011 13:05", datetime(2011, 1, 31, 13, 5, tzinfo=UTC)),
        ("31/01/2011", datetime(2011, 1, 31, tzinfo=UTC)),
        ("01/31/2011", datetime(2011, 1, 31, tzinfo=UTC)),
        ("2011-01", datetime(2011, 1, 1, tzinfo=UTC)),
        ("03/04/2011", None),
        ("2011-02-30", None),
        ("12-05", None),
        ("Monday", None),
    ],
)
def test_times_are_read_or_left_alone_but_never_guessed(text: str, read: datetime | None) -> None:
    times = parse_times(pl.Series([text, None]))
    assert (None if times is None else times[0]) == read


def test_epochs_are_times() -> None:
    for factor in (1, 10**3, 10**6):
        times = parse_times(pl.Series([1_300_000_000 * factor]))
        assert times is not None
        assert times[0] == datetime(2011, 3, 13, 7, 6, 40, tzinfo=UTC)
