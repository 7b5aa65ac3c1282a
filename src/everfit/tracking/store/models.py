"""Rows of logged models, with their parameters and tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from everfit.filters import chunks, listed
from everfit.kernel import Transaction, locked_rows
from everfit.tracking.model import LoggedModel, ModelStatus, Stage
from everfit.tracking.tables import logged_models

PARAMS, TAGS = "tracking_logged_model_params", "tracking_logged_model_tags"
_COLUMNS = [logged_models.c.number, *(logged_models.c[field.name] for field in fields(LoggedModel))]
# Built once: to build a statement takes longer than to run it.
_INSERT = sa.insert(logged_models).returning(logged_models.c.number)
_BY_ID = sa.select(*_COLUMNS).where(
    logged_models.c.project == sa.bindparam("of_project"), logged_models.c.id == sa.bindparam("id")
)
_BY_NUMBER = sa.select(*_COLUMNS).where(
    logged_models.c.number.in_(sa.bindparam("numbers", expanding=True))
)


def insert_model(tx: Transaction, model: LoggedModel) -> int:
    """Add ``model`` and return its number."""
    row = {"project": tx.project, **asdict(model)}
    return int(tx.connection.execute(_INSERT, row).scalar_one())


def update_model(tx: Transaction, number: int, model: LoggedModel) -> None:
    """Write what may change of a logged model. The caller holds its row."""
    changed = {name: getattr(model, name) for name in ("status", "stage", "updated_at")}
    here = logged_models.c.number == number
    tx.connection.execute(sa.update(logged_models).where(here).values(**changed))


def find_model(
    tx: Transaction, model_id: str, *, lock: bool = False
) -> tuple[int, LoggedModel] | None:
    """Return a logged model, deleted or not, with its number; None where there is none."""
    query = locked_rows(tx.connection, _BY_ID) if lock else _BY_ID
    values = {"of_project": tx.project, "id": model_id}
    row = tx.connection.execute(query, values).mappings().one_or_none()
    return None if row is None else (row["number"], _model(row))


def model_numbers(tx: Transaction, ids: Sequence[str]) -> dict[str, int]:
    """Return the numbers of those of these logged models that are there."""
    if not ids:
        return {}
    marks = ", ".join("?" * len(ids))
    query = f"SELECT id, number FROM tracking_logged_models WHERE project = ? AND id IN ({marks})"
    return dict(tx.execute(query, (tx.project, *ids)))


def models_by_number(tx: Transaction, numbers: Sequence[int]) -> dict[int, LoggedModel]:
    """Return the logged models of these numbers."""
    found = {}
    for part in chunks(numbers):
        for row in tx.connection.execute(_BY_NUMBER, {"numbers": part}).mappings():
            found[row["number"]] = _model(row)
    return found


def put_texts(tx: Transaction, table: str, model: int, values: Mapping[str, str]) -> None:
    """Set texts in ``PARAMS`` or ``TAGS``, replacing those of the same keys."""
    rows = [(model, key, values[key]) for key in sorted(values)]
    if rows:
        tx.execute(
            f"INSERT INTO {table} (model, key, value) VALUES (?, ?, ?) "
            "ON CONFLICT (model, key) DO UPDATE SET value = excluded.value",
            rows,
        )


def texts(tx: Transaction, table: str, models: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return the texts by key of these logged models in ``PARAMS`` or ``TAGS``."""
    found: dict[int, dict[str, str]] = {model: {} for model in models}
    for part in chunks(models):
        query = f"SELECT model, key, value FROM {table} WHERE model IN ({listed(part)})"
        for model, key, value in tx.execute(f"{query} ORDER BY model, key"):
            found[model][key] = value
    return found


def delete_tag(tx: Transaction, model: int, key: str) -> bool:
    """Delete one tag; return whether there was one."""
    query = f"DELETE FROM {TAGS} WHERE model = ? AND key = ?"
    return bool(tx.execute(query, (model, key)).rowcount)


def _model(row: Any) -> LoggedModel:
    values = {name: value for name, value in row.items() if name != "number"}
    return LoggedModel(
        **{**values, "status": ModelStatus(values["status"]), "stage": Stage(values["stage"])}
    )
