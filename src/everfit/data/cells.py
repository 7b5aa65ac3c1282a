"""The values of columns as Arrow's buffers: all columns of one type in as few steps as can be.

Every function takes the nulls of its columns, shape ``(columns, rows or more)``, and notes there
what is null; what lies in the buffers at those places means nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Constant:
    """One value (text, number, boolean) that stands in every row; None for a null in every row."""

    value: Any


Cells: TypeAlias = Sequence[Any] | npt.NDArray[Any] | Constant
"""The values of one column, for ``TableStream.of_columns``."""
Nulls: TypeAlias = npt.NDArray[np.bool_]
Buffer: TypeAlias = "bytes | array[Any] | npt.NDArray[Any]"


def floats(columns: Sequence[Cells], rows: int, nulls: Nulls) -> npt.NDArray[np.float64]:
    """Return the columns one after another as 64-bit floats; NaN is a null."""
    spread: list[Any] = [
        array("d", [float("nan") if column.value is None else column.value]) * rows
        if isinstance(column, Constant)
        else column
        for column in columns
    ]
    if not rows or not spread:
        return np.empty(0)
    try:
        block: npt.NDArray[np.float64] = np.concatenate(
            spread, dtype=np.float64, casting="same_kind"
        )
    except TypeError:  # None in a sequence
        block = np.concatenate([np.asarray(column, dtype=np.float64) for column in spread])
    # Not with `out=`: NumPy 2.4 writes to wrong places where those of one column are apart.
    nulls[:, :rows] = np.isnan(block).reshape(len(columns), rows)
    return block


def integers(column: Cells, rows: int, nulls: Nulls) -> Buffer:
    """Return one column as 64-bit integers."""
    if isinstance(column, Constant):
        if column.value is None:
            nulls[:rows] = True
            return bytes(8 * rows)
        return array("q", [column.value]) * rows
    if isinstance(column, np.ndarray):
        return np.ascontiguousarray(column, dtype=np.int64)
    try:
        return array("q", column)
    except TypeError:
        nulls[:rows] = [value is None for value in column]
        return array("q", [0 if value is None else value for value in column])


def booleans(columns: Sequence[Cells], rows: int, nulls: Nulls) -> bytes:
    """Return the columns one after another as bits, each filled up to whole 64-bit words."""
    block = np.zeros((len(columns), nulls.shape[1]), dtype=np.bool_)
    for number, column in enumerate(columns):
        if isinstance(column, Constant):
            nulls[number, :rows] = column.value is None
            block[number, :rows] = bool(column.value)
            continue
        block[number, :rows] = column
        if not isinstance(column, np.ndarray):
            nulls[number, :rows] = [value is None for value in column]
    return np.packbits(block, axis=1, bitorder="little").tobytes()


def texts(column: Cells, rows: int, nulls: Nulls) -> tuple[Sequence[Any], bytes]:
    """Return the texts of one column, or each in UTF-8 where that is longer, and all as one."""
    values: Sequence[Any]
    if isinstance(column, Constant):
        nulls[:rows] = column.value is None
        values = ["" if column.value is None else column.value] * rows
    else:
        values = list(column) if isinstance(column, np.ndarray) else column
    try:
        whole = "".join(values)
    except TypeError:  # None among them
        nulls[:rows] = [value is None for value in values]
        values = ["" if value is None else value for value in values]
        whole = "".join(values)
    if whole.isascii():
        return values, whole.encode()
    encoded = [text.encode() for text in values]
    return encoded, b"".join(encoded)


def offsets(columns: Sequence[Sequence[Any]], rows: int) -> npt.NDArray[np.int64]:
    """Return for each column where its texts begin, and where the last one ends."""
    counts = map(len, chain.from_iterable(columns))
    lengths = np.fromiter(counts, dtype=np.int64, count=len(columns) * rows)
    found = np.zeros((len(columns), rows + 1), dtype=np.int64)
    np.cumsum(lengths.reshape(len(columns), rows), axis=1, out=found[:, 1:])
    return found
