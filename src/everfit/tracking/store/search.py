"""Which runs a search finds, and in which order.

A search asks of each run what it logged, so where it begins decides its time. Three ways, and
the counts of the first pages of the indexes choose: from the runs, latest first; from the rows
that fit one clause, if these are few; from the values of the metric that orders the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from everfit.filters import Comparison, Condition, Entity, Order, condition, within_times
from everfit.kernel import Transaction
from everfit.tracking.model import RunSearch

_ATTRIBUTES = {
    "run_id": "r.id",
    "run_name": "r.name",
    "status": "r.status",
    "start_time": "r.started_at",
    "end_time": "r.finished_at",
    "experiment_id": "r.experiment",
    "user_id": "r.actor",
    "lifecycle_stage": "r.stage",
    "artifact_uri": "('mlflow-artifacts:/' || r.experiment || '/' || r.id || '/artifacts')",
}
_TABLES = {
    Entity.METRIC: "tracking_series",
    Entity.PARAM: "tracking_params",
    Entity.TAG: "tracking_tags",
}
_TIMES = ("start_time", "end_time")
_STATUSES = {"KILLED": "cancelled"}
# A count goes no further; a clause that fits more rows than this begins no search.
MOST = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statement:
    """The parts of a statement that finds the numbers of runs."""

    tables: Condition
    where: Sequence[Condition]
    order: Condition

    def rows(self, tx: Transaction, search: RunSearch) -> list[int]:
        parts = [self.tables, *self.where, self.order]
        where = " AND ".join(part.sql for part in self.where)
        sql = (
            f"SELECT r.number FROM {self.tables.sql} WHERE {where} "
            f"ORDER BY {self.order.sql} LIMIT ? OFFSET ?"
        )
        values = [value for part in parts for value in part.values]
        return [row[0] for row in tx.execute(sql, (*values, search.limit, search.offset))]


def find_runs(tx: Transaction, search: RunSearch) -> list[int]:
    """Return the numbers of the runs found, in order."""
    if not search.experiments or not search.stages:
        return []
    dialect = tx.connection.dialect.name
    plain = [_attribute(c, dialect) for c in search.clauses if c.entity is Entity.ATTRIBUTE]
    logged = [c for c in search.clauses if c.entity is not Entity.ATTRIBUTE]
    place = _Place(tx, search, logged)
    if place.by_metric:
        found = _from_metric(tx, search, [*plain, *(_exists(c, dialect) for c in logged)])
        if len(found) == search.limit:
            return found
    start = place.clause
    others = [_exists(clause, dialect) for clause in logged if clause is not start]
    tables, order = _ordered(search.orders, dialect)
    where = [*_scope(tx, search), *plain, *others]
    if start is not None:
        first = _fits("d", start, dialect)
        tables = Condition(
            sql=f"{_TABLES[start.entity]} d CROSS JOIN {tables.sql}", values=tables.values
        )
        where = [Condition(sql="r.number = d.run"), first, *where]
    return _Statement(tables=tables, where=where, order=order).rows(tx, search)


class _Place:
    """Where to begin: at a clause, at the metric that orders the result, or at the runs.

    Costs are counted in looked-up rows, and clauses taken as independent of each other.
    """

    def __init__(self, tx: Transaction, search: RunSearch, logged: Sequence[Comparison]) -> None:
        self.clause: Comparison | None = None
        self.by_metric = bool(search.orders) and search.orders[0].entity is Entity.METRIC
        streams = self.by_metric or _by_start(search)
        clauses = [clause for clause in logged if _is_counted(clause)]
        if not clauses:
            return
        runs = max(1, int(tx.execute("SELECT max(number) FROM tracking_runs").scalar() or 1))
        wanted = search.limit + search.offset
        most = _enough(runs, wanted, len(clauses)) if streams else MOST
        counted = [(_count(tx, clause, most), clause) for clause in clauses]
        fewest, clause = min(counted, key=lambda pair: pair[0])
        if fewest == most:
            return
        # By start (or by the metric of the order) as many are looked at as it takes to find
        # those wanted; by a clause, all that fit it.
        share: float = math.prod(min(1.0, count / runs) for count, _ in counted)
        streaming = min(runs, wanted / share if share else runs)
        if fewest < streaming or not streams:
            self.clause, self.by_metric = clause, False


def _enough(runs: int, wanted: int, clauses: int) -> int:
    """Return how far to count the rows that fit a clause.

    Where each of them fits so many or more, it is cheaper to look at runs in their order until
    enough fit than at all that fit a clause: there both ways look at equally many.
    """
    # By logarithms: a power of so many clauses may be beyond all floats.
    meet = math.exp((math.log(wanted) + clauses * math.log(runs)) / (clauses + 1))
    return min(MOST, math.ceil(meet))


def _by_start(search: RunSearch) -> bool:
    """Return whether the result is ordered by the start, which an index holds."""
    return not search.orders or search.orders[0].key == "start_time"


def _is_counted(clause: Comparison) -> bool:
    """Return whether an index tells how many rows fit a clause."""
    return clause.entity in _TABLES and clause.operator in ("=", "<", "<=", ">", ">=")


def _count(tx: Transaction, clause: Comparison, most: int) -> int:
    """Return how many rows fit a clause as far as an index can tell, at most ``most``."""
    fits = _fits("d", clause, tx.connection.dialect.name)
    rows = f"SELECT 1 FROM {_TABLES[clause.entity]} d WHERE {fits.sql} LIMIT {most}"
    return int(tx.execute(f"SELECT count(*) FROM ({rows}) AS counted", fits.values).scalar())


def _from_metric(tx: Transaction, search: RunSearch, where: Sequence[Condition]) -> list[int]:
    """Return the runs by the values of a metric, without those that lack it."""
    first = search.orders[0]
    rest, order = _ordered(search.orders[1:], tx.connection.dialect.name)
    direction = "ASC" if first.ascending else "DESC"
    statement = _Statement(
        tables=Condition(sql=f"tracking_series d CROSS JOIN {rest.sql}", values=rest.values),
        where=[
            Condition(sql="d.key = ? AND d.value IS NOT NULL", values=(first.key,)),
            Condition(sql="r.number = d.run"),
            *_scope(tx, search),
            *where,
        ],
        order=Condition(sql=f"d.value {direction}, {order.sql}", values=order.values),
    )
    return statement.rows(tx, search)


def _scope(tx: Transaction, search: RunSearch) -> list[Condition]:
    experiments, stages = tuple(search.experiments), tuple(map(str, search.stages))
    return [
        Condition(sql="r.project = ?", values=(tx.project,)),
        Condition(sql=f"r.experiment IN ({_marks(experiments)})", values=experiments),
        Condition(sql=f"r.stage IN ({_marks(stages)})", values=stages),
    ]


def _attribute(clause: Comparison, dialect: str) -> Condition:
    value: Any = clause.value
    if clause.key in _TIMES and value is not None:
        value = within_times(value)
    if clause.key == "status" and isinstance(value, str):
        value = _STATUSES.get(value.upper(), value.lower())
    meant = Comparison(entity=clause.entity, key=clause.key, operator=clause.operator, value=value)
    column = _ATTRIBUTES[clause.key]
    return condition(f"({column} / 1000)" if clause.key in _TIMES else column, meant, dialect)


def _exists(clause: Comparison, dialect: str) -> Condition:
    """Return the condition that a run logged something that fits ``clause``."""
    if clause.entity is Entity.DATASET:
        column = {"name": "d.name", "digest": "d.digest", "context": "d.context"}[clause.key]
        fits = condition(column, clause, dialect)
        table = "tracking_inputs"
    elif clause.operator in ("IS NULL", "IS NOT NULL"):
        fits = Condition(sql="d.key = ?", values=(clause.key,))
        table = _TABLES[clause.entity]
    else:
        fits, table = _fits("d", clause, dialect), _TABLES[clause.entity]
    no = "NOT " if clause.operator == "IS NULL" else ""
    sql = f"{no}EXISTS (SELECT 1 FROM {table} d WHERE d.run = r.number AND {fits.sql})"
    return Condition(sql=sql, values=fits.values)


def _fits(alias: str, clause: Comparison, dialect: str) -> Condition:
    indexed = clause.entity is not Entity.METRIC
    fits = condition(f"{alias}.value", clause, dialect, indexed=indexed)
    if clause.entity is Entity.METRIC and clause.operator == "!=":
        # NaN, kept as NULL, is no number and so another one than any.
        fits = Condition(sql=f"({alias}.value IS NULL OR {fits.sql})", values=fits.values)
    return Condition(sql=f"{alias}.key = ? AND {fits.sql}", values=(clause.key, *fits.values))


def _ordered(orders: Sequence[Order], dialect: str) -> tuple[Condition, Condition]:
    """Return the tables that an order needs, and the order.

    What has no value comes last, and of metrics NaN before it. Runs that are equal in all this
    come by start, the latest first, and then by id.
    """
    tables, parts = ["tracking_runs r"], []
    keys: list[str] = []
    for number, order in enumerate(orders):
        direction = "ASC" if order.ascending else "DESC"
        if order.entity is Entity.ATTRIBUTE:
            column = _ATTRIBUTES[order.key]
            by = column if order.key in _TIMES else f"{column}{_bytewise(dialect)}"
            parts.append(f"{column} IS NULL, {by} {direction}")
            continue
        table, alias = _TABLES[order.entity], f"o{number}"
        tables.append(f"LEFT JOIN {table} {alias} ON {alias}.run = r.number AND {alias}.key = ?")
        keys.append(order.key)
        column = f"{alias}.value"
        lacking = (
            f"CASE WHEN {column} IS NOT NULL THEN 0 WHEN {alias}.run IS NOT NULL THEN 1 ELSE 2 END"
        )
        text = "" if order.entity is Entity.METRIC else _bytewise(dialect)
        parts.append(f"{lacking}, {column}{text} {direction}")
    if not any(order.entity is Entity.ATTRIBUTE and order.key == "start_time" for order in orders):
        parts.append("r.started_at DESC")
    parts.append("r.id")
    return Condition(sql=" ".join(tables), values=tuple(keys)), Condition(sql=", ".join(parts))


def _bytewise(dialect: str) -> str:
    """Return what orders a text by code points, as SQLite does, and not by a country's rules."""
    return "" if dialect == "sqlite" else ' COLLATE "C"'


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
