"""Tables of one schema as messages of one Arrow IPC stream, also without making a table first.

A library needs hundreds of microseconds for a few rows because it lays out the same metadata
again and again. Here Polars writes them once; after that only their numbers are replaced: lengths,
counts of nulls, and where in the body each buffer lies. Buffers of one type lie side by side, so
that a whole type is looked through and put together in a few steps of NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.data.cells import (
    Buffer,
    Cells,
    Constant,
    Nulls,
    booleans,
    floats,
    integers,
    offsets,
    texts,
)
from everfit.data.encode import encode_frame
from everfit.errors import Invalid
from everfit.kernel.flatbuffer import FlatTable
from everfit.kernel.messages import (
    BODY,
    HEADER,
    PREFIX,
    TRAILER,
    Message,
    checksum,
    message_at,
    retold,
    with_trailer,
)

Numbers: TypeAlias = npt.NDArray[np.int64]
# The layouts of so many numbers of rows are kept.
MOST_LAYOUTS = 256
PADDING = [bytes(-size % 8) for size in range(8)]
KINDS = FLOAT, INTEGER, BOOLEAN, TEXT = range(4)
TYPES: Mapping[pl.DataType, int] = {
    pl.Float64(): FLOAT,
    pl.Int64(): INTEGER,
    pl.Datetime("us", "UTC"): INTEGER,
    pl.Boolean(): BOOLEAN,
    pl.String(): TEXT,
}
# A value of each that is not its default, which a flatbuffer would leave out.
SAMPLES = {FLOAT: 1.0, INTEGER: 1, BOOLEAN: True, TEXT: "x"}
# The slots of a batch's flatbuffer.
ROWS, NODES, BUFFERS = 0, 1, 2


class TableStream:
    """Tables of one schema as messages of one Arrow IPC stream; for any number of threads.

    ``preamble`` followed by any number of its messages is a stream that every Arrow library
    reads. Each message ends in a trailer (``everfit.kernel.messages``) that these skip.

    Examples
    --------
    >>> stream = TableStream({"a": pl.Float64(), "b": pl.String()})
    >>> message = stream.of_columns([np.array([1.5, np.nan]), ["x", "y"]], 2)
    >>> again = stream.of_frame(pl.DataFrame({"a": [2.5], "b": [None]}, schema=stream.schema))
    >>> pl.read_ipc_stream(stream.preamble + message + again).rows()
    [(1.5, 'x'), (None, 'y'), (2.5, None)]
    """

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        self.schema = pl.Schema(schema)
        empty = encode_frame(pl.DataFrame(schema=self.schema))
        self.preamble = empty[: _ends(empty)[1]]
        self._under = checksum(self.preamble)

    def of_frame(self, frame: pl.DataFrame) -> bytes:
        """Return the messages of a frame of this schema, most often one.

        Raises
        ------
        Invalid
            If its columns are others, or it has no rows.
        """
        if frame.schema != self.schema or not frame.height:
            raise Invalid(
                f"{frame.height} rows of {_said(frame.schema)} are no part of a stream of "
                f"{_said(self.schema)}",
                hint="Give at least one row, and the columns of the stream in their order.",
            )
        content = encode_frame(frame)
        ends = _ends(content, begin=len(self.preamble))
        return b"".join(retold(content[at:end], self._under) for at, end in pairwise(ends))

    def of_columns(self, columns: Sequence[Cells], rows: int) -> bytes:
        """Return the message of a table that is given column by column, in the schema's order.

        A column of numbers is a NumPy array (NaN is a null where they are floats) or a sequence
        with None for nulls; times are counted in microseconds since 1970. Texts are a list or a
        tuple of str and None.

        Raises
        ------
        Invalid
            If there are more or fewer columns, or values in one, than was said, or a type of the
            schema can only be written from a frame.
        """
        plan = self._plan
        self._refuse_lengths(columns, rows)
        ordered = [columns[index] for index in plan.order]
        nulls = np.zeros((len(columns), -(-rows // 64) * 64), dtype=np.bool_)
        metadata, size = plan.layout(rows)
        buffers, words = plan.values(ordered, rows, nulls)
        size = plan.add_nulls(metadata, nulls, size, buffers)
        size = plan.add_texts(metadata, words, size, buffers)
        metadata[plan.body] = size + TRAILER.size
        parts: list[Any] = [plan.prefix, metadata, *buffers]
        return with_trailer(b"".join(parts), self._under)

    @cached_property
    def _plan(self) -> _Plan:
        return _Plan(self.schema)

    def _refuse_lengths(self, columns: Sequence[Cells], rows: int) -> None:
        if len(columns) != len(self.schema) or rows < 0:
            raise Invalid(
                f"{len(columns)} columns of {rows} rows for {len(self.schema)} of the stream",
                hint="Give every column of the stream, in its order.",
            )
        for name, column in zip(self.schema, columns, strict=True):
            if not isinstance(column, Constant) and len(column) != rows:
                raise Invalid(
                    f"column {name!r} has {len(column)} values for {rows} rows",
                    hint="Give one value for each row, or a Constant.",
                )


class _Plan:
    """Where the numbers stand in the metadata of a message, as places of 64-bit numbers.

    ``order`` are the indices of the columns, those of one kind together; everything else that
    goes by columns is in this order.
    """

    def __init__(self, schema: pl.Schema) -> None:
        kinds = [_kind(name, dtype) for name, dtype in schema.items()]
        self.order = sorted(range(len(kinds)), key=kinds.__getitem__)
        counts = [kinds.count(kind) for kind in KINDS]
        self._ends = np.cumsum(counts).tolist()
        sample = pl.DataFrame([[SAMPLES[kind]] for kind in kinds], schema=schema, orient="col")
        content = encode_frame(sample)
        message = _batch(content)
        self.prefix = content[message.metadata - PREFIX.size : message.metadata]
        told = content[message.metadata : message.body]
        self._template: Numbers = np.frombuffer(told, dtype="<i8")
        self._layouts: dict[int, tuple[Numbers, int]] = {}
        table = FlatTable(memoryview(told))
        header = table.table(HEADER) or table
        self.body = table.place(BODY) // 8
        self._rows = header.place(ROWS) // 8
        self._lengths = header.vector(NODES, 16)[0] // 8 + 2 * np.array(self.order, dtype=np.int64)
        self._nulls = self._lengths + 1
        # Of each pair of numbers the first says where a buffer begins, the second its size.
        before = [sum(3 if kind == TEXT else 2 for kind in kinds[:i]) for i in self.order]
        self._validity = header.vector(BUFFERS, 16)[0] // 8 + 2 * np.array(before, dtype=np.int64)
        self._texts = self._validity[self._ends[BOOLEAN] :] + 4

    def layout(self, rows: int) -> tuple[Numbers, int]:
        """Return metadata for so many rows without nulls or texts, and the size of the values."""
        found = self._layouts.get(rows)
        if found is None:
            if len(self._layouts) >= MOST_LAYOUTS:
                self._layouts.clear()
            found = self._layouts[rows] = self._laid_out(rows)
        return found[0].copy(), found[1]

    def _laid_out(self, rows: int) -> tuple[Numbers, int]:
        numbers = self._template.copy()
        numbers[self._rows] = numbers[self._lengths] = rows
        numbers[self._nulls] = numbers[self._validity] = numbers[self._validity + 1] = 0
        sizes = np.full(len(self.order), 8 * rows, dtype=np.int64)
        sizes[self._ends[INTEGER] : self._ends[BOOLEAN]] = -(-rows // 64) * 8
        sizes[self._ends[BOOLEAN] :] = 8 * (rows + 1)
        ends = np.cumsum(sizes)
        numbers[self._validity + 2] = ends - sizes
        numbers[self._validity + 3] = sizes
        return numbers, int(ends[-1])

    def values(
        self, columns: Sequence[Cells], rows: int, nulls: Nulls
    ) -> tuple[list[Buffer], list[bytes]]:
        """Return the buffers of the values, and the texts of each column."""
        floating, whole, true, _ = self._ends
        buffers: list[Buffer] = []
        if floating:
            buffers.append(floats(columns[:floating], rows, nulls[:floating]))
        buffers += [integers(columns[i], rows, nulls[i]) for i in range(floating, whole)]
        if true > whole:
            buffers.append(booleans(columns[whole:true], rows, nulls[whole:true]))
        found = [
            texts(columns[number], rows, nulls[number]) for number in range(true, len(columns))
        ]
        if found:
            buffers.append(offsets([each for each, _ in found], rows))
        return buffers, [joined for _, joined in found]

    def add_nulls(self, metadata: Numbers, nulls: Nulls, size: int, buffers: list[Buffer]) -> int:
        """Add the bits that say what is no null, for columns that have one; return the size."""
        counts = np.count_nonzero(nulls, axis=1)
        having = counts.nonzero()[0]
        if having.size:
            metadata[self._nulls] = counts
            bits = np.packbits(~nulls[having], axis=1, bitorder="little")
            width, places = bits.shape[1], self._validity[having]
            metadata[places] = np.arange(size, size + bits.size, width)
            metadata[places + 1] = width
            buffers.append(bits)
            size += bits.size
        return size

    def add_texts(
        self, metadata: Numbers, found: Sequence[bytes], size: int, buffers: list[Buffer]
    ) -> int:
        """Add the texts, each column's filled up to whole 64-bit words; return the size."""
        numbers: list[int] = []
        for joined in found:
            length = len(joined)
            numbers += (size, length)
            buffers += (joined, PADDING[length % 8])
            size += length + -length % 8
        if numbers:
            metadata[self._pairs] = numbers
        return size

    @cached_property
    def _pairs(self) -> Numbers:
        return np.stack([self._texts, self._texts + 1], axis=1).ravel()


def _kind(name: str, dtype: pl.DataType) -> int:
    try:
        return TYPES[dtype]
    except KeyError:
        raise Invalid(
            f"column {name!r} of {dtype} can be written from a frame only",
            hint="Use numbers of 64 bits, texts, booleans and UTC times in microseconds.",
        ) from None


def _batch(content: bytes) -> Message:
    """Return the first message behind the schema of a stream."""
    found = message_at(memoryview(content), _ends(content)[1])
    if found is None:
        raise Invalid("a stream ends behind its schema", hint="Give it at least one column.")
    return found


def _ends(content: bytes, *, begin: int = 0) -> list[int]:
    """Return ``begin`` and the ends of all messages that follow in a stream."""
    ends = [begin]
    while message := message_at(memoryview(content), ends[-1]):
        ends.append(message.end)
    return ends


def _said(schema: pl.Schema) -> str:
    return ", ".join(f"{name}: {dtype}" for name, dtype in schema.items()) or "no columns"
