"""Rows as a decoder gave them: tuples of checked values, made into more only when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.data import Cells
from everfit.packages import Field, Kind
from everfit.serving.columns import DTYPES

# Up to this many rows Polars builds a frame faster from rows than from columns.
FEW_ROWS = 100


class Plain:
    """Rows in the order of the inputs, each value of its input's kind, None where it is missing.

    A compiled model takes ``arrays``, every other one ``frame``; neither is made for nothing.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        values: list[tuple[Any, ...]],
        keys: list[str | None] | None = None,
        times: pl.Series | None = None,
    ) -> None:
        self.fields = fields
        self.values = values
        self.keys = keys
        self.times = times

    @property
    def height(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    @cached_property
    def columns(self) -> list[tuple[Any, ...]]:
        """Return the values of each input."""
        return list(zip(*self.values, strict=True)) if self.values else [()] * len(self.fields)

    @cached_property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what `CompiledModel.ask` takes: shape ``(rows,)``, NaN where one is missing."""
        return {
            field.name: np.array(values, dtype=object if field.kind is Kind.TEXT else np.float64)
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
        if len(self.values) <= FEW_ROWS:
            return pl.DataFrame(self.values, schema=schema, orient="row")
        columns: Mapping[str, Any] = dict(zip(schema, self.columns, strict=True))
        return pl.DataFrame(columns, schema=schema)
