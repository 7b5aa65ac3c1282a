"""Which traces a search finds, and in which order.

A search begins at the traces, the latest first, or at the rows that fit one of its clauses where
these are few: the traces of a run or a session among a million others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from everfit.filters import Comparison, Condition, Entity, Order, condition
from everfit.kernel import Transaction
from everfit.tracing.model import SOURCE_RUN, TraceSearch

_ENDED_AT = "(t.started_at + coalesce(t.duration_ms, 0) * 1000)"
_ATTRIBUTES = {
    "request_id": "t.id",
    "client_request_id": "t.client_request_id",
    "experiment_id": "t.experiment",
    "status": "upper(t.state)",
    "timestamp_ms": "t.started_at",
    "end_time_ms": _ENDED_AT,
    "execution_time_ms": "t.duration_ms",
}
_TIMES = ("timestamp_ms", "end_time_ms")
_TABLES = {
    Entity.METADATA: "tracking_trace_metadata",
    Entity.TAG: "tracking_trace_tags",
}
# Beyond the last year of any time, in microseconds since 1970, and within 64 bits.
LATEST_US = 9 * 10**18
# A clause that fits more rows than this begins no search: then the latest traces do.
FEW = 10_000


def find_traces(tx: Transaction, search: TraceSearch) -> list[int]:
    """Return the numbers of the traces found, in order."""
    if not search.experiments:
        return []
    dialect = tx.connection.dialect.name
    start = _start(tx, search.clauses)
    tables, order = _ordered(search.orders)
    where = [
        Condition(sql="t.project = ?", values=(tx.project,)),
        Condition(
            sql=f"t.experiment IN ({', '.join('?' * len(search.experiments))})",
            values=tuple(search.experiments),
        ),
        *(_clause(clause, dialect) for clause in search.clauses if clause is not start),
    ]
    if start is not None:
        first = _fitting(tx, start)
        tables = Condition(
            sql=f"({first.sql}) d CROSS JOIN {tables.sql}", values=first.values + tables.values
        )
        where.append(Condition(sql="t.number = d.trace"))
    sql = (
        f"SELECT t.number FROM {tables.sql} WHERE {' AND '.join(part.sql for part in where)} "
        f"ORDER BY {order} LIMIT ? OFFSET ?"
    )
    values = chain(tables.values, *(part.values for part in where))
    return [row[0] for row in tx.execute(sql, (*values, search.limit, search.offset))]


def _start(tx: Transaction, clauses: Sequence[Comparison]) -> Comparison | None:
    """Return the clause that fits the fewest traces, or None if all that can begin fit many."""
    fewest, found = FEW, None
    for clause in clauses:
        if clause.entity in _TABLES and clause.operator == "=":
            fits = _fitting(tx, clause)
            query = f"SELECT count(*) FROM ({fits.sql} LIMIT {fewest}) AS counted"
            count = int(tx.execute(query, fits.values).scalar())
            if count < fewest:
                fewest, found = count, clause
    return found


def _fitting(tx: Transaction, clause: Comparison) -> Condition:
    """Return the query of the numbers of all traces that fit an equality, each of them once."""
    fits = _fits(clause, tx.connection.dialect.name)
    sql = f"SELECT d.trace FROM {_TABLES[clause.entity]} d WHERE {fits.sql}"
    if not _is_of_run(clause):
        return Condition(sql=sql, values=fits.values)
    linked = (
        "SELECT t.number FROM tracking_trace_links l "
        "JOIN tracking_traces t ON t.project = l.project AND t.id = l.trace "
        "WHERE l.project = ? AND l.run = ?"
    )
    return Condition(sql=f"{sql} UNION {linked}", values=(*fits.values, tx.project, clause.value))


def _clause(clause: Comparison, dialect: str) -> Condition:
    """Return a clause as a condition on a trace ``t``."""
    if clause.entity is Entity.ATTRIBUTE:
        return _attribute(clause, dialect)
    if clause.operator in ("IS NULL", "IS NOT NULL"):
        fits = Condition(sql="d.key = ?", values=(clause.key,))
    else:
        fits = _fits(clause, dialect)
    table = _TABLES[clause.entity]
    sql = f"EXISTS (SELECT 1 FROM {table} d WHERE d.trace = t.number AND {fits.sql})"
    if clause.operator == "IS NULL":
        return Condition(sql=f"NOT {sql}", values=fits.values)
    if not _is_of_run(clause):
        return Condition(sql=sql, values=fits.values)
    linked = (
        "EXISTS (SELECT 1 FROM tracking_trace_links l "
        "WHERE l.project = t.project AND l.trace = t.id AND l.run = ?)"
    )
    return Condition(sql=f"({sql} OR {linked})", values=(*fits.values, clause.value))


def _is_of_run(clause: Comparison) -> bool:
    """Return whether a clause asks for the traces of a run: those linked to it are as well."""
    return (clause.entity, clause.key, clause.operator) == (Entity.METADATA, SOURCE_RUN, "=")


def _attribute(clause: Comparison, dialect: str) -> Condition:
    if clause.key in _TIMES and isinstance(clause.value, int | float):
        microseconds = int(max(min(clause.value * 1000, LATEST_US), -LATEST_US))
        clause = replace(clause, value=microseconds)
    return condition(_ATTRIBUTES[clause.key], clause, dialect)


def _fits(clause: Comparison, dialect: str) -> Condition:
    """Return the condition that a row ``d`` of metadata or tags fits."""
    fits = condition("d.value", clause, dialect, indexed=True)
    return Condition(sql=f"d.key = ? AND {fits.sql}", values=(clause.key, *fits.values))


def _ordered(orders: Sequence[Order]) -> tuple[Condition, str]:
    """Return the tables that an order needs, and the order.

    What has no value comes last. Traces that are equal in all this come by start, the latest
    first, and then by id.
    """
    tables, parts = ["tracking_traces t"], []
    keys: list[str] = []
    for number, order in enumerate(orders):
        direction = "ASC" if order.ascending else "DESC"
        if order.entity is Entity.ATTRIBUTE:
            parts.append(_by_attribute(order.key, direction))
            continue
        alias = f"o{number}"
        tables.append(
            f"LEFT JOIN {_TABLES[order.entity]} {alias} "
            f"ON {alias}.trace = t.number AND {alias}.key = ?"
        )
        keys.append(order.key)
        parts.append(f"{alias}.value IS NULL, {alias}.value {direction}")
    return (
        Condition(sql=" ".join(tables), values=tuple(keys)),
        ", ".join([*parts, "t.started_at DESC", "t.id"]),
    )


def _by_attribute(key: str, direction: str) -> str:
    column = _ATTRIBUTES[key]
    if key == "experiment_id":
        # Ids are numbers written as text: the longer one is the greater.
        return f"length({column}) {direction}, {column} {direction}"
    if key == "execution_time_ms":
        return f"{column} IS NULL, {column} {direction}"
    return f"{column} {direction}"
