"""Messages of Arrow IPC streams that tell of themselves whether they are whole.

https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format: a mark and the
size of the metadata, the metadata (a flatbuffer that says how long the body is), the body.
A message of ours has eight more bytes at the end of its body, to which no buffer refers and which
every reader skips: a CRC-32 of the stream's preamble, which is the message of its schema, and of
all that stands before them in the message, then ``MAGIC``.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from everfit.errors import Invalid
from everfit.kernel.flatbuffer import FlatTable, malformed

PREFIX = struct.Struct("<Ii")
TRAILER = struct.Struct("<I4s")
CONTINUES, MAGIC = 0xFFFFFFFF, b"Evft"
SCHEMA = 1
# The slots of a message's flatbuffer.
KIND, HEADER, BODY = 1, 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Where a message's metadata begin and where its body begins and ends."""

    metadata: int
    body: int
    end: int


def message_at(content: memoryview, at: int = 0) -> Message | None:
    """Return the message that begins at a place, None for the end of a stream.

    Raises
    ------
    Invalid
        If none begins there, or it is cut off within its metadata. Its body may be cut off.
    """
    if at + PREFIX.size > len(content):
        raise malformed("it is cut off")
    mark, size = PREFIX.unpack_from(content, at)
    metadata = at + PREFIX.size
    if mark != CONTINUES or not 0 <= size <= len(content) - metadata:
        raise malformed(f"no message begins at byte {at:,}")
    if not size:
        return None
    body = metadata + size
    _, length = kind_and_length(content[metadata:body])
    return Message(metadata=metadata, body=body, end=body + length)


def kind_and_length(metadata: memoryview) -> tuple[int, int]:
    """Return what a message is, and how long its body is; raises Invalid if that is not there."""
    table = FlatTable(metadata)
    length = table.number(BODY, "q")
    if length < 0:
        raise malformed(f"a message declares {length:,} bytes")
    return table.number(KIND, "B"), length


def checksum(preamble: bytes) -> int:
    """Return what the checksums of the messages behind a preamble start from."""
    return zlib.crc32(preamble)


def with_trailer(message: bytes, under: int) -> bytes:
    """Return a message, whose metadata count the trailer already, with its trailer.

    ``under`` is the ``checksum`` of the preamble.
    """
    return message + TRAILER.pack(zlib.crc32(message, under), MAGIC)


def is_whole(message: bytes | memoryview, under: int) -> bool:
    """Return whether a message ends in the trailer that fits it and the preamble."""
    if len(message) < TRAILER.size:
        return False
    found, magic = TRAILER.unpack_from(message, len(message) - TRAILER.size)
    content = memoryview(message)[: -TRAILER.size]
    return (magic, found) == (MAGIC, zlib.crc32(content, under))


def retold(message: bytes, under: int) -> bytes:
    """Return a message that another library wrote, with a trailer.

    Raises
    ------
    Invalid
        If it is no message with a body.
    """
    found = message_at(memoryview(message))
    if found is None or found.end != len(message):
        raise malformed("it is no whole message")
    place = FlatTable(memoryview(message)[found.metadata : found.body]).place(BODY)
    if not place:
        raise Invalid("a message without a body takes no trailer", hint="Write at least one row.")
    longer = bytearray(message)
    length = found.end - found.body + TRAILER.size
    struct.pack_into("<q", longer, found.metadata + place, length)
    return with_trailer(bytes(longer), under)
