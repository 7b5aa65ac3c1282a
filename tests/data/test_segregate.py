"""Splits: nothing stands on two sides, and what was dealt once stays where it is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everfit.data import (
    Column,
    Role,
    Schema,
    Segregation,
    Split,
    Task,
    check_split,
    fingerprints,
    infer_schema,
    segregate,
)
from everfit.errors import DataInvalid, SplitLeak, TargetLeak

START = datetime(2026, 1, 1, tzinfo=UTC)


def table(rows: int = 2000, seed: int = 0) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "row_id": range(rows),
            "x": generator.normal(size=rows),
            "c": generator.choice(["a", "b", "c"], rows),
            "shop": generator.integers(0, 200, rows),
            "y": generator.choice(["no", "no", "yes"], rows),
        }
    )


def schema_of(frame: pl.DataFrame, **said: Any) -> Schema:
    return infer_schema(frame, target="y", **said)


def sides(split: Split, key: str = "row_id") -> dict[int, str]:
    return {value: name for name, part in split.parts.items() for value in part[key].to_list()}


@pytest.mark.parametrize("said", [{}, {"group": "shop"}], ids=["stratified", "grouped"])
@settings(max_examples=15, deadline=None)
@given(cut=st.integers(600, 1999), shuffle=st.integers(0, 99))
def test_appended_or_reordered_rows_never_move_another(
    said: dict[str, str], cut: int, shuffle: int
) -> None:
    frame = table()
    schema = schema_of(frame, **said)
    before = sides(segregate(frame.head(cut), schema))
    after = sides(segregate(frame.sample(fraction=1.0, shuffle=True, seed=shuffle), schema))
    assert len(after) == 2000
    assert {row: after[row] for row in before} == before


def test_a_corrected_label_a_wider_type_or_a_new_empty_column_moves_no_row() -> None:
    frame = table()
    schema = schema_of(frame)
    before = sides(segregate(frame, schema))
    flipped = frame.with_columns(y=pl.when(pl.col("row_id") < 99).then(pl.lit("no")).otherwise("y"))
    assert sides(segregate(flipped, schema)) == before
    wider = frame.with_columns(pl.col("shop").cast(pl.Float64))
    assert sides(segregate(wider, schema)) == before
    new = frame.with_columns(new=pl.lit(None, dtype=pl.Int64))
    columns = (*schema.columns, Column(name="new", role=Role.NUMERIC, reason="test"))
    assert sides(segregate(new, replace(schema, columns=columns))) == before


def test_fingerprints_are_the_same_in_another_process() -> None:
    code = (
        "import polars as pl\nfrom everfit.data import fingerprints\n"
        "print(fingerprints(pl.DataFrame({'a': ['é', None], 'b': [1.5, 2]}), ['a', 'b']).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The values are pinned: a change of them would deal every split anew.
    assert done.stdout.strip() == "[4454607290046648368, 943695997024311035]"


def test_fingerprints_tell_values_columns_and_seeds_apart() -> None:
    frame = pl.DataFrame({"a": [0, 1, 2**60, 2**60 + 1, None], "b": [1, 0, 2**60, 2**60, 0]})
    words = fingerprints(frame, ["a", "b"])
    assert len(set(words.tolist())) == 5
    assert not set(words.tolist()) & set(fingerprints(frame, ["a", "b"], seed=1).tolist())


def test_the_shares_and_the_classes_come_out_as_asked() -> None:
    frame = table(20_000)
    split = segregate(frame, schema_of(frame), Segregation(validation=0.1, test=0.3))
    assert split.how == "stratified"
    for part, share in ((split.train, 0.6), (split.validation, 0.1), (split.test, 0.3)):
        # Four standard deviations of a binomial share.
        assert abs(part.height / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5
        yes = (part["y"] == "yes").mean()
        assert isinstance(yes, float)
        assert abs(yes - 1 / 3) < 4 * (2 / 9 / part.height) ** 0.5


def test_a_seed_deals_differently_and_a_share_of_validation_leaves_the_test() -> None:
    frame = table()
    schema = schema_of(frame)
    first = segregate(frame, schema)
    other = segregate(frame, schema, Segregation(seed=1))
    assert sides(first) != sides(other)
    wider = segregate(frame, schema, Segregation(validation=0.3))
    assert wider.test.equals(first.test)


def test_rows_with_equal_features_are_on_one_side() -> None:
    frame = table()
    copies = pl.concat([frame, frame.with_columns(pl.col("row_id") + 2000)])
    split = segregate(copies, schema_of(copies))
    place = sides(split)
    assert all(place[row] == place[row + 2000] for row in range(2000))


def test_a_group_is_on_one_side() -> None:
    frame = table()
    split = segregate(frame, schema_of(frame, group="shop"))
    assert split.how == "grouped"
    shops = [set(part["shop"]) for part in split.parts.values()]
    assert sum(map(len, shops)) == len(set.union(*shops)) == frame["shop"].n_unique()


def test_a_key_decides_where_it_is_given() -> None:
    frame = table()
    split = segregate(frame, schema_of(frame), Segregation(key=("shop", "c")))
    pairs = [set(part.select("shop", "c").rows()) for part in split.parts.values()]
    assert sum(map(len, pairs)) == len(set.union(*pairs))


def timed(rows: int = 1000, per_time: int = 7) -> pl.DataFrame:
    moments = [START + timedelta(hours=i // per_time) for i in range(rows)]
    frame = table(rows).with_columns(pl.Series("at", moments))
    return frame.sample(fraction=1.0, shuffle=True, seed=3)


def test_time_parts_in_order_and_never_within_one_time() -> None:
    frame = timed()
    split = segregate(frame, schema_of(frame))
    assert split.how == "time"
    assert sum(part.height for part in split.parts.values()) == 1000
    assert max(split.train["at"]) < min(split.validation["at"])
    assert max(split.validation["at"]) < min(split.test["at"])
    assert abs(split.test.height - 200) <= 7
    assert split.test["at"].is_sorted()


def test_an_embargo_leaves_out_the_rows_before_the_next_part() -> None:
    frame = timed()
    day = timedelta(hours=5)
    split = segregate(frame, schema_of(frame), Segregation(embargo=day))
    assert min(split.validation["at"]) - max(split.train["at"]) > day
    assert min(split.test["at"]) - max(split.validation["at"]) > day
    assert split.test.height == segregate(frame, schema_of(frame)).test.height


def test_a_time_split_needs_prepared_times() -> None:
    frame = timed()
    schema = schema_of(frame)
    with pytest.raises(DataInvalid, match="not times"):
        segregate(frame.with_columns(pl.col("at").cast(pl.String)), schema)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (Segregation(test=0.0), "test: found 0.0"),
        (Segregation(test=float("nan")), "test: found nan"),
        (Segregation(test=0.6, validation=0.4), "leave some for training"),
        (Segregation(how="time"), "data.time"),
        (Segregation(how="grouped"), "data.group"),
        (Segregation(key=("shpo",)), "did you mean shop?"),
    ],
)
def test_segregations_that_cannot_be_are_refused(how: Segregation, said: str) -> None:
    frame = table(100)
    with pytest.raises(DataInvalid) as caught:
        segregate(frame, schema_of(frame), how)
    assert said in str(caught.value)


def test_too_few_rows_are_refused_with_what_is_needed() -> None:
    frame = table().head(3).with_columns(y=pl.Series(["a", "b", "a"]))
    with pytest.raises(DataInvalid, match="nothing is left") as caught:
        segregate(frame, schema_of(frame))
    assert "at least 20" in caught.value.hint
    with pytest.raises(DataInvalid, match="no rows"):
        segregate(frame.clear(), schema_of(frame))
    one_time = timed(100, per_time=100)
    with pytest.raises(DataInvalid, match="nothing is left"):
        segregate(one_time, schema_of(one_time, time="at"))


def test_a_class_that_training_would_never_see_is_refused() -> None:
    frame = table(200).with_columns(y=pl.lit("no"))
    lonely = frame.with_columns(y=pl.when(pl.col("row_id") == 0).then(pl.lit("yes")).otherwise("y"))
    with pytest.raises(DataInvalid, match="other classes"):
        segregate(lonely, schema_of(lonely))


def test_keys_with_holes_are_refused() -> None:
    frame = table().with_columns(shop=pl.when(pl.col("x") > 0).then(pl.col("shop")))
    with pytest.raises(DataInvalid, match="no value in shop"):
        segregate(frame, schema_of(frame, group="shop"))


def test_leaks_of_the_target_are_refused_unless_allowed() -> None:
    frame = table().with_columns(hint=pl.col("y").str.to_uppercase())
    schema = schema_of(frame)
    with pytest.raises(TargetLeak, match="hint") as caught:
        segregate(frame, schema)
    assert "exclude: [hint]" in caught.value.hint
    assert segregate(frame, schema, Segregation(allow=("hint",))).train.height > 0


def own(frame: pl.DataFrame, schema: Schema, how: str = "own") -> Split:
    parts = frame.slice(0, 1200), frame.slice(1200, 400), frame.slice(1600, 400)
    train, validation, test = parts
    return Split(train=train, validation=validation, test=test, schema=schema, how=how)


def test_a_user_s_own_split_is_checked() -> None:
    frame = table()
    check_split(own(frame, schema_of(frame)))
    with pytest.raises(SplitLeak, match="groups in more than one part"):
        check_split(own(frame, schema_of(frame, group="shop")))
    copied = pl.concat([frame.head(1990), frame.head(10)])
    with pytest.raises(SplitLeak, match="10 of 800 validation and test rows"):
        check_split(own(copied, schema_of(copied)))
    ordered = timed(2000, per_time=10).sort("at")
    check_split(own(ordered, schema_of(ordered), how="time"))
    mixed = timed(2000)
    with pytest.raises(SplitLeak, match="times up to"):
        check_split(own(mixed, schema_of(mixed), how="time"))


def test_clusters_and_numbers_are_dealt_at_random() -> None:
    frame = table().drop("y")
    split = segregate(frame, infer_schema(frame, target=None))
    assert (split.how, split.schema.task) == ("random", Task.CLUSTERING)
    numbers = infer_schema(frame, target="x")
    assert segregate(frame, numbers).how == "random"
