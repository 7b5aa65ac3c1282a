"""What a search asks for: comparisons joined by AND, and an order. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Entity(StrEnum):
    """What a comparison looks at."""

    ATTRIBUTE = "attribute"
    METRIC = "metric"
    PARAM = "param"
    TAG = "tag"
    DATASET = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One clause of a filter."""

    entity: Entity
    key: str
    operator: str
    value: str | float | tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One key to order by."""

    entity: Entity
    key: str
    ascending: bool
