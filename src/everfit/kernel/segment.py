"""One file of a journal: appended to, and written through to the disk into room made ahead.

A file that grows is two things to bring to the disk, the bytes and the file's new size, and on a
journalling file system the second one waits for whatever else is being written there. So zeros
are written ahead now and then: what is appended in their place is the bytes alone, in half of the
time. Readers take zeros for the end; they are cut off once the file is closed, and by whoever
opens the journal of a process that was killed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

# As much as was written already, within these bounds: a small log stays a small file.
LEAST_AHEAD, MOST_AHEAD = 16 * 1024, 1024 * 1024
# What is longer gains less than twice the writing costs.
MOST_BYTES = 64 * 1024
ZEROS = bytes(MOST_AHEAD)


class Segment:
    """A new file, open for one writer. ``end`` is the place behind its last whole append."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self._file = os.open(path, flags | os.O_DSYNC if durable else flags, 0o644)
        self._durable = durable
        self._size = 0
        self.end = 0

    @classmethod
    def begun(cls, path: Path, preamble: bytes, *, durable: bool) -> Self:
        """Return a new file that holds ``preamble``; raises OSError."""
        segment = cls(path, durable=durable)
        try:
            segment.append(preamble)
        except OSError:
            segment.let_go()
            raise
        return segment

    def append(self, content: bytes) -> None:
        """Write ``content`` at the end; where the segment is durable, it is on disk then.

        Raises
        ------
        OSError
            If that fails; ``take_back`` what may have been written of it.
        """
        end = self.end + len(content)
        written = os.pwritev(self._file, [content, self._ahead(end)], self.end)
        while written < len(content):  # the disk is full in a moment: then it says so
            rest = memoryview(content)[written:]
            written += os.pwrite(self._file, rest, self.end + written)
        self._size = max(self._size, self.end + written)
        self.end = end

    def take_back(self, first: int) -> bool:
        """Leave nothing behind the end, after a failure; raises OSError.

        Return whether a reader may have seen so many bytes behind it: in room made ahead it is not
        known how far the write came.
        """
        seen = self._size > self.end or os.fstat(self._file).st_size - self.end >= first
        os.ftruncate(self._file, self.end)
        self._size = self.end
        return seen

    def close(self) -> None:
        """Cut off the room made ahead, and let go of the file; raises OSError."""
        try:
            if self._size > self.end:
                os.ftruncate(self._file, self.end)
                os.fsync(self._file)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Let go of the file as it is."""
        os.close(self._file)

    def _ahead(self, end: int) -> memoryview:
        """Return the zeros to write behind ``end``: none while there is room."""
        if not self._durable or end <= self._size or end - self.end > MOST_BYTES:
            return memoryview(b"")
        return memoryview(ZEROS)[: max(LEAST_AHEAD, min(end, MOST_AHEAD))]
