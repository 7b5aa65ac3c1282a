"""Which logged models a search finds, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from everfit.filters import Comparison, Condition, Entity, Value, condition, within_times
from everfit.kernel import Transaction
from everfit.tracking.model import DatasetChoice, ModelOrder, ModelSearch, ModelStatus, Stage
from everfit.tracking.store.models import PARAMS, TAGS

_ATTRIBUTES = {
    "name": "m.name",
    "model_id": "m.id",
    "model_type": "m.type",
    "status": "m.status",
    "source_run_id": "m.source_run",
    "experiment_id": "m.experiment",
    # No call sets a message; a column of nothing fits no clause.
    "status_message": "CAST(NULL AS TEXT)",
    "artifact_location": (
        "((SELECT coalesce(rtrim(e.location, '/'), 'mlflow-artifacts:/' || e.id) "
        "FROM tracking_experiments e WHERE e.project = m.project AND e.id = m.experiment) "
        "|| '/models/' || m.id || '/artifacts')"
    ),
    "creation_timestamp": "m.created_at",
    "last_updated_timestamp": "m.updated_at",
}
_ORDERED = {key: (column,) for key, column in _ATTRIBUTES.items()} | {
    "status": (
        "CASE m.status WHEN 'failed' THEN 3 WHEN 'ready' THEN 2 WHEN 'pending' THEN 1 ELSE 0 END",
    ),
    # Ids are numbers written as text: the longer one is the greater.
    "experiment_id": ("length(m.experiment)", "m.experiment"),
}
_TIMES = ("creation_timestamp", "last_updated_timestamp")
_TEXTS = {Entity.PARAM: PARAMS, Entity.TAG: TAGS}
# MLflow's clients write a status as a word, as its long name, or as the number that it stores.
_STATUSES = {
    spelled: status
    for number, status in enumerate(ModelStatus)
    for spelled in (str(number), status.upper(), f"LOGGED_MODEL_{status.upper()}")
} | {"LOGGED_MODEL_UPLOAD_FAILED": ModelStatus.FAILED}


def find_models(tx: Transaction, search: ModelSearch) -> list[int]:
    """Return the numbers of the logged models found, in order: the newest first if none is given.

    What has no value comes last, and of metrics NaN before it.
    """
    if not search.experiments:
        return []
    where = [*_scope(tx, search), *_clauses(search, tx.connection.dialect.name)]
    joins, order = _order(search.orders)
    parts = [*joins, *where]
    sql = (
        f"SELECT m.number FROM tracking_logged_models m {' '.join(join.sql for join in joins)} "
        f"WHERE {' AND '.join(part.sql for part in where)} ORDER BY {', '.join(order)} "
        "LIMIT ? OFFSET ?"
    )
    values = [value for part in parts for value in part.values]
    return [row[0] for row in tx.execute(sql, (*values, search.limit, search.offset))]


def _scope(tx: Transaction, search: ModelSearch) -> list[Condition]:
    experiments = tuple(search.experiments)
    return [
        Condition(sql="m.project = ? AND m.stage = ?", values=(tx.project, Stage.ACTIVE.value)),
        Condition(sql=f"m.experiment IN ({', '.join('?' * len(experiments))})", values=experiments),
    ]


def _clauses(search: ModelSearch, dialect: str) -> list[Condition]:
    found = [_clause(clause, search.datasets, dialect) for clause in search.clauses]
    if search.datasets and not any(c.entity is Entity.METRIC for c in search.clauses):
        on = _on(search.datasets)
        sql = (
            f"EXISTS (SELECT 1 FROM tracking_model_series s WHERE s.model = m.number AND {on.sql})"
        )
        found.append(Condition(sql=sql, values=on.values))
    return found


def _clause(clause: Comparison, datasets: Sequence[DatasetChoice], dialect: str) -> Condition:
    if clause.entity is Entity.METRIC:
        return _measured(clause, datasets, dialect)
    if clause.entity in _TEXTS:
        fits = condition("d.value", clause, dialect)
        sql = (
            f"EXISTS (SELECT 1 FROM {_TEXTS[clause.entity]} d "
            f"WHERE d.model = m.number AND d.key = ? AND {fits.sql})"
        )
        return Condition(sql=sql, values=(clause.key, *fits.values))
    column = _ATTRIBUTES[clause.key]
    column = f"({column} / 1000)" if clause.key in _TIMES else column
    return condition(column, replace(clause, value=_stored(clause)), dialect)


def _stored(clause: Comparison) -> Value:
    """Return the value of a clause on an attribute as the column has it."""
    value = clause.value
    if clause.key in _TIMES and value is not None and not isinstance(value, tuple):
        return within_times(value)
    if clause.key == "status" and isinstance(value, tuple):
        return tuple(_STATUSES.get(text.upper(), text) for text in value)
    if clause.key == "status" and isinstance(value, str):
        return _STATUSES.get(value.upper(), value.lower())
    return value


def _measured(clause: Comparison, datasets: Sequence[DatasetChoice], dialect: str) -> Condition:
    """Return the condition that some point of a metric fits, on one of the datasets if given."""
    fits, on = condition("p.value", clause, dialect), _on(datasets)
    sql = (
        "EXISTS (SELECT 1 FROM tracking_model_series s "
        "JOIN tracking_model_points p ON p.series = s.number "
        f"WHERE s.model = m.number AND s.key = ? AND p.missing = 0 AND {fits.sql} AND {on.sql})"
    )
    return Condition(sql=sql, values=(clause.key, *fits.values, *on.values))


def _on(datasets: Sequence[DatasetChoice]) -> Condition:
    """Return the condition that a series ``s`` is of one of the datasets; true without any."""
    if not datasets:
        return Condition(sql="true")
    parts = [
        Condition(sql="s.dataset = ?", values=(one.name,))
        if one.digest is None
        else Condition(sql="s.dataset = ? AND s.digest = ?", values=(one.name, one.digest))
        for one in datasets
    ]
    sql = " OR ".join(f"({part.sql})" for part in parts)
    return Condition(sql=f"({sql})", values=tuple(v for part in parts for v in part.values))


def _order(orders: Sequence[ModelOrder]) -> tuple[list[Condition], list[str]]:
    """Return the joins that an order needs, and its columns."""
    joins: list[Condition] = []
    columns: list[str] = []
    for place, wanted in enumerate(orders):
        direction = "ASC" if wanted.order.ascending else "DESC"
        if wanted.order.entity is Entity.METRIC:
            alias = f"o{place}"
            joins.append(_latest(wanted, alias))
            columns.append(
                f"CASE WHEN {alias}.value IS NOT NULL THEN 0 "
                f"WHEN {alias}.number IS NOT NULL THEN 1 ELSE 2 END, {alias}.value {direction}"
            )
        else:
            columns += [f"{column} {direction}" for column in _ORDERED[wanted.order.key]]
    keys = {wanted.order.key for wanted in orders if wanted.order.entity is Entity.ATTRIBUTE}
    if "creation_timestamp" not in keys:
        columns.append("m.created_at DESC")
    return joins, columns if "model_id" in keys else [*columns, "m.id"]


def _latest(wanted: ModelOrder, alias: str) -> Condition:
    """Return the join with the latest value of a metric, on the dataset of the order if given."""
    on = _on([wanted.dataset] if wanted.dataset else [])
    sql = (
        f"LEFT JOIN tracking_model_series {alias} ON {alias}.number = "
        "(SELECT s.number FROM tracking_model_series s "
        f"WHERE s.model = m.number AND s.key = ? AND {on.sql} "
        "ORDER BY s.at DESC, s.step DESC, s.run, s.dataset, s.digest LIMIT 1)"
    )
    return Condition(sql=sql, values=(wanted.order.key, *on.values))
