"""Buffers of one Arrow batch to columns. What a buffer cannot hold is refused, never allocated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.data import Encoded
from everfit.errors import TooLarge
from everfit.kernel.flatbuffer import malformed
from everfit.packages import Field, Kind
from everfit.serving.arrow_stream import (
    BOOL,
    DATE,
    FLOAT,
    INT,
    LARGE_UTF8,
    NULL,
    TIMESTAMP,
    UTF8,
    VIEW,
    Batch,
    Column,
)
from everfit.serving.columns import Problems
from everfit.serving.plain import Values

Array = npt.NDArray[Any]
TEXTS = (UTF8, LARGE_UTF8, VIEW)
READ = (NULL, INT, FLOAT, BOOL, DATE, TIMESTAMP, *TEXTS)
# The first and the last second of the years 1 to 9999.
FIRST, LAST = -62_135_596_800, 253_402_300_799
INLINE = 12
# What values of a kind are as they come.
EXACT = {Kind.INTEGER: np.dtype(np.int64), Kind.BOOLEAN: np.dtype(np.bool_)}
# Texts that many rows share take no room in a stream, and all of it once they are read.
MOST_TEXT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Texts by position, and the bytes of each; where none is missing perhaps ``encoded`` too."""

    values: list[str | None]
    sizes: Array
    encoded: Encoded | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """A column as it was read: texts with None, times, or other values and where there are any."""

    values: list[str | None] | Encoded | pl.Series | Array
    there: Array | None = None
    whole: bool = False

    def series(self, name: str) -> pl.Series:
        """Return it as a series, null where nothing is."""
        if isinstance(self.values, pl.Series):
            return self.values.alias(name)
        if isinstance(self.values, list | Encoded):
            texts = self.values if isinstance(self.values, list) else self.values.values
            return pl.Series(name, texts, dtype=pl.String)
        return _with_gaps(pl.Series(name, self.values), self.there)

    def cells(self, field: Field) -> Values | None:
        """Return it as `Plain` has a column, or None where it must be looked at more closely."""
        values = self.values
        if isinstance(values, Encoded):
            return values if field.kind is Kind.TEXT else None
        if isinstance(values, list):
            fits = field.kind is Kind.TEXT and (field.nullable or None not in values)
            return values if fits else None
        if isinstance(values, pl.Series) or self.there is None:
            return None
        is_number = field.kind is Kind.NUMBER and values.dtype.kind in "iuf"
        if is_number and (self.whole or field.nullable):
            return _floats(values, None if self.whole else self.there, nullable=field.nullable)
        return values if self.whole and values.dtype == EXACT.get(field.kind) else None


class Reader:
    """Takes the columns of one batch, in the order of the schema.

    ``first`` is the row of the request that the batch begins with: ``place`` of a problem.
    """

    def __init__(
        self, batch: Batch, dictionaries: Mapping[int, Texts], problems: Problems, first: int
    ) -> None:
        self._batch = batch
        self._dictionaries = dictionaries
        self._problems = problems
        self._first = first
        self._nodes = iter(batch.nodes)
        self._buffers = iter(batch.buffers)
        self._variadic = iter(batch.variadic)
        self._all = np.ones(batch.rows, dtype=np.bool_)

    def column(self, column: Column) -> Raw:
        """Return the next column."""
        if next(self._nodes, (-1, 0))[0] != self._batch.rows:
            raise malformed(f"the column {column.name!r} has another length than its batch")
        if column.kind == NULL and column.dictionary is None:
            return Raw(pl.Series([None] * self._batch.rows, dtype=pl.Null))
        there = self._validity()
        if column.dictionary is not None:
            return Raw(self._coded(column, there))
        if column.kind in TEXTS:
            texts = self._texts(column, there)
            return Raw(texts.values if texts.encoded is None else texts.encoded)
        return self._fixed(column, there)

    def texts(self, column: Column) -> Texts:
        """Return the values of a dictionary."""
        # Whatever holds a text takes a byte or more: nothing larger is made than was sent.
        if self._batch.rows > sum(map(len, self._batch.buffers)):
            raise malformed(f"a dictionary declares {self._batch.rows:,} values")
        return self._texts(column, self._validity())

    def _fixed(self, column: Column, there: Array) -> Raw:
        rows = self._batch.rows
        is_bits = column.kind == BOOL
        values = self._bits(rows) if is_bits else self._numbers(column.dtype, rows)
        if column.kind in (DATE, TIMESTAMP):
            return Raw(self._times(column, values.astype(np.int64), there))
        numbers = values.astype(np.float32) if column.dtype == "<f2" else values
        return Raw(numbers, there, whole=there is self._all or bool(there.all()))

    def _times(self, column: Column, values: Array, there: Array) -> pl.Series:
        per = column.per_second
        outside = there & ((values < FIRST * per) | (values > LAST * per))
        for row in np.flatnonzero(outside).tolist():
            path = f"rows[{self._first + row}].{column.name}"
            self._problems.add(path, "a time beyond the years 1 to 9999", "write a time in them")
        values = np.where(outside | ~there, 0, values)
        if per <= 1:
            values, per = values * round(1_000 / per), 1_000
        unit = {1_000: "ms", 1_000_000: "us", 1_000_000_000: "ns"}[round(per)]
        zone = "UTC" if column.zoned else None
        times = pl.Series(values).cast(pl.Datetime(unit, zone))  # type: ignore[arg-type]
        return _with_gaps(times, there)

    def _coded(self, column: Column, there: Array) -> list[str | None]:
        known = self._dictionaries.get(column.dictionary or 0)
        if known is None:
            raise malformed(f"the dictionary of {column.name!r} is not there")
        places = np.where(there, self._numbers(column.index, self._batch.rows), 0).astype(np.int64)
        if there.any() and not ((places >= 0) & (places < len(known.values))).all():
            raise malformed(f"{column.name!r} refers beyond its dictionary")
        if not there.any():
            return [None] * self._batch.rows
        _bound(int(known.sizes[places[there]].sum()))
        return [
            known.values[place] if given else None
            for place, given in zip(places.tolist(), there.tolist(), strict=True)
        ]

    def _texts(self, column: Column, there: Array) -> Texts:
        if column.kind == VIEW:
            return self._decoded(column, there, self._views(there))
        offsets, content = self._held(column, len(there))
        whole = bytes(content[offsets[0] : offsets[-1]])
        if not whole.isascii():
            pairs = zip(pairwise(offsets.tolist()), there.tolist(), strict=True)
            pieces = (content[start:end] if given else None for (start, end), given in pairs)
            return self._decoded(column, there, pieces)
        sizes = np.diff(offsets)
        # Half the time of slicing.
        values: list[Any] = list(map(StringIO(whole.decode("ascii")).read, sizes.tolist()))
        if there is self._all:
            begin = offsets - offsets[0]
            return Texts(values=values, sizes=sizes, encoded=Encoded(values, whole, begin))
        for row in np.flatnonzero(~there).tolist():
            values[row] = None
        return Texts(values=values, sizes=np.where(there, sizes, 0))

    def _decoded(self, column: Column, there: Array, pieces: Iterator[memoryview | None]) -> Texts:
        values: list[str | None] = []
        sizes = np.zeros(len(there), dtype=np.int64)
        for row, piece in enumerate(pieces):
            sizes[row] = 0 if piece is None else len(piece)
            try:
                values.append(None if piece is None else str(piece, "utf-8"))
            except UnicodeDecodeError:
                path = f"rows[{self._first + row}].{column.name}"
                self._problems.add(path, "bytes that are no UTF-8", "write it in UTF-8")
                values.append("")
        return Texts(values=values, sizes=sizes)

    def _held(self, column: Column, rows: int) -> tuple[Array, memoryview]:
        """Return where the texts of a column begin and end, and what they lie in."""
        offsets = self._numbers("<i8" if column.kind == LARGE_UTF8 else "<i4", rows + 1)
        content = self._next()
        if offsets[0] < 0 or (np.diff(offsets) < 0).any() or offsets[-1] > len(content):
            raise malformed(f"the texts of {column.name!r} leave their buffer")
        return offsets, content

    def _views(self, there: Array) -> Iterator[memoryview | None]:
        rows = len(there)
        raw = self._next()
        if len(raw) < 16 * rows:
            raise malformed("a column has fewer views than rows")
        views = np.frombuffer(raw[: 16 * rows], "<i4").reshape(rows, 4)
        buffers = [self._next() for _ in range(self._count())]
        sizes, holders, starts = views[:, 0], views[:, 2].tolist(), views[:, 3].tolist()
        _bound(int(sizes[there & (sizes > 0)].sum(dtype=np.int64)))
        for row, (size, given) in enumerate(zip(sizes.tolist(), there.tolist(), strict=True)):
            if not given:
                yield None
            elif 0 <= size <= INLINE:
                yield raw[16 * row + 4 : 16 * row + 4 + size]
            else:
                holder, start = holders[row], starts[row]
                if size < 0 or not 0 <= holder < len(buffers) or start < 0:
                    raise malformed("a view refers to no buffer of its column")
                if start + size > len(buffers[holder]):
                    raise malformed("a view leaves its buffer")
                yield buffers[holder][start : start + size]

    def _count(self) -> int:
        count = next(self._variadic, -1)
        if not 0 <= count <= len(self._batch.buffers):
            raise malformed(f"a column declares {count:,} buffers of texts")
        return count

    def _validity(self) -> Array:
        """Return which rows have a value; an empty buffer stands for all of them."""
        buffer = self._next()
        return self._unpacked(buffer, self._batch.rows) if len(buffer) else self._all

    def _bits(self, rows: int) -> Array:
        return self._unpacked(self._next(), rows)

    def _unpacked(self, buffer: memoryview, rows: int) -> Array:
        if 8 * len(buffer) < rows:
            raise malformed(f"a buffer of {len(buffer):,} bytes holds no bits of {rows:,} rows")
        packed = np.frombuffer(buffer[: (rows + 7) // 8], np.uint8)
        return np.unpackbits(packed, bitorder="little")[:rows].astype(np.bool_)

    def _numbers(self, dtype: str, count: int) -> Array:
        buffer = self._next()
        size = np.dtype(dtype).itemsize * count
        if len(buffer) < size:
            raise malformed(f"a buffer of {len(buffer):,} bytes where {size:,} are needed")
        return np.frombuffer(buffer[:size], dtype).copy()

    def _next(self) -> memoryview:
        buffer = next(self._buffers, None)
        if buffer is None:
            raise malformed("a batch has fewer buffers than its columns need")
        return buffer


def _with_gaps(values: pl.Series, there: Array | None) -> pl.Series:
    return values if there is None or there.all() else values.set(pl.Series(~there), None)


def _floats(values: Array, there: Array | None, *, nullable: bool) -> Array | None:
    """Return numbers with NaN where one is missing; None where one is infinite, or may not be."""
    found: Array = values.astype(np.float64, copy=False)
    if there is not None:
        found = np.where(there, found, np.nan)
    refused = np.isinf(found) if nullable else ~np.isfinite(found)
    return None if refused.any() else found


def _bound(size: int) -> None:
    if size > MOST_TEXT:
        raise TooLarge(
            f"the texts of one column have {size:,} bytes; {MOST_TEXT:,} are accepted",
            hint="Send them in several requests.",
            bytes=size,
        )
