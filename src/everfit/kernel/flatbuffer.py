"""Tables of FlatBuffers, read so that no byte outside of them is ever looked at.

https://flatbuffers.dev/internals/: a table begins with the distance to its list of slots, and a
slot says how far into the table a value lies, 0 if it is not there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from everfit.errors import Invalid

FORMATS = {name: struct.Struct(f"<{name}") for name in "?bBhHiIqQ"}
HINT = "Send what an Arrow library writes with its writer of streams, whole and as it is."


def malformed(what: str) -> Invalid:
    """Return the error for a body that is no Arrow stream."""
    return Invalid(f"the body is no Arrow stream: {what}", hint=HINT)


class FlatTable:
    """The table at a place of ``content``; every read raises Invalid rather than leave it."""

    __slots__ = ("_at", "_content", "_size", "_slots")

    def __init__(self, content: memoryview, at: int | None = None) -> None:
        self._content = content
        self._at = self._read("I", 0) if at is None else at
        self._slots = self._at - self._read("i", self._at)
        self._size = self._read("H", self._slots)

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """Return the number of the struct format ``kind`` in a slot."""
        at = self.place(slot)
        return self._read(kind, at) if at else default

    def has(self, slot: int) -> bool:
        """Return whether something is in the slot."""
        return self.place(slot) != 0

    def place(self, slot: int) -> int:
        """Return where in the content the value of a slot, or the way to it, lies; 0 for none."""
        entry = 4 + 2 * slot
        if entry + 2 > self._size:
            return 0
        distance = self._read("H", self._slots + entry)
        return self._at + distance if distance else 0

    def vector(self, slot: int, size: int) -> tuple[int, int]:
        """Return where the elements of a vector begin, each of ``size`` bytes, and how many."""
        at = self.place(slot)
        if not at:
            return 0, 0
        at = self._follow(at)
        count = self._read("I", at)
        if at + 4 + count * size > len(self._content):
            raise malformed(f"a list of {count:,} leaves its message")
        return at + 4, count

    def table(self, slot: int) -> FlatTable | None:
        """Return the table in a slot."""
        at = self.place(slot)
        return FlatTable(self._content, self._follow(at)) if at else None

    def tables(self, slot: int) -> Iterator[FlatTable]:
        """Yield the tables of the vector in a slot."""
        at, count = self.vector(slot, 4)
        for place in range(at, at + 4 * count, 4):
            yield FlatTable(self._content, self._follow(place))

    def numbers(self, slot: int, width: int = 1) -> list[tuple[int, ...]]:
        """Return the structs of ``width`` 64-bit numbers of the vector in a slot."""
        at, count = self.vector(slot, 8 * width)
        return list(struct.iter_unpack(f"<{width}q", self._content[at : at + 8 * width * count]))

    def text(self, slot: int) -> str | None:
        """Return the text in a slot."""
        if not self.has(slot):
            return None
        at, count = self.vector(slot, 1)
        try:
            return str(self._content[at : at + count], "utf-8")
        except UnicodeDecodeError as error:
            raise malformed(f"a name is not in UTF-8: {error}") from error

    def _follow(self, at: int) -> int:
        return at + self._read("I", at)

    def _read(self, kind: str, at: int) -> int:
        form = FORMATS[kind]
        if not 0 <= at <= len(self._content) - form.size:
            raise malformed("a place outside of its message is referred to")
        value: int = form.unpack_from(self._content, at)[0]
        return value
