"""What a filter or an order says once it is read. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Value = str | float | tuple[str, ...] | None
"""What a key is compared with."""


class Entity(StrEnum):
    """What a key belongs to. The last six are of traces alone."""

    ATTRIBUTE = "attribute"
    METRIC = "metric"
    PARAM = "param"
    TAG = "tag"
    DATASET = "dataset"
    METADATA = "metadata"
    SPAN = "span"
    SPAN_ATTRIBUTE = "span-attribute"
    FEEDBACK = "feedback"
    EXPECTATION = "expectation"
    ISSUE = "issue"


Target = tuple[Entity, str]
"""A key in its canonical form, with what it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One clause of a filter: a key and what it is compared with.

    ``operator`` is one of = != < <= > >= LIKE ILIKE RLIKE, IN, NOT IN, IS NULL, IS NOT NULL. The
    value is a tuple for IN and NOT IN and None for IS NULL and IS NOT NULL; otherwise the key
    decides whether it is a text or a number. Integers stay integers.
    """

    entity: Entity
    key: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One key that rows are ordered by."""

    entity: Entity
    key: str
    ascending: bool
