"""Segregate: training, validation and test rows that share nothing they should not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from everfit.data.fingerprint import fingerprints, shares
from everfit.data.infer import unknown_name
from everfit.data.leaks import find_leaks
from everfit.data.model import Role, Schema, Segregation, Split, Task
from everfit.errors import DataInvalid, Problem, SplitLeak, TargetLeak

DEFAULT = Segregation()
# Natural coincidences are tolerated up to here; a table copied onto itself is far above.
DUPLICATE_SHARE = 0.001
SHOWN = 5


def segregate(frame: pl.DataFrame, schema: Schema, how: Segregation = DEFAULT) -> Split:
    """Return the rows of a prepared table as training, validation and test.

    ``auto`` is by time where the schema has one, else by group, else stratified for classes,
    else random.

    - *time*: the last rows are the test, those before them validation; rows of one time are
      never parted. A group may go on over time: the model is asked about its future.
    - *random*, *stratified*, *grouped*: a keyed hash of the key, the group or the features
      decides for each row alone. Appended or reordered rows never move another one, and rows
      with equal features are always on one side. *stratified* also requires every class in
      training and several in each part.

    Raises
    ------
    TargetLeak
        If a feature gives the target away.
    SplitLeak
        If a group or more than 0.1% of equal rows stand on two sides.
    DataInvalid
        If the table cannot be parted so, or is too small for it.
    """
    _refuse_settings(frame, schema, how)
    _refuse_leaks(frame, schema, how)
    kind = _kind(schema, how)
    parts = _by_time(frame, schema, how) if kind == "time" else _by_hash(frame, schema, how)
    train, validation, test = parts
    split = Split(train=train, validation=validation, test=test, schema=schema, how=kind)
    _refuse_empty(split, how)
    _refuse_classes(split)
    check_split(split)
    return split


def check_split(split: Split) -> None:
    """Raise SplitLeak if what stands in one part of a split says what stands in another.

    Checked are the order in time (``how`` "time"), groups that stand on both sides (any other
    ``how``), and the share of validation and test rows whose features and target also stand in
    a part before, at most 0.1% (unless split by time or by group, where equal rows are
    different events).
    """
    problems: list[Problem] = []
    if split.how == "time":
        problems += _out_of_order(split)
    elif split.schema.group is not None:
        problems += _shared_groups(split, split.schema.group)
    if split.how not in ("time", "grouped"):
        problems += _shared_rows(split)
    if problems:
        raise SplitLeak.of(
            "the split",
            problems,
            hint="Use the default `segregated`, or name what belongs together: `data.group`.",
        )


def _refuse_settings(frame: pl.DataFrame, schema: Schema, how: Segregation) -> None:
    named = [*how.key, *(name for name in (schema.time, schema.group, schema.target) if name)]
    if frame.height == 0:
        raise DataInvalid("the table has no rows to part", hint="Collect some before training.")
    problems = [
        unknown_name("the table", name, frame.columns)
        for name in named
        if name not in frame.columns
    ]
    for share in ("validation", "test"):
        if not 0 < getattr(how, share) < 1:
            found = str(getattr(how, share))
            problems.append(Problem(path=share, found=found, remedy="write a share such as 0.2"))
    if not how.validation + how.test < 1:
        found = f"{how.validation} + {how.test} for validation and test"
        problems.append(Problem(path="the shares", found=found, remedy="leave some for training"))
    if how.how == "time" and schema.time is None:
        remedy = "name the column: `data.time`"
        problems.append(Problem(path="how: time", found="no time column", remedy=remedy))
    if how.how == "grouped" and not (how.key or schema.group):
        remedy = "name what belongs together: `data.group`"
        problems.append(Problem(path="how: grouped", found="no group", remedy=remedy))
    if problems:
        raise DataInvalid.of("the segregation", problems, hint="Correct them, then run again.")


def _refuse_leaks(frame: pl.DataFrame, schema: Schema, how: Segregation) -> None:
    leaks = find_leaks(frame, schema, allow=how.allow)
    if not leaks:
        return
    names = [name for leak in leaks for name in leak.columns]
    problems = [
        Problem(path=" + ".join(leak.columns), found=leak.reason, remedy="leave it out")
        for leak in leaks
    ]
    raise TargetLeak.of(
        f"predicting {schema.target!r}",
        problems,
        hint=f"Write `exclude: [{', '.join(names)}]` under `data`; a column that really is known "
        "when the prediction is asked for goes into `train: {split: {allow: [...]}}`.",
    )


def _kind(schema: Schema, how: Segregation) -> str:
    if how.how == "time" or (how.how == "auto" and schema.time is not None):
        return "time"
    if how.key or schema.group is not None:
        return "grouped"
    if how.how == "auto":
        return "stratified" if schema.task is Task.CLASSIFICATION else "random"
    return how.how


def _by_time(frame: pl.DataFrame, schema: Schema, how: Segregation) -> list[pl.DataFrame]:
    times = pl.col(str(schema.time))
    kind = frame.schema[str(schema.time)]
    if not isinstance(kind, pl.Datetime):
        hint = "Give `segregate` what `prepare` returned: it makes the time column."
        raise DataInvalid(f"column {schema.time!r} holds {kind} values, not times", hint=hint)
    ordered = frame.sort(times, maintain_order=True)
    rows = frame.height
    # The first row of each part decides; all rows of its time go with it.
    begin = [max(0, round(rows * (1 - share))) for share in (how.validation + how.test, how.test)]
    moments = ordered.select(times.gather([min(at, rows - 1) for at in begin])).to_series()
    validation_begins, test_begins = (pl.lit(moment) for moment in moments)
    embargo = pl.lit(how.embargo)
    train = times < validation_begins - embargo
    validation = (times >= validation_begins) & (times < test_begins - embargo)
    return [ordered.filter(part) for part in (train, validation, times >= test_begins)]


def _by_hash(frame: pl.DataFrame, schema: Schema, how: Segregation) -> list[pl.DataFrame]:
    unit = list(how.key) or ([schema.group] if schema.group else [])
    absent = [name for name in unit if frame[name].null_count()]
    if absent:
        raise DataInvalid(
            f"rows have no value in {', '.join(absent)}, which decides where they go",
            hint="Fill in the key, or remove those rows.",
        )
    place = shares(fingerprints(frame, unit or _content(schema), seed=how.seed))
    in_test = place < how.test
    in_validation = ~in_test & (place < how.test + how.validation)
    # Test comes first on the line, so a change of the validation share leaves it as it is.
    sides = (~in_test & ~in_validation, in_validation, in_test)
    return [frame.filter(pl.Series(side)) for side in sides]


def _content(schema: Schema) -> list[str]:
    """Return the columns that make two rows the same to a model.

    Constants are among them because appended rows may end their being constant; the target is
    not, because a corrected label must not move its row.
    """
    constants = [column for column in schema.columns if column.role is Role.CONSTANT]
    return [column.name for column in (*schema.features, *constants)]


def _refuse_empty(split: Split, how: Segregation) -> None:
    empty = [name for name, part in split.parts.items() if part.height == 0]
    if not empty:
        return
    parts = list(split.parts.values())
    rows = sum(part.height for part in parts)
    columns = _content(split.schema)
    distinct = pl.concat([part.select(columns) for part in parts]).n_unique() if columns else 1
    smallest = min(how.validation, how.test, 1 - how.validation - how.test)
    # A part of share p is empty by chance in (1 - p)^n of cases: 5% at n = 3 / p.
    needed = math.ceil(3 / smallest)
    unit = "distinct times" if split.how == "time" else "distinct rows, or groups"
    raise DataInvalid(
        f"nothing is left for {' and '.join(empty)} of {rows:,} rows ({distinct:,} distinct "
        f"without the target), split by {split.how}",
        hint=f"Bring at least {needed} {unit}, change the shares, or name a `key` whose values "
        "differ.",
    )


def _refuse_classes(split: Split) -> None:
    if split.schema.task is not Task.CLASSIFICATION or split.schema.target is None:
        return
    target = split.schema.target
    classes = {name: set(part[target].unique()) for name, part in split.parts.items()}
    unseen = (classes["validation"] | classes["test"]) - classes["train"]
    problems = [
        Problem(path=name, found=f"only {found}", remedy="bring more rows of the other classes")
        for name, found in classes.items()
        if len(found) < 2 and (name == "train" or split.how == "stratified")
    ]
    if unseen and split.how == "stratified":
        found = f"no row of class {', '.join(sorted(map(str, unseen))[:SHOWN])}"
        problems.append(Problem(path="train", found=found, remedy="bring more rows, or drop it"))
    if problems:
        raise DataInvalid.of(
            "the split",
            problems,
            hint="Each part needs rows of the classes; another `seed` deals them differently.",
        )


def _out_of_order(split: Split) -> list[Problem]:
    time = str(split.schema.time)
    problems = []
    for earlier, later in (("train", "validation"), ("validation", "test")):
        last: Any = split.parts[earlier][time].max()
        first: Any = split.parts[later][time].min()
        if last is None or first is None or not last < first:
            found = f"times up to {last} in {earlier}, from {first} in {later}"
            problems.append(Problem(path=time, found=found, remedy="part them at one time"))
    return problems


def _shared_groups(split: Split, group: str) -> list[Problem]:
    sides = pl.concat(
        part.select(group).unique().with_columns(pl.lit(name).alias("__side"))
        for name, part in split.parts.items()
    )
    shared = sides.group_by(group).len().filter(pl.col("len") > 1).sort(group)
    if shared.height == 0:
        return []
    examples = ", ".join(str(value) for value in shared[group].head(SHOWN))
    found = f"{shared.height:,} groups in more than one part: {examples}"
    return [Problem(path=group, found=found, remedy="keep each group in one part")]


def _shared_rows(split: Split) -> list[Problem]:
    """Find validation and test rows that a part before them also has."""
    schema = split.schema
    columns = [*_content(schema), *([schema.target] if schema.target else [])]
    train, validation, test = (fingerprints(p, columns) for p in split.parts.values())
    held_out = np.concatenate([validation, test])
    again = (
        np.isin(validation, train).sum() + np.isin(test, np.concatenate([train, validation])).sum()
    )
    if again <= DUPLICATE_SHARE * len(held_out):
        return []
    found = f"{again:,} of {len(held_out):,} validation and test rows that training also has"
    remedy = f"keep equal rows in one part (at most {DUPLICATE_SHARE:.1%} may be in two)"
    return [Problem(path="rows", found=found, remedy=remedy)]
