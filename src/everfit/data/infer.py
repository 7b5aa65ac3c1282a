"""Infer: the task and the role of every column, or all that stands in the way at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from types import MappingProxyType

import polars as pl

from everfit.data.clean import clean
from everfit.data.model import Column, Role, Schema, Task
from everfit.data.roles import (
    Facts,
    facts_of,
    infer_role,
    is_plain,
    looks_like_time,
    stray_texts,
)
from everfit.data.times import event_times
from everfit.errors import DataInvalid, Problem

NO_ROLES: Mapping[str, Role] = MappingProxyType({})
FEW_CLASSES = 10
# The usual names of the one time that a row happened at, where a table has several.
EVENT_TIME_NAMES = ("time", "timestamp", "datetime", "date", "event_time", "ts", "at")
SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What the caller said of the columns."""

    target: str | None
    time_from: tuple[str, ...]
    group: str | None
    exclude: tuple[str, ...]
    roles: Mapping[str, Role]

    def names(self) -> Iterator[tuple[str, str]]:
        """Yield each column that was named, with the place where."""
        named = {"target": [self.target], "time": self.time_from, "group": [self.group]}
        named |= {"exclude": self.exclude, "roles": list(self.roles)}
        for place, names in named.items():
            yield from ((place, name) for name in names if name is not None)


def infer_schema(
    frame: pl.DataFrame,
    *,
    target: str | None,
    time: str | None = None,
    task: Task | None = None,
    exclude: Sequence[str] = (),
    group: str | None = None,
    roles: Mapping[str, Role] = NO_ROLES,
    drop_missing_target: bool = False,
) -> Schema:
    """Return what each column of ``frame`` is to the model, with a reason for each.

    ``time`` names a column, or a date and an hour column as ``"dteday + hr"``; without it the
    only column of times, or the one of several with a usual name, is taken. What ``roles``
    says of a column is not questioned.

    Raises
    ------
    DataInvalid
        Naming every unknown column, or else every column that cannot be used as it is.
    """
    frame = clean(frame)
    if frame.height == 0:
        raise DataInvalid("the table has no rows", hint="Collect some before training.")
    parts = () if time is None else _time_parts(frame, time)
    wanted = _Wanted(
        target=target, time_from=parts, group=group, exclude=tuple(exclude), roles=roles
    )
    _refuse_names(frame, wanted)
    columns = _columns(frame, wanted)
    if time is None:
        parts = _only_time(frame, columns)
    else:
        event_times(frame, parts)
    if target is not None:
        refuse_missing_target(frame, target, allowed=drop_missing_target)
    schema = Schema(
        task=_task(frame, target, task),
        columns=tuple(columns),
        target=target,
        time=_time_name(frame, parts),
        group=group,
        time_from=parts,
        drop_missing_target=drop_missing_target,
    )
    return _explained(schema)


def infer_task(values: pl.Series | None) -> tuple[Task, str]:
    """Return the task that a target speaks for, and why; no target means clustering.

    Examples
    --------
    >>> infer_task(pl.Series(["yes", "no", "no"]))
    (<Task.CLASSIFICATION: 'classification'>, '2 distinct texts')
    """
    if values is None:
        return Task.CLUSTERING, "there is no target"
    present = values.drop_nulls()
    distinct = present.n_unique()
    if present.dtype == pl.String:
        return Task.CLASSIFICATION, f"{distinct:,} distinct texts"
    if present.dtype == pl.Boolean:
        return Task.CLASSIFICATION, "true or false"
    whole = present.dtype.is_integer() or bool((present == present.round()).all())
    if whole and (distinct <= 2 or distinct <= min(FEW_CLASSES, len(present) / 20)):
        return Task.CLASSIFICATION, f"{distinct} distinct whole numbers"
    return Task.REGRESSION, f"{distinct:,} distinct numbers"


def refuse_missing_target(frame: pl.DataFrame, target: str, *, allowed: bool) -> None:
    """Raise DataInvalid if rows have no target, unless they may be dropped and others remain."""
    rows = frame[target].is_null().arg_true()
    if len(rows) == 0 or (allowed and len(rows) < frame.height):
        return
    lines = ", ".join(f"{row + 2:,}" for row in rows.head(SHOWN))
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    raise DataInvalid(
        f"the target {target!r} is missing in {len(rows):,} of {frame.height:,} rows "
        f"(lines {lines}{more}, the header being line 1)",
        hint="Fill them in, or write `drop_missing_target: true` under `data` to leave them out.",
    )


def unknown_name(path: str, name: str, known: Collection[str]) -> Problem:
    """Return the problem of a column name that is not there, with the nearest that are."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(near)}?" if near else f"use one of {_listed(known)}"
    return Problem(path=path, found=f"no column {name!r}", remedy=remedy)


def _listed(names: Collection[str]) -> str:
    shown = list(names)[:SHOWN]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(shown) + more


def _time_parts(frame: pl.DataFrame, time: str) -> tuple[str, ...]:
    if time in frame.columns:
        return (time,)
    return tuple(part.strip() for part in time.split("+"))


def _refuse_names(frame: pl.DataFrame, wanted: _Wanted) -> None:
    problems = [
        unknown_name(f"data.{place}", name, frame.columns)
        for place, name in wanted.names()
        if name not in frame.columns
    ]
    for place, name in wanted.names():
        if place != "target" and name == wanted.target:
            found = f"the target {name!r}"
            problems.append(Problem(path=f"data.{place}", found=found, remedy="name another"))
    for name, role in wanted.roles.items():
        if role is Role.TARGET and name != wanted.target:
            remedy = f"write `target: {name}` instead"
            problems.append(Problem(path=f"data.roles.{name}", found=str(role), remedy=remedy))
    if problems:
        raise DataInvalid.of("the policy", problems, hint="Correct all of them, then run again.")


def _columns(frame: pl.DataFrame, wanted: _Wanted) -> list[Column]:
    """Return every column with its role; raises DataInvalid naming each that has none."""
    said = {name: _said(name, wanted) for name in frame.columns}
    left = [name for name, column in said.items() if column is None]
    facts = {fact.name: fact for fact in facts_of(frame.select(left))}
    problems = [
        problem
        for name in left
        if (problem := _unusable(name, frame.schema[name], facts.get(name))) is not None
    ]
    if problems:
        raise DataInvalid.of(
            "the table",
            problems,
            hint="Correct the data or the policy; `exclude` leaves a column out of the model.",
        )
    return [column or infer_role(facts[name]) for name, column in said.items()]


def _said(name: str, wanted: _Wanted) -> Column | None:
    """Return the column if the caller said what it is."""
    if name == wanted.target:
        return Column(name=name, role=Role.TARGET, reason="the column to predict")
    if name in wanted.exclude:
        return Column(name=name, role=Role.EXCLUDED, reason="excluded by the policy")
    if name in wanted.roles:
        return Column(name=name, role=wanted.roles[name], reason="said so in the policy")
    if name in wanted.time_from[:1]:
        return Column(name=name, role=Role.TIME, reason="says when the row happened")
    if name == wanted.group:
        reason = "groups the rows of one split part, so it is no feature"
        return Column(name=name, role=Role.IDENTIFIER, reason=reason)
    return None


def _unusable(name: str, kind: pl.DataType, facts: Facts | None) -> Problem | None:
    path, exclude = f"column {name!r}", f"add it to `exclude`: [{name}]"
    if facts is None:
        return Problem(path=path, found=f"{kind} values", remedy=exclude)
    if facts.present == 0:
        return Problem(path=path, found="no value at all", remedy=exclude)
    strays = stray_texts(facts)
    if len(strays):
        examples = ", ".join(repr(text) for text in strays.unique(maintain_order=True).head(3))
        return Problem(
            path=path,
            found=f"numbers, but {len(strays):,} of {facts.present:,} values are none: {examples}",
            remedy=f"correct them, or say that it is text: `roles: {{{name}: category}}`",
        )
    return None


def _only_time(frame: pl.DataFrame, columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the column that says when a row happened, if no other could."""
    times = [
        column.name
        for column in columns
        if column.role is Role.TIME
        and frame[column.name].null_count() == 0
        and looks_like_time(frame[column.name])
    ]
    usual = [name for name in times if name.lower() in EVENT_TIME_NAMES]
    for candidates in (times, usual):
        if len(candidates) == 1:
            return (candidates[0],)
    return ()


def _time_name(frame: pl.DataFrame, parts: tuple[str, ...]) -> str | None:
    """Return the name of the time column: its own, or a free one for date + hour."""
    if len(parts) < 2:
        return parts[0] if parts else None
    return next(name for name in ("time", "event_time", "_time") if name not in frame.columns)


def _task(frame: pl.DataFrame, target: str | None, task: Task | None) -> Task:
    """Return the task; raises DataInvalid if the target cannot serve it."""
    if target is None:
        if task in (None, Task.CLUSTERING):
            return Task.CLUSTERING
        raise DataInvalid(f"{task} needs a target", hint="Name the column: `data.target`.")
    values = frame[target]
    _refuse_target(values)
    task = task or infer_task(values)[0]
    distinct, rows = values.drop_nulls().n_unique(), values.count()
    if task is Task.REGRESSION and not values.dtype.is_numeric():
        raise DataInvalid(
            f"regression predicts a number, but {target!r} holds {values.dtype} values, "
            f"for example {_no_number(values)!r}",
            hint="Write `task: classification`, or correct the values that are no numbers.",
        )
    if task is Task.CLASSIFICATION and distinct > max(2 * FEW_CLASSES, rows / 2):
        raise DataInvalid(
            f"the target {target!r} has {distinct:,} distinct values in {rows:,} rows: no classes",
            hint="Name another target, or write `task: regression` if it is a number.",
        )
    return task


def _no_number(values: pl.Series) -> object:
    """Return the first value that cannot be read as a number, or the first of all."""
    known = values.drop_nulls()
    if known.dtype == pl.String:
        numbers = known.str.strip_chars().cast(pl.Float64, strict=False)
        known = known.filter(numbers.is_null()) if numbers.null_count() else known
    return known[0]


def _refuse_target(values: pl.Series) -> None:
    name = values.name
    if not is_plain(values.dtype) or values.dtype.is_temporal():
        hint = "Predict a number, a text or true/false."
        raise DataInvalid(f"the target {name!r} holds {values.dtype} values", hint=hint)
    [facts] = facts_of(values.to_frame())
    strays = stray_texts(facts)
    if len(strays):
        raise DataInvalid(
            f"the target {name!r} holds numbers, but {len(strays):,} of {facts.present:,} values "
            f"are none: {', '.join(map(repr, strays.head(3)))}",
            hint="Correct them, or remove those rows.",
        )
    if facts.distinct < 2:
        raise DataInvalid(
            f"the target {name!r} is always {values.drop_nulls()[0]!r}: nothing to learn",
            hint="Collect rows of the other outcomes too, or name another target.",
        )


def _explained(schema: Schema) -> Schema:
    """Return the schema with the derived time column added, and the time's reason made exact."""
    reason = "says when the row happened; rows are split by it"
    columns = [
        replace(column, reason=reason) if column.name == schema.time else column
        for column in schema.columns
    ]
    if schema.derived_time is not None:
        made_of = " + ".join(schema.time_from)
        columns.append(Column(name=schema.derived_time, role=Role.TIME, reason=made_of))
    return replace(schema, columns=tuple(columns))
