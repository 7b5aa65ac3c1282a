"""Rows as a decoder gave them: checked values by row or by column, made into more when asked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.data import Cells, Encoded
from everfit.packages import Field, Kind
from everfit.serving.columns import DTYPES

# Up to this many rows Polars builds a frame faster from rows than from columns.
FEW_ROWS = 100

Values: TypeAlias = Sequence[Any] | npt.NDArray[Any]
"""The values of a column, None where one is missing; in an array of numbers it is NaN."""


class Plain:
    """Rows in the order of the inputs, each value of its input's kind, None where it is missing.

    A compiled model takes ``arrays``, every other one ``frame``; neither is made for nothing.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        values: list[tuple[Any, ...]],
        keys: Sequence[str | None] | None = None,
        times: pl.Series | None = None,
    ) -> None:
        self.fields = fields
        self.values: list[tuple[Any, ...]] | None = values
        self.height = len(values)
        self.keys = keys
        self.times = times

    @classmethod
    def of_columns(
        cls,
        fields: Sequence[Field],
        columns: Sequence[Values],
        keys: Sequence[str | None] | None = None,
        times: pl.Series | None = None,
    ) -> Self:
        """Return rows that came column by column, all of one length."""
        made = cls(fields, [], keys, times)
        made.values, made.height = None, len(columns[0])
        made.__dict__["columns"] = columns
        return made

    @classmethod
    def joined(
        cls,
        parts: Sequence[Plain],
        keys: Sequence[str | None] | None = None,
        times: pl.Series | None = None,
    ) -> Self:
        """Return the rows of all parts, which have the same inputs, one after the other."""
        fields, lists = parts[0].fields, [part.values for part in parts if part.values is not None]
        if len(lists) == len(parts):
            return cls(fields, list(itertools.chain.from_iterable(lists)), keys, times)
        each = zip(fields, *(part.columns for part in parts), strict=True)
        return cls.of_columns(fields, [_together(one, found) for one, *found in each], keys, times)

    @cached_property
    def columns(self) -> Sequence[Values]:
        """Return the values of each input."""
        return list(zip(*self.values, strict=True)) if self.values else [()] * len(self.fields)

    @cached_property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `CompiledModel.ask` takes: shape ``(rows,)``, NaN where one is missing."""
        return {
            field.name: np.asarray(
                values.values if isinstance(values, Encoded) else values,
                dtype=object if field.kind is Kind.TEXT else np.float64,
            )
            for field, values in zip(self.fields, self.columns, strict=True)
        }

    @property
    def cells(self) -> list[Cells]:
        """Return the values of each input, as they are logged."""
        if "arrays" not in self.__dict__:
            return list(self.columns)
        # What is made already need not be looked through for gaps again.
        made = (self.arrays[field.name] for field in self.fields)
        pairs = zip(self.fields, self.columns, made, strict=True)
        return [array if field.kind is Kind.NUMBER else values for field, values, array in pairs]

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Return a frame of the inputs and their types."""
        schema = {field.name: DTYPES[field.kind] for field in self.fields}
        if self.values is not None and len(self.values) <= FEW_ROWS:
            return pl.DataFrame(self.values, schema=schema, orient="row")
        plain = (one.values if isinstance(one, Encoded) else one for one in self.columns)
        columns: Mapping[str, Any] = dict(zip(schema, plain, strict=True))
        return pl.DataFrame(columns, schema=schema, nan_to_null=True)


def _together(field: Field, parts: Sequence[Values]) -> Values:
    if field.kind is Kind.NUMBER:
        return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    # Those of an array are made into Python's own first: the log takes no NumPy truths in lists.
    return list(itertools.chain.from_iterable(_listed(part) for part in parts))


def _listed(part: Values) -> Sequence[Any]:
    if isinstance(part, Encoded):
        return part.values
    return part.tolist() if isinstance(part, np.ndarray) else part
