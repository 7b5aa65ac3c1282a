"""One clause of a search as a condition of SQL, the same on every database.

Only fixed texts become part of a statement; what a caller wrote is bound as a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from everfit.errors import Invalid
from everfit.tracking.filters import Comparison

# Indexes hold so many characters of a text.
INDEXED = 200
ORDERED = frozenset({"=", "!=", "<", "<=", ">", ">="})


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
        return _like(column, operator, str(value), dialect)
    if operator not in ORDERED:
        raise Invalid(
            f"{operator!r} is no comparison of a search", hint="Use =, !=, <, <=, >, >= or LIKE."
        )
    if indexed and operator == "=" and isinstance(value, str):
        start = f"substr({column}, 1, {INDEXED}) = ? AND {column} = ?"
        return Condition(sql=start, values=(value[:INDEXED], value))
    return Condition(sql=f"{column} {operator} ?", values=(value,))


def _like(column: str, operator: str, pattern: str, dialect: str) -> Condition:
    """Return a match of a pattern in which ``%`` is any text and ``_`` any character.

    SQLite's LIKE takes a letter for the other case's, and its GLOB does not.
    """
    if dialect == "postgresql":
        return Condition(sql=f"{column} {operator} ? ESCAPE ''", values=(pattern,))
    if operator == "ILIKE":
        return Condition(sql=f"{column} LIKE ?", values=(pattern,))
    return Condition(sql=f"{column} GLOB ?", values=(_glob(pattern),))


def _glob(pattern: str) -> str:
    """Return a LIKE pattern as GLOB writes it.

    Examples
    --------
    >>> _glob("a%b_c*[d]")
    'a*b?c[*][[]d]'
    """
    written = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(written.get(letter, letter) for letter in pattern)
