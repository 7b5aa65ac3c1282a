"""Rows of models: the model that a writer holds, its tags, its aliases, and numbers once given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from everfit.kernel import Transaction, insert_if_absent, locked_rows
from everfit.registry.model import RegisteredModel
from everfit.registry.store import versions as version_rows
from everfit.registry.tables import aliases, model_tags, models, retired, version_tags, versions

NAMED = (versions, version_tags, model_tags, aliases)


def hold(tx: Transaction, model: str) -> int | None:
    """Lock the model until the transaction ends, and return its last version number.

    Returns None where there is no such model.
    """
    query = sa.select(models.c.last_number).where(*_of(tx, models, model))
    found = tx.connection.execute(locked_rows(tx.connection, query)).scalar_one_or_none()
    return None if found is None else int(found)


def exists(tx: Transaction, model: str) -> bool:
    """Return whether there is a model of that name."""
    query = sa.select(models.c.model).where(*_of(tx, models, model))
    return tx.connection.execute(query).first() is not None


def insert(tx: Transaction, model: RegisteredModel, *, last_number: int = 0) -> bool:
    """Add a model without tags and return True, or return False where its name is taken.

    Its versions count on from ``last_number``, or from the last one trained here under its name.
    """
    row = {
        "project": tx.project,
        "model": model.name,
        "description": model.description,
        "last_number": last_number,
        "created_at": model.created_at,
        "updated_at": model.updated_at,
    }
    statement = insert_if_absent(tx.connection, models).returning(models.c.model)
    if tx.connection.execute(statement, row).one_or_none() is None:
        return False
    # Read now, and not before: who deletes a model of this name has committed by now.
    used = _retired(tx, model.name)
    if used > last_number:
        update(tx, model.name, last_number=used)
    return True


def update(tx: Transaction, model: str, **values: Any) -> None:
    """Set columns of a held model."""
    tx.connection.execute(sa.update(models).where(*_of(tx, models, model)).values(**values))


def rename(tx: Transaction, old: str, new: RegisteredModel) -> bool:
    """Give a held model, and all that goes by its name, another one; False where it is taken."""
    last = hold(tx, old) or 0
    # A new row, so that of two who take the same name at once the database refuses one.
    if not insert(tx, new, last_number=last):
        return False
    for table in NAMED:
        moved = sa.update(table).where(*_of(tx, table, old)).values(model=new.name)
        tx.connection.execute(moved)
    tx.connection.execute(sa.delete(models).where(*_of(tx, models, old)))
    return True


def delete(tx: Transaction, model: str) -> None:
    """Remove a held model and all that goes by its name."""
    for table in (*NAMED, models):
        tx.connection.execute(sa.delete(table).where(*_of(tx, table, model)))


def retire(tx: Transaction, model: str, number: int) -> None:
    """Note that versions up to ``number`` were trained here, so that none is numbered so again."""
    last = max(number, _retired(tx, model))
    tx.connection.execute(sa.delete(retired).where(*_of(tx, retired, model)))
    row = {"project": tx.project, "model": model, "last_number": last}
    tx.connection.execute(sa.insert(retired).values(row))


def names(tx: Transaction) -> list[str]:
    """Return the names of the models."""
    query = sa.select(models.c.model).where(models.c.project == tx.project)
    return list(tx.connection.execute(query.order_by(models.c.model)).scalars())


def find(tx: Transaction, model: str) -> RegisteredModel | None:
    """Return one model, or None."""
    return next(iter(read(tx, sa.select(models).where(*_of(tx, models, model)))), None)


def read(tx: Transaction, query: sa.Select[Any]) -> list[RegisteredModel]:
    """Return the models whose rows ``query`` selects, with all that belongs to them."""
    rows = tx.connection.execute(query).mappings().all()
    found = [row["model"] for row in rows]
    tags, stands = _tags(tx, found), _aliases(tx, found)
    latest = version_rows.latest(tx, found) if found else []
    return [
        RegisteredModel(
            name=row["model"],
            description=row["description"],
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            tags=tags[row["model"]],
            aliases=stands[row["model"]],
            latest=tuple(version for version in latest if version.model == row["model"]),
        )
        for row in rows
    ]


def get_tags(tx: Transaction, model: str) -> dict[str, str]:
    """Return the tags of a model."""
    return _tags(tx, [model])[model]


def put_tags(tx: Transaction, model: str, values: dict[str, str]) -> None:
    """Add tags, of other keys than the model has, to a held model."""
    rows = [
        {"project": tx.project, "model": model, "key": key, "value": value}
        for key, value in values.items()
    ]
    if rows:
        tx.connection.execute(sa.insert(model_tags), rows)


def delete_tag(tx: Transaction, model: str, key: str) -> None:
    """Remove a tag of a held model, if it has it."""
    here = (*_of(tx, model_tags, model), model_tags.c.key == key)
    tx.connection.execute(sa.delete(model_tags).where(*here))


def get_aliases(tx: Transaction, model: str) -> dict[str, int]:
    """Return the version number of each alias."""
    return _aliases(tx, [model])[model]


def put_alias(tx: Transaction, model: str, alias: str, number: int | None) -> None:
    """Point an alias of a held model at ``number``, or at nothing."""
    here = (*_of(tx, aliases, model), aliases.c.alias == alias)
    tx.connection.execute(sa.delete(aliases).where(*here))
    if number is not None:
        row = {"project": tx.project, "model": model, "alias": alias, "number": number}
        tx.connection.execute(sa.insert(aliases).values(row))


def _of(tx: Transaction, table: sa.Table, model: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.project == tx.project, table.c.model == model


def _retired(tx: Transaction, model: str) -> int:
    query = sa.select(retired.c.last_number).where(*_of(tx, retired, model))
    return int(tx.connection.execute(query).scalar_one_or_none() or 0)


def _tags(tx: Transaction, found: Sequence[str]) -> dict[str, dict[str, str]]:
    return _grouped(tx, model_tags.c.key, model_tags.c.value, found)


def _aliases(tx: Transaction, found: Sequence[str]) -> dict[str, dict[str, int]]:
    return _grouped(tx, aliases.c.alias, aliases.c.number, found)


def _grouped(
    tx: Transaction, key: sa.Column[str], value: sa.Column[Any], found: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return, for each model of ``found``, the values of its rows by their keys."""
    grouped: dict[str, dict[str, Any]] = {model: {} for model in found}
    table = key.table
    here = (table.c.project == tx.project, table.c.model.in_(found))
    query = sa.select(table.c.model, key, value).where(*here).order_by(table.c.model, key)
    for model, name, held in tx.connection.execute(query):
        grouped[model][name] = held
    return grouped
