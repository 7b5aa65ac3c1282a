"""Rows of steps: the only module of this room that speaks SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from everfit.kernel import Transaction
from everfit.steps.model import RunStep, Spent, StoredStep, StoredValue
from everfit.steps.tables import run_steps, steps, values

# Below what any database here takes as parameters of one statement.
MOST_PARAMETERS = 500


def steps_with(tx: Transaction, recipes: Iterable[str]) -> list[StoredStep]:
    """Return the cached steps of these recipes."""
    columns = [column for column in steps.c if column.name != "project"]
    found = []
    for some in _batched(sorted(set(recipes))):
        query = sa.select(*columns).where(steps.c.project == tx.project, steps.c.recipe.in_(some))
        found += [StoredStep(**row) for row in tx.connection.execute(query).mappings()]
    return found


def spent(tx: Transaction, since: datetime, until: datetime) -> Spent:
    """Return what the steps made from ``since`` to ``until`` took."""
    c, sums = steps.c, ("cost", "cpu_seconds", "wall_seconds")
    query = sa.select(
        sa.func.count().label("steps"),
        *(sa.func.coalesce(sa.func.sum(c[name]), 0.0).label(name) for name in sums),
        sa.func.coalesce(sa.func.max(c.peak_bytes), 0).label("peak_bytes"),
    ).where(c.project == tx.project, c.created_at >= since, c.created_at <= until)
    return Spent(**tx.connection.execute(query).mappings().one())


def save_steps(tx: Transaction, made: Iterable[StoredStep]) -> None:
    """Write rows of the cache; where a key is known, the newer value takes its place."""
    _write(tx, SAVE_STEP, [_row(step) for step in sorted(made, key=lambda step: step.key)])


def kinds_of(tx: Transaction, digests: Iterable[str]) -> dict[str, set[str]]:
    """Return the kinds under which each of these values was stored here."""
    found: dict[str, set[str]] = {}
    for some in _batched(sorted(set(digests))):
        query = sa.select(values.c.digest, values.c.kind).where(
            values.c.project == tx.project, values.c.digest.in_(some)
        )
        for row in tx.connection.execute(query):
            found.setdefault(row.digest, set()).add(row.kind)
    return found


def save_values(tx: Transaction, stored: Iterable[StoredValue]) -> None:
    """Write values; one that is known stays as it is."""
    _write(tx, SAVE_VALUE, [_row(value) for value in sorted(stored, key=lambda v: v.digest)])


def steps_of_run(tx: Transaction, run_id: str) -> list[RunStep]:
    """Return what is on record of each step of a run, by the time of the last change."""
    columns = [column for column in run_steps.c if column.name not in ("project", "run_id")]
    query = (
        sa.select(*columns)
        .where(run_steps.c.project == tx.project, run_steps.c.run_id == run_id)
        .order_by(run_steps.c.at, run_steps.c.name)
    )
    found = tx.connection.execute(query).mappings()
    return [RunStep(**{**row, "cached": bool(row["cached"])}) for row in found]


def save_run_steps(tx: Transaction, run_id: str, states: Iterable[RunStep]) -> None:
    """Write the newest state of each step of a run."""
    ordered = sorted(states, key=lambda state: state.name)
    rows = [{**_row(state), "run_id": run_id, "cached": int(state.cached)} for state in ordered]
    _write(tx, SAVE_RUN_STEP, rows)


def _batched(texts: Sequence[str]) -> Iterable[Sequence[str]]:
    # itertools.batched came with Python 3.12.
    starts = range(0, len(texts), MOST_PARAMETERS)
    return (texts[start : start + MOST_PARAMETERS] for start in starts)


def _row(record: StoredStep | StoredValue | RunStep) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _write(tx: Transaction, statement: sa.TextClause, rows: list[dict[str, Any]]) -> None:
    if rows:
        tx.connection.execute(statement, [{**row, "project": tx.project} for row in rows])


def _upsert(table: sa.Table, *, change: bool) -> sa.TextClause:
    """Return the insert that, where the key is known, changes the other columns or nothing."""
    names = [column.name for column in table.c]
    keys = [column.name for column in table.primary_key]
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    sql = (
        f"INSERT INTO {table.name} ({', '.join(names)}) "  # noqa: S608 - names from tables.py
        f"VALUES ({', '.join(f':{name}' for name in names)}) "
        f"ON CONFLICT ({', '.join(keys)}) DO {f'UPDATE SET {changes}' if change else 'NOTHING'}"
    )
    return sa.text(sql).bindparams(*(sa.bindparam(c.name, type_=c.type) for c in table.c))


SAVE_STEP = _upsert(steps, change=True)
SAVE_VALUE = _upsert(values, change=False)
SAVE_RUN_STEP = _upsert(run_steps, change=True)
