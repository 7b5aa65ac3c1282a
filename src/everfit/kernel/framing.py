"""How payloads lie in a segment of a journal, so that what was not written to its end is known.

``CHECKED`` takes any bytes, as frames ``[length u32][crc32 u32][payload]``, little-endian.
``ARROW`` takes messages of an Arrow stream that end in a trailer (``everfit.kernel.messages``):
behind the stream's preamble they are a file that every Arrow library reads.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from everfit.errors import Invalid
from everfit.kernel.messages import (
    CONTINUES,
    MAGIC,
    PREFIX,
    SCHEMA,
    TRAILER,
    checksum,
    is_whole,
    kind_and_length,
    message_at,
)

HEADER = struct.Struct("<II")
# So many bytes of messages are read as one payload, to be decoded at once.
PAYLOAD_BYTES = 4 * 1024 * 1024


class Framing(Protocol):
    """The layout of segments whose files end in ``suffix``."""

    suffix: str

    def framed(self, payload: bytes) -> bytes:
        """Return what is written for a payload; raises Invalid if it cannot be framed."""
        ...

    def first(self, content: bytes) -> int:
        """Return the size of the first frame of what was ``framed``."""
        ...

    def begin(self, path: Path, offset: int) -> int:
        """Return where the first frame at or behind ``offset`` begins."""
        ...

    def read(self, path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
        """Yield each sound payload from ``offset`` on with the place behind it."""
        ...


class Checked:
    """Frames of any bytes, each with its length and its checksum."""

    suffix = ".log"

    def framed(self, payload: bytes) -> bytes:
        """Return the payload behind its length and checksum."""
        if not 0 < len(payload) < 2**32:
            hint = "Write between 1 byte and 4 GiB at once."
            raise Invalid(f"a payload of {len(payload)} bytes cannot be framed", hint=hint)
        return HEADER.pack(len(payload), zlib.crc32(payload)) + payload

    def first(self, content: bytes) -> int:
        """Return the size of the first frame."""
        return HEADER.size + int(HEADER.unpack_from(content)[0])

    def begin(self, path: Path, offset: int) -> int:
        """Return ``offset``: nothing stands before the frames."""
        return offset

    def read(self, path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
        """Yield the payloads one by one."""
        with path.open("rb") as file:
            # Nobody shall allocate 4 GiB because a torn header says so.
            size = os.fstat(file.fileno()).st_size
            file.seek(offset)
            while len(header := file.read(HEADER.size)) == HEADER.size:
                length, found = HEADER.unpack(header)
                offset += HEADER.size + length
                # Zeros, which a file can end in after a loss of power, are no frame either.
                if not length or offset > size:
                    return
                payload = file.read(length)
                if zlib.crc32(payload) != found:
                    return
                yield offset, payload


class Arrow:
    """Messages of one Arrow stream behind its preamble, which is its schema.

    A payload that is read is the preamble with as many messages as are there, up to about
    ``payload_bytes``: a stream of its own.
    """

    suffix = ".arrows"

    def __init__(self, payload_bytes: int = PAYLOAD_BYTES) -> None:
        self._payload_bytes = payload_bytes

    def framed(self, payload: bytes) -> bytes:
        """Return the messages as they are."""
        if len(payload) < PREFIX.size + TRAILER.size or not payload.endswith(MAGIC):
            raise Invalid(
                f"{len(payload)} bytes are no message with a trailer",
                hint="Write what a TableStream makes, and its preamble.",
            )
        return payload

    def first(self, content: bytes) -> int:
        """Return the size of the first message."""
        try:
            found = message_at(memoryview(content))
        except Invalid:
            return 1
        return found.end if found else len(content)

    def begin(self, path: Path, offset: int) -> int:
        """Return where the first message behind the preamble and ``offset`` begins."""
        with path.open("rb") as file:
            return max(offset, len(_preamble(file)))

    def read(self, path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
        """Yield streams of sound messages."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            preamble = _preamble(file)
            if not preamble:
                return
            at = max(offset, len(preamble))
            file.seek(at)
            under, gathered, length = checksum(preamble), [preamble], 0
            while message := _sound_message(file, size - at, under):
                at += len(message)
                length += len(message)
                gathered.append(message)
                if length >= self._payload_bytes:
                    yield at, b"".join(gathered)
                    gathered, length = [preamble], 0
            if length:
                yield at, b"".join(gathered)


CHECKED, ARROW = Checked(), Arrow()
FRAMINGS: Mapping[str, Framing] = {CHECKED.suffix: CHECKED, ARROW.suffix: ARROW}


def _preamble(file: BinaryIO) -> bytes:
    """Return the schema at the start of a file, nothing where it is not whole."""
    found = _metadata(file, os.fstat(file.fileno()).st_size)
    return found[0] if found and found[1:] == (SCHEMA, 0) else b""


def _sound_message(file: BinaryIO, left: int, under: int) -> bytes:
    """Return the message at the present place of a file, nothing where none is whole."""
    found = _metadata(file, left)
    if found is None:
        return b""
    head, _, length = found
    if not TRAILER.size <= length <= left - len(head):
        return b""
    message = head + file.read(length)
    return message if is_whole(message, under) else b""


def _metadata(file: BinaryIO, left: int) -> tuple[bytes, int, int] | None:
    """Return the next message without its body, its kind, and how long its body is."""
    prefix = file.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    mark, size = PREFIX.unpack(prefix)
    # Zeros, which a file can end in after a loss of power, are no mark.
    if mark != CONTINUES or not 0 < size <= left - PREFIX.size:
        return None
    metadata = file.read(size)
    try:
        return prefix + metadata, *kind_and_length(memoryview(metadata))
    except Invalid:
        return None
