"""The messages of an Arrow IPC stream: its columns' types, then batches of their buffers.

https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
Read here and not by Polars: its reader trusts the lengths that a stream declares, and one that
lies ends the process (polars 2.1: ``memory allocation of 3746994889972252703 bytes failed``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from everfit.kernel.flatbuffer import FlatTable, malformed

T = TypeVar("T")
# Each costs some work, however little it holds.
MOST_MESSAGES = 20_000
# Schemas of up to so many bytes are remembered.
MOST_REMEMBERED = 16 * 1024
CONTINUES = 0xFFFFFFFF
SCHEMA, DICTIONARY, BATCH = 1, 2, 3
PREFIX = struct.Struct("<Ii")
NULL, INT, FLOAT, UTF8, BOOL, DATE, TIMESTAMP, LARGE_UTF8, VIEW = 1, 2, 3, 5, 6, 8, 10, 20, 24
NAMES = {4: "binary", 7: "decimal", 9: "time", 12: "list", 13: "struct", 17: "map", 18: "duration"}
UNITS = (1, 1_000, 1_000_000, 1_000_000_000)
DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the schema.

    ``kind`` is Arrow's number of its type, ``dtype`` NumPy's name where it is of fixed width.
    A time counts so many units ``per_second``, a date in days less than one; ``zoned`` says that it
    is an instant. ``index`` is the type of the indices into ``dictionary``, if it has one.
    """

    name: str
    kind: int
    dtype: str = ""
    per_second: float = 1
    zoned: bool = False
    dictionary: int | None = None
    index: str = ""

    @property
    def label(self) -> str:
        """Return what to call its type."""
        return NAMES.get(self.kind, f"Arrow's type {self.kind}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows: for each column its length and its count of nulls, and all buffers one by one."""

    rows: int
    nodes: list[tuple[int, ...]]
    buffers: list[memoryview]
    variadic: list[int]
    dictionary: int | None = None
    delta: bool = False


def read_stream(body: bytes) -> tuple[tuple[Column, ...], Iterator[Batch]]:
    """Return the columns, and the batches that follow.

    Raises
    ------
    Invalid
        If the body is no Arrow stream, is compressed, or is cut off.
    """
    messages = _messages(memoryview(body))
    kind, header, _ = next(messages, (0, None, None))
    if header is None or kind != SCHEMA:
        raise malformed("it does not begin with a schema")
    _, size = PREFIX.unpack_from(body)
    # A caller sends the same one again and again, and it takes longer to read than many rows.
    columns = _columns if size <= MOST_REMEMBERED else _columns.__wrapped__
    return columns(body[PREFIX.size : PREFIX.size + size]), _batches(messages)


@lru_cache(maxsize=64)
def _columns(schema: bytes) -> tuple[Column, ...]:
    """Return the columns of a schema."""
    header = FlatTable(memoryview(schema)).table(2)
    if header is None or header.number(0, "h") != 0:
        raise malformed("its numbers are big-endian")
    return tuple(_column(field) for field in header.tables(1))


def _messages(body: memoryview) -> Iterator[tuple[int, FlatTable, memoryview]]:
    """Yield the kind, the header and the body of every message."""
    at = count = 0
    while at + PREFIX.size <= len(body):
        mark, size = PREFIX.unpack_from(body, at)
        at += PREFIX.size
        count += 1
        if count > MOST_MESSAGES:
            raise malformed(f"it has more than {MOST_MESSAGES:,} messages; write larger batches")
        if mark != CONTINUES or not 0 <= size <= len(body) - at:
            raise malformed(f"no message begins at byte {at - PREFIX.size:,}")
        if size == 0:
            return
        message = FlatTable(body[at : at + size])
        at += size
        length = message.number(3, "q")
        if not 0 <= length <= len(body) - at:
            raise malformed(
                f"a message declares {length:,} bytes where {len(body) - at:,} are left"
            )
        header = message.table(2)
        if header is None:
            raise malformed("a message has no header")
        yield message.number(1, "B"), header, body[at : at + length]
        at += length
    if at != len(body):
        raise malformed("it is cut off")


def _column(field: FlatTable) -> Column:
    kind, of, coded = field.number(2, "B"), field.table(3), field.table(4)
    if of is None:
        raise malformed("a column has no type")
    per_second: float = 1
    dtype = ""
    if kind == FLOAT:
        dtype = _nth(("<f2", "<f4", "<f8"), of.number(0, "h"))
    elif kind == INT:
        dtype = _integer(of)
    elif kind == TIMESTAMP:
        dtype, per_second = "<i8", _nth(UNITS, of.number(0, "h"))
    elif kind == DATE:
        in_days = of.number(0, "h", 1) == 0
        dtype, per_second = ("<i4", 1 / DAY) if in_days else ("<i8", 1_000)
    index = coded.table(1) if coded is not None else None
    return Column(
        name=field.text(0) or "",
        kind=kind,
        dtype=dtype,
        per_second=per_second,
        zoned=kind == TIMESTAMP and bool(of.text(1)),
        dictionary=None if coded is None else coded.number(0, "q"),
        index="<i4" if index is None else _integer(index),
    )


def _nth(known: Sequence[T], number: int) -> T:
    if not 0 <= number < len(known):
        raise malformed(f"a type has the variant {number}")
    return known[number]


def _integer(of: FlatTable) -> str:
    width = of.number(0, "i")
    if width not in (8, 16, 32, 64):
        raise malformed(f"it has integers of {width} bits")
    return f"<{'i' if of.number(1, '?') else 'u'}{width // 8}"


def _batches(messages: Iterator[tuple[int, FlatTable, memoryview]]) -> Iterator[Batch]:
    for kind, header, body in messages:
        if kind == BATCH:
            yield _batch(header, body)
        elif kind == DICTIONARY:
            data = header.table(1)
            if data is None:
                raise malformed("a dictionary has no values")
            yield _batch(
                data, body, dictionary=header.number(0, "q"), delta=bool(header.number(2, "?"))
            )
        else:
            raise malformed(f"a message of kind {kind} stands between its batches")


def _batch(
    header: FlatTable, body: memoryview, *, dictionary: int | None = None, delta: bool = False
) -> Batch:
    if header.has(3):
        raise malformed("its batches are compressed; write it without compression")
    rows = header.number(0, "q")
    buffers = []
    for offset, length in header.numbers(2, 2):
        if offset < 0 or length < 0 or offset + length > len(body):
            raise malformed(f"a buffer of {length:,} bytes leaves its message")
        buffers.append(body[offset : offset + length])
    if rows < 0:
        raise malformed(f"a batch declares {rows:,} rows")
    return Batch(
        rows=rows,
        nodes=header.numbers(1, 2),
        buffers=buffers,
        variadic=[count for (count,) in header.numbers(4)],
        dictionary=dictionary,
        delta=delta,
    )
