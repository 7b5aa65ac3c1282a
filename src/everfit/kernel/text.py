"""Comparing texts in a query: patterns and order, alike on SQLite and on Postgres."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Any

import sqlalchemy as sa

from everfit.errors import Invalid

# SQLite compares with patterns of 50,000 bytes at most; a character takes up to four, and a
# special one is written as three.
MAX_PATTERN_CHARACTERS = 10_000
_SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)
_GLOB = str.maketrans({"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"})


def like(
    connection: sa.Connection, column: sa.ColumnElement[Any], pattern: str
) -> sa.ColumnElement[bool]:
    r"""Return the condition that ``column`` fits ``pattern``, upper and lower case told apart.

    In a pattern ``%`` stands for any text and ``_`` for one character; ``\`` is a character like
    any other.

    Raises
    ------
    Invalid
        If the pattern is longer than 10,000 characters.
    """
    _check_pattern(pattern)
    if connection.dialect.name == "sqlite":
        # SQLite's own LIKE does not tell the case.
        return column.bool_op("GLOB")(as_glob(pattern))
    return column.like(pattern, escape="")


def ilike(
    connection: sa.Connection, column: sa.ColumnElement[Any], pattern: str
) -> sa.ColumnElement[bool]:
    """Return the condition that ``column`` fits ``pattern``, A to Z standing for a to z too.

    Other letters keep their case, as everywhere in SQLite; raises as `like`.
    """
    _check_pattern(pattern)
    if connection.dialect.name == "sqlite":
        return column.like(pattern)
    return sa.func.lower(bytewise(connection, column)).like(lower_ascii(pattern), escape="")


def bytewise(connection: sa.Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return ``column`` as it is to be ordered by: by code points, not by a country's rules."""
    return column if connection.dialect.name == "sqlite" else sa.collate(column, "C")


def as_glob(pattern: str) -> str:
    """Return an SQL pattern as SQLite's ``GLOB`` reads it.

    Examples
    --------
    >>> as_glob("bik_s%"), as_glob("[a]*?")
    ('bik?s*', '[[]a][*][?]')
    """
    return pattern.translate(_GLOB)


def lower_ascii(text: str) -> str:
    """Return ``text`` with A to Z in small letters, as ``lower`` of a bytewise column gives it.

    Examples
    --------
    >>> lower_ascii("ÄRA")
    'Ära'
    """
    return text.translate(_SMALL)


def matches(dialect: str, column: str, operator: str, pattern: str) -> tuple[str, str]:
    """Return `like` or `ilike` as a piece of literal SQL, and the value of its question mark.

    ``column`` becomes part of the statement: a fixed name, never what a caller wrote.
    """
    _check_pattern(pattern)
    if dialect == "sqlite":
        return (
            (f"{column} GLOB ?", as_glob(pattern))
            if operator == "LIKE"
            else (f"{column} LIKE ?", pattern)
        )
    if operator == "LIKE":
        return f"{column} LIKE ? ESCAPE ''", pattern
    return f"lower({column} COLLATE \"C\") LIKE ? ESCAPE ''", lower_ascii(pattern)


def _check_pattern(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise Invalid(
            f"the pattern has {len(pattern):,} characters",
            hint=f"Use at most {MAX_PATTERN_CHARACTERS:,}, or ask for the text itself with '='.",
        )
