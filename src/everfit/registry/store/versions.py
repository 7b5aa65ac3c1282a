"""Rows of versions and of their tags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from everfit.kernel import Transaction
from everfit.packages import Signature
from everfit.registry.model import ModelVersion, Origin, Stage
from everfit.registry.tables import models, version_tags, versions

LARGEST = 2**63 - 1
Key = tuple[str, int]


def insert(tx: Transaction, version: ModelVersion) -> None:
    """Add a version, whose model is held, and count it."""
    row = {field.name: getattr(version, field.name) for field in fields(version)}
    tags = row.pop("tags")
    row |= {
        "project": tx.project,
        "signature": version.signature.to_builtins() if version.signature else None,
        "metrics": _encode(version.metrics),
    }
    tx.connection.execute(sa.insert(versions), row)
    put_tags(tx, version, tags)
    counted = sa.update(models).where(*_of(tx, models, version.model))
    tx.connection.execute(counted.values(last_number=version.number, updated_at=version.created_at))


def find(tx: Transaction, model: str, number: int) -> ModelVersion | None:
    """Return one version, or None."""
    if not 0 < number <= LARGEST:
        return None
    return _first(tx, _selected(tx, model).where(versions.c.number == number))


def of_run(tx: Transaction, model: str, run: str) -> ModelVersion | None:
    """Return the version of ``model`` that the training ``run`` made, if it made one."""
    own = (versions.c.run == run, versions.c.origin == Origin.OWN)
    return _first(tx, _selected(tx, model).where(*own))


def of_model(tx: Transaction, model: str) -> list[ModelVersion]:
    """Return the versions of ``model`` by number."""
    return read(tx, _selected(tx, model).order_by(versions.c.number))


def newest(tx: Transaction, model: str) -> ModelVersion | None:
    """Return the version of ``model`` with the highest number, or None where it has none."""
    return _first(tx, _selected(tx, model).order_by(versions.c.number.desc()).limit(1))


def newest_signature(tx: Transaction, model: str) -> Signature | None:
    """Return the signature of the newest version that has one, or None where none has."""
    query = sa.select(versions.c.signature).where(
        *_of(tx, versions, model), versions.c.signature.is_not(None)
    )
    newest = query.order_by(versions.c.number.desc()).limit(1)
    found = tx.connection.execute(newest).scalar_one_or_none()
    return None if found is None else Signature.from_builtins(found)


def has_own(tx: Transaction, model: str) -> bool:
    """Return whether a training here made a version of ``model``."""
    query = _selected(tx, model).where(versions.c.origin == Origin.OWN)
    return tx.connection.execute(query.limit(1)).first() is not None


def latest(tx: Transaction, names: Sequence[str]) -> list[ModelVersion]:
    """Return the newest version of each stage of some models, in the order the stages came up."""
    numbers = (
        sa.select(
            versions.c.model,
            sa.func.max(versions.c.number).label("number"),
            sa.func.min(versions.c.number).label("first"),
        )
        .where(versions.c.project == tx.project, versions.c.model.in_(names))
        .group_by(versions.c.model, versions.c.stage)
        .subquery()
    )
    query = sa.select(versions).select_from(_beside(tx, numbers, versions))
    return read(tx, query.order_by(numbers.c.first))


def of_stage(tx: Transaction, model: str, stage: Stage) -> list[int]:
    """Return the numbers of the versions of ``model`` that are in ``stage``."""
    query = sa.select(versions.c.number).where(*_of(tx, versions, model), versions.c.stage == stage)
    return list(tx.connection.execute(query.order_by(versions.c.number)).scalars())


def update(tx: Transaction, model: str, numbers: Sequence[int], **values: Any) -> None:
    """Set columns of some versions of a held model."""
    if numbers:
        here = (*_of(tx, versions, model), versions.c.number.in_(numbers))
        tx.connection.execute(sa.update(versions).where(*here).values(**values))


def update_all(tx: Transaction, model: str, **values: Any) -> None:
    """Set columns of all versions of a held model."""
    tx.connection.execute(sa.update(versions).where(*_of(tx, versions, model)).values(**values))


def delete(tx: Transaction, model: str, number: int) -> None:
    """Remove a version of a held model and its tags."""
    for table in (version_tags, versions):
        here = (*_of(tx, table, model), table.c.number == number)
        tx.connection.execute(sa.delete(table).where(*here))


def put_tags(tx: Transaction, version: ModelVersion, values: Mapping[str, str]) -> None:
    """Add tags, of other keys than the version has."""
    owner = {"project": tx.project, "model": version.model, "number": version.number}
    rows = [{**owner, "key": key, "value": value} for key, value in values.items()]
    if rows:
        tx.connection.execute(sa.insert(version_tags), rows)


def delete_tag(tx: Transaction, version: ModelVersion, key: str) -> None:
    """Remove a tag of a version, if it has it."""
    here = (version_tags.c.number == version.number, version_tags.c.key == key)
    statement = sa.delete(version_tags).where(*_of(tx, version_tags, version.model), *here)
    tx.connection.execute(statement)


def read(tx: Transaction, query: sa.Select[Any]) -> list[ModelVersion]:
    """Return the versions whose rows ``query`` selects, with their tags."""
    rows = tx.connection.execute(query).mappings().all()
    tags: dict[Key, dict[str, str]] = {(row["model"], row["number"]): {} for row in rows}
    # The query once more, and not its answer: a page may have more rows than a statement values.
    page = query.with_only_columns(versions.c.model, versions.c.number).subquery()
    held = sa.select(
        page.c.model, page.c.number, version_tags.c.key, version_tags.c.value
    ).select_from(_beside(tx, page, version_tags))
    for model, number, key, value in tx.connection.execute(held) if rows else ():
        # A version that came in between the two is of no page yet.
        if key is not None and (model, number) in tags:
            tags[model, number][key] = value
    return [_version(row, tags[row["model"], row["number"]]) for row in rows]


def _beside(tx: Transaction, few: sa.Subquery, table: sa.Table) -> sa.Join:
    """Return the rows of ``table`` for the few versions that ``few`` names.

    An outer join, so that SQLite begins with the few: without statistics it takes the rows of
    one project for a small part of a table, and would begin with them all.
    """
    same = (table.c.model == few.c.model, table.c.number == few.c.number)
    return few.outerjoin(table, sa.and_(table.c.project == tx.project, *same))


def _first(tx: Transaction, query: sa.Select[Any]) -> ModelVersion | None:
    return next(iter(read(tx, query)), None)


def _selected(tx: Transaction, model: str) -> sa.Select[Any]:
    return sa.select(versions).where(*_of(tx, versions, model))


def _of(tx: Transaction, table: sa.Table, model: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.project == tx.project, table.c.model == model


def _version(row: sa.RowMapping, tags: Mapping[str, str]) -> ModelVersion:
    values: dict[str, Any] = {name: value for name, value in row.items() if name != "project"}
    signature = values["signature"]
    values |= {
        "origin": Origin(values["origin"]),
        "stage": Stage(values["stage"]),
        "signature": None if signature is None else Signature.from_builtins(signature),
        "metrics": {name: float(value) for name, value in values["metrics"].items()},
    }
    return ModelVersion(**values, tags=dict(sorted(tags.items())))


def _encode(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Return the metrics as JSON can hold them: what is not finite as a text ``float`` reads."""
    return {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
