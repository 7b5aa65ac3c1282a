"""Rows of the registry: the only module of this room that speaks SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from everfit.errors import NotFound
from everfit.kernel import Transaction, insert_if_absent, locked_rows
from everfit.registry.model import ModelVersion, Signature
from everfit.registry.tables import aliases, models, trusted, versions


def hold_model(tx: Transaction, model: str) -> int:
    """Lock the model until the transaction ends, and return its last version number.

    A model without versions is made here; the caller gives it one in the same transaction.
    """
    row = {"project": tx.project, "model": model, "last_number": 0}
    tx.connection.execute(insert_if_absent(tx.connection, models), row)
    query = sa.select(models.c.last_number).where(*_of(tx, models, model))
    return int(tx.connection.execute(locked_rows(tx.connection, query)).scalar_one())


def insert_version(tx: Transaction, version: ModelVersion) -> None:
    """Add a version, whose model is held, and count it."""
    row = {name: value for name, value in asdict(version).items() if name != "signature"}
    row |= {
        "project": tx.project,
        "signature": version.signature.to_builtins(),
        "metrics": _encode(version.metrics),
    }
    tx.connection.execute(sa.insert(versions).values(row))
    counted = sa.update(models).where(*_of(tx, models, version.model))
    tx.connection.execute(counted.values(last_number=version.number))


def get_version(tx: Transaction, model: str, number: int) -> ModelVersion:
    """Return one version.

    Raises
    ------
    NotFound
        If there is none.
    """
    query = sa.select(versions).where(*_of(tx, versions, model), versions.c.number == number)
    row = tx.connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(
            f"no version {number} of model {model!r} in project {tx.project!r}",
            hint="`everfit status` names the version that answers; `everfit run` trains one.",
            model=model,
            number=number,
        )
    return _version(row)


def version_of_run(tx: Transaction, model: str, run: str) -> ModelVersion | None:
    """Return the version of ``model`` that ``run`` made, if it made one."""
    query = sa.select(versions).where(*_of(tx, versions, model), versions.c.run == run)
    row = tx.connection.execute(query).mappings().one_or_none()
    return None if row is None else _version(row)


def list_versions(tx: Transaction, model: str) -> list[ModelVersion]:
    """Return the versions of ``model`` by number."""
    query = sa.select(versions).where(*_of(tx, versions, model)).order_by(versions.c.number)
    return [_version(row) for row in tx.connection.execute(query).mappings()]


def list_models(tx: Transaction) -> list[str]:
    """Return the names of the models."""
    query = sa.select(models.c.model).where(models.c.project == tx.project)
    return list(tx.connection.execute(query.order_by(models.c.model)).scalars())


def get_aliases(tx: Transaction, model: str) -> dict[str, int]:
    """Return the version number of each alias."""
    query = sa.select(aliases.c.alias, aliases.c.number).where(*_of(tx, aliases, model))
    return {row.alias: row.number for row in tx.connection.execute(query.order_by(aliases.c.alias))}


def put_alias(tx: Transaction, model: str, alias: str, number: int | None) -> None:
    """Point an alias of a held model at ``number``, or at nothing."""
    here = (*_of(tx, aliases, model), aliases.c.alias == alias)
    tx.connection.execute(sa.delete(aliases).where(*here))
    if number is not None:
        row = {"project": tx.project, "model": model, "alias": alias, "number": number}
        tx.connection.execute(sa.insert(aliases).values(row))


def insert_trust(tx: Transaction, digest: str, by: str, reason: str) -> bool:
    """Trust ``digest`` and return True, or return False where it is trusted already."""
    row = {"project": tx.project, "digest": digest, "trusted_by": by, "reason": reason}
    statement = insert_if_absent(tx.connection, trusted).returning(trusted.c.digest)
    return tx.connection.execute(statement, {**row, "at": tx.now}).one_or_none() is not None


def is_trusted(tx: Transaction, digest: str) -> bool:
    """Return whether ``digest`` is trusted in this project."""
    here = (trusted.c.project == tx.project, trusted.c.digest == digest)
    return tx.connection.execute(sa.select(trusted.c.digest).where(*here)).first() is not None


def _of(tx: Transaction, table: sa.Table, model: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.project == tx.project, table.c.model == model


def _version(row: sa.RowMapping) -> ModelVersion:
    values: dict[str, Any] = {name: value for name, value in row.items() if name != "project"}
    values["signature"] = Signature.from_builtins(values["signature"])
    values["metrics"] = {name: float(value) for name, value in values["metrics"].items()}
    return ModelVersion(**values)


def _encode(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Return the metrics as JSON can hold them: what is not finite as a text ``float`` reads."""
    return {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
