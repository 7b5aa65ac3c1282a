"""Filters and orders of searches: what each kind may say, how it is read, and clauses as SQL."""

from everfit.filters.conditions import Condition, chunks, condition, listed, within_times
from everfit.filters.grammars import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODELS,
    RUNS,
    TRACES,
    VERSIONS,
    Grammar,
)
from everfit.filters.model import Comparison, Entity, Order, Value
from everfit.filters.parse import (
    MAX_CLAUSES,
    MAX_ORDERS,
    order_field,
    parse_filter,
    parse_order,
)

__all__ = [
    "EXPERIMENTS",
    "LOGGED_MODELS",
    "MAX_CLAUSES",
    "MAX_ORDERS",
    "MODELS",
    "RUNS",
    "TRACES",
    "VERSIONS",
    "Comparison",
    "Condition",
    "Entity",
    "Grammar",
    "Order",
    "Value",
    "chunks",
    "condition",
    "listed",
    "order_field",
    "parse_filter",
    "parse_order",
    "within_times",
]
