"""Slices: groups of rows by the value of one column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.packages import Kind, Signature

# A number with more values than this is cut into quarters.
MANY_VALUES = 12
MISSING = "missing"


def groups_of(rows: pl.DataFrame, column: str) -> list[str]:
    """Return the group of each row: its value, or the quarter it lies in for a fine number.

    Examples
    --------
    >>> groups_of(pl.DataFrame({"sex": ["f", None]}), "sex")
    ['f', 'missing']
    >>> groups_of(pl.DataFrame({"age": list(range(20))}), "age")[::6]
    ['to 4.75', '4.75 to 9.5', '9.5 to 14.25', 'above 14.25']
    """
    series = rows[column]
    if not series.dtype.is_numeric() or series.n_unique() <= MANY_VALUES:
        return series.cast(pl.String).fill_null(MISSING).to_list()
    numbers = series.cast(pl.Float64).fill_nan(None)
    quarters = [numbers.quantile(q, "linear") for q in (0.25, 0.5, 0.75)]
    edges = sorted({edge for edge in quarters if edge is not None})
    texts = [f"{edge:.6g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(texts)]
    names = [f"to {texts[0]}", *between, f"above {texts[-1]}"]
    places = np.searchsorted(np.array(edges), numbers.fill_null(0.0).to_numpy(), side="left")
    empty = numbers.is_null().to_numpy()
    return [MISSING if e else names[p] for p, e in zip(places, empty, strict=True)]


def sliced_columns(signature: Signature, protected: Iterable[str]) -> list[str]:
    """Return the columns to slice by: categories, yes/no columns and the protected ones."""
    known = [
        field.name
        for field in signature.inputs
        if field.kind is Kind.BOOLEAN or (field.kind is Kind.TEXT and field.categories)
    ]
    return list(dict.fromkeys([*protected, *known]))


def slices(
    rows: pl.DataFrame, columns: Iterable[str], *, min_rows: int
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield the name and the rows, as a mask, of each slice that is large enough.

    A slice that holds every row is left out: it is no part.
    """
    for column in columns:
        if column not in rows.columns:
            continue
        groups = np.array(groups_of(rows, column))
        for value, count in zip(*np.unique(groups, return_counts=True), strict=True):
            if min_rows <= count < rows.height:
                yield f"{column} = {value}", groups == value
