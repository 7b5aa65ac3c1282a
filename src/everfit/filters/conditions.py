"""Clauses of searches and lists of keys as SQL writes them, the same on every database.

Only fixed texts become part of a statement; what a caller wrote is bound as a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from everfit.errors import Invalid
from everfit.filters.model import Comparison
from everfit.kernel import matches

# Indexes hold so many characters of a text.
INDEXED = 200
# More microseconds than any time has, and fewer than a column takes.
LATEST = 2.0**62
CHUNK = 5_000
ORDERED = frozenset({"=", "!=", "<", "<=", ">", ">="})
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A piece of a statement with the values of its question marks."""

    sql: str
    values: tuple[Any, ...] = ()


def condition(column: str, clause: Comparison, dialect: str, *, indexed: bool = False) -> Condition:
    """Return ``clause`` as a condition on ``column``, a fixed name such as ``r.name``.

    ``indexed`` says that the column is indexed by its first characters.
    """
    operator, value = clause.operator, clause.value
    if operator in ("IS NULL", "IS NOT NULL"):
        return Condition(sql=f"{column} {operator}")
    if operator in ("IN", "NOT IN"):
        many = value if isinstance(value, tuple) else (value,)
        return Condition(sql=f"{column} {operator} ({', '.join('?' * len(many))})", values=many)
    if operator in ("LIKE", "ILIKE"):
        sql, pattern = matches(dialect, column, operator, str(value))
        return Condition(sql=sql, values=(pattern,))
    if operator not in ORDERED:
        raise Invalid(
            f"{operator!r} is no comparison of a search", hint="Use =, !=, <, <=, >, >= or LIKE."
        )
    if indexed and operator == "=" and isinstance(value, str):
        return _equal_by_index(column, value)
    return Condition(sql=f"{column} {operator} ?", values=(value,))


def _equal_by_index(column: str, value: str) -> Condition:
    """Return the equality of a column with a value, by the index of its first characters.

    SQLite writes a value into every place of a column that equals it, and then no longer sees
    the index: so the column itself is compared only where it must be, and not by its bare name.
    """
    start = f"substr({column}, 1, {INDEXED}) = ?"
    if len(value) < INDEXED:
        return Condition(sql=start, values=(value,))
    return Condition(sql=f"{start} AND {column} || '' = ?", values=(value[:INDEXED], value))


def within_times(milliseconds: str | float) -> float:
    """Return the time of a clause; one beyond all times is cut to what databases compare with.

    Clients see and send milliseconds where microseconds are stored: a column is divided.

    Examples
    --------
    >>> within_times(1.5), within_times(float("inf")) == within_times(2**63)
    (1.5, True)
    """
    number = milliseconds if isinstance(milliseconds, int) else float(milliseconds)
    return max(-LATEST, min(LATEST, number))


def listed(numbers: Sequence[int]) -> str:
    """Return whole numbers as a statement lists them: no text of a caller can be among them."""
    return ", ".join(map(str, map(int, numbers)))


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield ``values`` in parts that fit into one statement."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
