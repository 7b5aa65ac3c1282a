"""The values of columns as Arrow's buffers: all columns of one type in as few steps as can be.

Every function takes the nulls of its columns, shape ``(columns, rows or more)``, and notes there
what is null; what lies in the buffers at those places means nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt

# Texts of so few rows are counted sooner than an array is made of what is known of them.
FEW_ROWS = 100


@dataclass(frozen=True, slots=True)
class Constant:
    """One value (text, number, boolean) that stands in every row; None for a null in every row."""

    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Encoded(Sequence[str]):
    """Texts without nulls, and the same as Arrow has them: ``joined`` in UTF-8, one after another.

    ``offsets``, shape ``(rows + 1,)``, say where each begins there, and where the last one ends.
    """

    values: list[str]
    joined: bytes
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.values)

    def __iter__(self) -> Iterator[str]:
        """Return an iterator over them."""
        return iter(self.values)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        """Return one, or some as a list."""
        return self.values[place]


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


def texts(
    column: Cells, rows: int, nulls: Nulls
) -> tuple[Sequence[Any] | npt.NDArray[np.int64], bytes]:
    """Return the texts of one column as one, behind what `offsets` takes of it.

    That is the texts, or each in UTF-8 where that is longer; or the offsets where they are known.
    """
    if isinstance(column, Encoded):
        return column.offsets, column.joined
    if isinstance(column, Constant):
        nulls[:rows] = column.value is None
        same = b"" if column.value is None else column.value.encode()
        known = rows > FEW_ROWS
        return np.arange(rows + 1) * len(same) if known else [same] * rows, same * rows
    values: Sequence[Any] = list(column) if isinstance(column, np.ndarray) else column
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


def offsets(
    columns: Sequence[Sequence[Any] | npt.NDArray[np.int64]], rows: int
) -> npt.NDArray[np.int64]:
    """Return for each column where its texts begin, and where the last one ends."""
    found = np.zeros((len(columns), rows + 1), dtype=np.int64)
    known = [place for place, one in enumerate(columns) if isinstance(one, np.ndarray)]
    counted = [one for one in columns if not isinstance(one, np.ndarray)] if known else columns
    counts = map(len, chain.from_iterable(counted))
    lengths = np.fromiter(counts, dtype=np.int64, count=len(counted) * rows)
    ends = lengths.reshape(len(counted), rows).cumsum(axis=1)
    if not known:
        found[:, 1:] = ends
        return found
    for place in known:
        found[place] = columns[place]
    found[np.delete(np.arange(len(columns)), known), 1:] = ends
    return found
