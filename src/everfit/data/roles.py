"""Which role a column has, judged by its values and its name, with the reason in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

from everfit.data.delimited import CODE
from everfit.data.model import Column, Role
from everfit.data.times import NAMED_LIKE_TIME, parse_times

NAMED_LIKE_KEY = re.compile(r"(^|[_\-. ])(id|uuid|guid|key|index|rowid)$", re.I)
CAMEL_KEY = re.compile(r"[a-z]I[dD]$")
# Fewer rows can differ in every value by chance.
FEW = 20
MANY_TEXTS = 100
LONG_TEXT = 30
# A column of numbers with so small a share of other texts is a column of numbers with mistakes.
STRAY_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one pass over a table says of a column; ``distinct`` counts the values but not null."""

    values: pl.Series
    missing: int
    distinct: int

    @property
    def name(self) -> str:
        """Return the column's name."""
        return self.values.name

    @property
    def present(self) -> int:
        """Return how many values are there."""
        return len(self.values) - self.missing

    @property
    def all_differ(self) -> bool:
        """Return whether there are enough values to tell, and no two are equal."""
        return self.present >= FEW and self.distinct == self.present


def facts_of(frame: pl.DataFrame) -> list[Facts]:
    """Return the facts of every column whose type has values that can be compared."""
    plain = frame.select(name for name, kind in frame.schema.items() if is_plain(kind))
    if plain.width == 0:
        return []
    missing = plain.null_count().row(0)
    distinct = plain.select(pl.all().n_unique()).row(0)
    return [
        Facts(values=values, missing=nulls, distinct=different - (nulls > 0))
        for values, nulls, different in zip(plain, missing, distinct, strict=True)
    ]


def is_plain(kind: pl.DataType) -> bool:
    """Return whether a column of this type can be used: numbers, texts, booleans and times."""
    return kind.is_numeric() or kind.is_temporal() or kind in (pl.String, pl.Boolean)


def infer_role(facts: Facts) -> Column:
    """Return the column with the role its values and its name speak for."""
    role, reason = _role(facts)
    return Column(name=facts.name, role=role, reason=reason)


def _role(facts: Facts) -> tuple[Role, str]:
    kind = facts.values.dtype
    if facts.distinct == 1 and facts.missing == 0:
        return Role.CONSTANT, f"always {facts.values[0]!r}"
    if looks_like_time(facts.values):
        return Role.TIME, "dates or times, which are no feature as they are"
    if kind == pl.Boolean:
        return Role.BOOLEAN, "true or false"
    if kind == pl.String:
        return _text_role(facts)
    if kind.is_integer():
        return _integer_role(facts)
    if kind.is_temporal():
        return Role.EXCLUDED, f"{kind} values cannot be used as they are"
    return Role.NUMERIC, "decimal numbers"


def looks_like_time(values: pl.Series) -> bool:
    """Return whether the values are times; whole numbers must also be named like times."""
    if isinstance(values.dtype, pl.Datetime) or values.dtype == pl.Date:
        return True
    if values.dtype.is_integer() and not NAMED_LIKE_TIME.search(values.name):
        return False
    return parse_times(values) is not None


def _text_role(facts: Facts) -> tuple[Role, str]:
    if facts.all_differ or facts.distinct > max(MANY_TEXTS, facts.present / 2):
        length = facts.values.str.len_chars().mean()
        if isinstance(length, float) and length > LONG_TEXT:
            return Role.TEXT, f"{facts.distinct:,} distinct texts of {length:.0f} characters"
        if facts.all_differ:
            return Role.IDENTIFIER, "every value differs"
        return Role.IDENTIFIER, f"{facts.distinct:,} distinct texts in {facts.present:,} rows"
    return Role.CATEGORY, f"{facts.distinct:,} distinct texts, used as a category"


def _integer_role(facts: Facts) -> tuple[Role, str]:
    name = facts.name
    if (NAMED_LIKE_KEY.search(name) or CAMEL_KEY.search(name)) and facts.distinct > FEW:
        return Role.IDENTIFIER, f"named like an identifier, {facts.distinct:,} distinct numbers"
    if facts.all_differ and facts.missing == 0 and _consecutive(facts.values):
        return Role.IDENTIFIER, "every value differs, and they count the rows"
    return Role.NUMERIC, f"whole numbers, {facts.distinct:,} distinct"


def _consecutive(values: pl.Series) -> bool:
    low, high = values.min(), values.max()
    return isinstance(low, int) and isinstance(high, int) and high - low + 1 == len(values)


def stray_texts(facts: Facts) -> pl.Series:
    """Return the few texts of a column that is otherwise of numbers; empty if it is not that."""
    values = facts.values
    nothing = values.clear()
    if values.dtype != pl.String or facts.present == 0:
        return nothing
    present = values.drop_nulls()
    numbers = present.cast(pl.Float64, strict=False)
    strays = numbers.null_count()
    if not 0 < strays <= STRAY_SHARE * len(present) or present.str.contains(CODE).any():
        return nothing
    return present.filter(numbers.is_null())
