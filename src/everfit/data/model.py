"""What a table means to a model: tasks, roles, schemas, splits, findings. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

import polars as pl


class Task(StrEnum):
    """What the model is to do."""

    REGRESSION = "regression"
    CLASSIFICATION = "classification"
    CLUSTERING = "clustering"


class Role(StrEnum):
    """What a column is to the model. The first four are features."""

    NUMERIC = "numeric"
    CATEGORY = "category"
    BOOLEAN = "boolean"
    TEXT = "text"
    TIME = "time"
    IDENTIFIER = "identifier"
    CONSTANT = "constant"
    TARGET = "target"
    EXCLUDED = "excluded"


FEATURE_ROLES = frozenset({Role.NUMERIC, Role.CATEGORY, Role.BOOLEAN, Role.TEXT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column, what it is to the model, and why, in plain words."""

    name: str
    role: Role
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What each column of a table is to the model.

    ``time`` names the column that holds when a row happened, once ``prepare`` has run: a column
    of the source, or one derived from the columns of ``time_from`` (a date and an hour).
    """

    task: Task
    columns: tuple[Column, ...]
    target: str | None = None
    time: str | None = None
    group: str | None = None
    time_from: tuple[str, ...] = ()
    drop_missing_target: bool = False

    @property
    def features(self) -> tuple[Column, ...]:
        """Return the columns that the model learns from, in the table's order."""
        return tuple(column for column in self.columns if column.role in FEATURE_ROLES)

    @property
    def derived_time(self) -> str | None:
        """Return the name of the time column if ``prepare`` makes it, None if the source has it."""
        return None if self.time in self.time_from else self.time


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where rows come from: a file, or a SQLAlchemy URL with a query or ``#table``."""

    location: str
    query: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """Figures of one column; those of numbers are None for other kinds.

    ``count`` are the values that are there, ``quantiles`` pairs of probability and value,
    ``top`` the most frequent texts with their counts.
    """

    name: str
    dtype: str
    count: int
    missing: int
    distinct: int
    minimum: float | str | None = None
    mean: float | None = None
    maximum: float | str | None = None
    sd: float | None = None
    quantiles: tuple[tuple[float, float], ...] = ()
    top: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Columns that give the target away, and how that shows."""

    columns: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One rule for one column: ``argument`` has the form that the rule asks for."""

    column: str
    rule: str
    argument: object


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How many rows fail one expectation, and the first of them as (row from 1, value)."""

    column: str
    rule: str
    failed: int
    examples: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """What a table fails of what is expected of it; ``failed_rows`` fail at least one check."""

    rows: int
    failed_rows: int
    checks: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Return whether every check holds for every row."""
        return all(check.failed == 0 for check in self.checks)


How = Literal["auto", "random", "stratified", "grouped", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segregation:
    """How rows go to training, validation and test; the shares are of all rows.

    ``key`` are the columns whose values decide (else the group, else the features).
    ``embargo`` leaves out rows that end less than so long before the next part begins.
    ``allow`` names columns known to be there at prediction time, however well they tell
    the target: they are not refused as leaks.
    """

    how: How = "auto"
    validation: float = 0.15
    test: float = 0.2
    key: tuple[str, ...] = ()
    seed: int = 0
    embargo: timedelta = timedelta(0)
    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Three tables that share no row; ``how`` is the way that ``auto`` came to, or the user's."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    schema: Schema
    how: str

    @property
    def parts(self) -> Mapping[str, pl.DataFrame]:
        """Return the three tables by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetVersion:
    """A stored table: ``id`` is the digest of its manifest, so equal content has one id."""

    id: str
    name: str
    rows: int
    columns: tuple[str, ...]
    chunks: tuple[str, ...]
