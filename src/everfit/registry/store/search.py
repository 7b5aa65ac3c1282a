"""Searches as SQL: what MLflow's filters and orders mean over models and versions."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from everfit.errors import Invalid
from everfit.filters import Comparison, Entity, Order
from everfit.kernel import Transaction, bytewise, ilike, like
from everfit.registry.store.versions import LARGEST
from everfit.registry.tables import model_tags, models, version_tags, versions

# MLflow keeps prompts among the models, marked by this tag; a search leaves them out unless it
# asks for them.
PROMPT = "mlflow.prompt.is_prompt"
_NUMBERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_PATTERNS = {"LIKE": like, "ILIKE": ilike}


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """One kind of thing to search: its rows, its tags, and the columns that keys stand for.

    ``order`` is what a search without one is ordered by, ``ties`` what ends every order, so that
    pages neither overlap nor leave a gap.
    """

    table: sa.Table
    tags: sa.Table
    identity: tuple[str, ...]
    keys: Mapping[str, sa.Column[Any]]
    orders: Mapping[str, sa.Column[Any]]
    order: tuple[tuple[str, bool], ...]
    ties: tuple[tuple[str, bool], ...]


MODELS = Searched(
    table=models,
    tags=model_tags,
    identity=("model",),
    keys={"name": models.c.model},
    orders={
        "name": models.c.model,
        "timestamp": models.c.updated_at,
        "last_updated_timestamp": models.c.updated_at,
        "creation_timestamp": models.c.created_at,
    },
    order=(),
    ties=(("name", True),),
)
VERSIONS = Searched(
    table=versions,
    tags=version_tags,
    identity=("model", "number"),
    keys={
        "name": versions.c.model,
        "version_number": versions.c.number,
        "run_id": versions.c.run,
        "source_path": versions.c.source,
        "current_stage": versions.c.stage,
    },
    orders={
        "name": versions.c.model,
        "version_number": versions.c.number,
        "last_updated_timestamp": versions.c.updated_at,
        "creation_timestamp": versions.c.created_at,
    },
    order=(("last_updated_timestamp", False),),
    ties=(("name", True), ("version_number", False)),
)


def select(
    tx: Transaction, kind: Searched, where: Sequence[Comparison], order: Sequence[Order]
) -> sa.Select[Any]:
    """Return the query of the rows for which every comparison holds, in order.

    Raises
    ------
    Invalid
        If a comparison or an order is none that this kind of thing knows.
    """
    query = sa.select(kind.table).where(kind.table.c.project == tx.project)
    if not _asks_for_prompts(where):
        where = [clause for clause in where if not _is_about_prompts(clause)]
        prompts = _tagged(tx, kind, PROMPT).where(kind.tags.c.value == "true")
        query = query.where(kind.table.c.model.not_in(prompts.with_only_columns(kind.tags.c.model)))
    conditions = [_condition(tx, kind, clause) for clause in where]
    return query.where(*conditions).order_by(*_ordering(tx, kind, order, filtered=bool(conditions)))


def _asks_for_prompts(where: Sequence[Comparison]) -> bool:
    """Return whether the first comparison about prompts asks for them, as MLflow decides it."""
    clause = next(filter(_is_about_prompts, where), None)
    if clause is None:
        return False
    return (clause.operator, str(clause.value).lower()) in (("=", "true"), ("!=", "false"))


def _is_about_prompts(clause: Comparison) -> bool:
    return clause.entity is Entity.TAG and clause.key == PROMPT


def _condition(tx: Transaction, kind: Searched, clause: Comparison) -> sa.ColumnElement[bool]:
    if clause.entity is Entity.TAG:
        # A thing without the tag fits no comparison of it, not even !=.
        tagged = _tagged(tx, kind, clause.key).where(_compared(tx, kind.tags.c.value, clause))
        return sa.tuple_(*kind.table.c[kind.identity]).in_(tagged)
    column = kind.keys.get(clause.key) if clause.entity is Entity.ATTRIBUTE else None
    if column is None:
        raise _unknown(f"the {clause.entity} {clause.key!r}", [*kind.keys, "tags.<key>"])
    return _compared(tx, column, clause)


def _tagged(tx: Transaction, kind: Searched, key: str) -> sa.Select[Any]:
    here = (kind.tags.c.project == tx.project, kind.tags.c.key == key)
    return sa.select(*kind.tags.c[kind.identity]).where(*here)


def _compared(
    tx: Transaction, column: sa.Column[Any], clause: Comparison
) -> sa.ColumnElement[bool]:
    if isinstance(column.type, sa.BigInteger):
        if clause.operator not in _NUMBERS:
            raise _unknown(f"{clause.key} {clause.operator}", list(_NUMBERS))
        matched: sa.ColumnElement[bool] = _NUMBERS[clause.operator](column, _whole(clause))
        return matched
    # MLflow keeps no run as an empty text: a version without one is not of run X.
    text = column if clause.operator in ("=", "IN") else sa.func.coalesce(column, "")
    if clause.operator in ("IN", "NOT IN"):
        listed = text.in_(_texts(clause))
        return listed if clause.operator == "IN" else sa.not_(listed)
    (value,) = _texts(clause)
    if clause.operator in _PATTERNS:
        return _PATTERNS[clause.operator](tx.connection, text, value)
    if clause.operator not in ("=", "!="):
        raise _unknown(f"{clause.key} {clause.operator}", ["=", "!=", *_PATTERNS, "IN", "NOT IN"])
    return text == value if clause.operator == "=" else text != value


def _texts(clause: Comparison) -> tuple[str, ...]:
    """Return the texts to compare with: one, or those of a list."""
    is_list = isinstance(clause.value, tuple)
    values = clause.value if isinstance(clause.value, tuple) else (clause.value,)
    texts = tuple(value for value in values if isinstance(value, str) and "\0" not in value)
    if len(texts) < len(values) or is_list != clause.operator.endswith("IN"):
        wanted = "a list of texts" if clause.operator.endswith("IN") else "a text"
        raise Invalid(
            f"{clause.key} {clause.operator} {clause.value!r} compares with no text",
            hint=f"Give {wanted} in quotes.",
        )
    return texts


def _whole(clause: Comparison) -> int:
    """Return the number to compare with, cut to what the database can hold."""
    value = clause.value
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,30}", value, re.ASCII):
        value = int(value)
    if not isinstance(value, int | float) or not float(value).is_integer():
        raise Invalid(
            f"{clause.key} {clause.operator} {value!r} compares with no whole number",
            hint="Give a whole number.",
        )
    return max(-LARGEST, min(LARGEST, int(value)))


def _ordering(
    tx: Transaction, kind: Searched, order: Sequence[Order], *, filtered: bool
) -> Iterator[sa.ColumnElement[Any]]:
    asked = list(_asked(kind, order)) or list(kind.order)
    named = {kind.orders[key] for key, _ in asked}
    # Told what to look for, SQLite must not walk all versions to spare itself a short sort.
    for key, ascending in (*asked, *(tie for tie in kind.ties if kind.orders[tie[0]] not in named)):
        column: sa.ColumnElement[Any] = kind.orders[key]
        if isinstance(column.type, sa.Text):
            column = bytewise(tx.connection, column)
        elif filtered:
            column = sa.type_coerce(column, sa.BigInteger).op("+")(sa.literal_column("0"))
        yield column.asc() if ascending else column.desc()


def _asked(kind: Searched, order: Sequence[Order]) -> Iterator[tuple[str, bool]]:
    seen = set()
    for one in order:
        column = kind.orders.get(one.key) if one.entity is Entity.ATTRIBUTE else None
        if column is None:
            raise _unknown(f"the order by {one.entity} {one.key!r}", list(kind.orders))
        if column in seen:
            raise Invalid(f"the order names {one.key!r} twice", hint="Name each key once.")
        seen.add(column)
        yield one.key, one.ascending


def _unknown(what: str, known: Sequence[str]) -> Invalid:
    return Invalid(f"a search does not know {what}", hint=f"Use {', '.join(known)}.")
