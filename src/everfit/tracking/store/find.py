"""Which experiments a search finds, and in which order."""

from __future__ import annotations

from typing import Any

from everfit.filters import Comparison, Condition, Entity, Order, condition, within_times
from everfit.kernel import Transaction
from everfit.tracking.model import ExperimentSearch

_ATTRIBUTES = {
    "name": "e.name",
    "experiment_id": "e.id",
    "creation_time": "e.created_at",
    "last_update_time": "e.updated_at",
    "lifecycle_stage": "e.stage",
}
_TIMES = ("creation_time", "last_update_time")


def find_experiments(tx: Transaction, search: ExperimentSearch) -> list[str]:
    """Return the ids of the experiments found, in order: the newest first if none is given."""
    if not search.stages:
        return []
    dialect = tx.connection.dialect.name
    stages = tuple(map(str, search.stages))
    where = [
        Condition(sql="e.project = ?", values=(tx.project,)),
        Condition(sql=f"e.stage IN ({', '.join('?' * len(stages))})", values=stages),
        *(_clause(clause, dialect) for clause in search.clauses),
    ]
    order = [_order(order) for order in search.orders] or ["e.created_at DESC"]
    # Ids are numbers written as text: the longer one is the greater.
    sql = (
        f"SELECT e.id FROM tracking_experiments e WHERE {' AND '.join(w.sql for w in where)} "
        f"ORDER BY {', '.join([*order, 'length(e.id) DESC', 'e.id DESC'])} LIMIT ? OFFSET ?"
    )
    values = [value for part in where for value in part.values]
    return [row[0] for row in tx.execute(sql, (*values, search.limit, search.offset))]


def _clause(clause: Comparison, dialect: str) -> Condition:
    if clause.entity is Entity.ATTRIBUTE:
        value: Any = clause.value
        if clause.key in _TIMES and value is not None:
            value = within_times(value)
        meant = Comparison(
            entity=clause.entity, key=clause.key, operator=clause.operator, value=value
        )
        column = _ATTRIBUTES[clause.key]
        return condition(f"({column} / 1000)" if clause.key in _TIMES else column, meant, dialect)
    no, fits = "", condition("t.value", clause, dialect)
    if clause.operator in ("IS NULL", "IS NOT NULL"):
        no, fits = "NOT " if clause.operator == "IS NULL" else "", Condition(sql="true")
    sql = (
        f"{no}EXISTS (SELECT 1 FROM tracking_experiment_tags t WHERE t.project = e.project "
        f"AND t.experiment = e.id AND t.key = ? AND {fits.sql})"
    )
    return Condition(sql=sql, values=(clause.key, *fits.values))


def _order(order: Order) -> str:
    direction = "ASC" if order.ascending else "DESC"
    if order.key == "experiment_id":
        return f"length(e.id) {direction}, e.id {direction}"
    return f"{_ATTRIBUTES[order.key]} {direction}"
