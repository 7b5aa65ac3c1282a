"""Notes records in a journal of this process; how they are delivered is left to others."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from everfit.errors import SourceMissing, Unavailable
from everfit.kernel import Journal
from everfit.sdk.outbox import Outbox
from everfit.tracking.journalled import Record, encoded

CHUNK_BYTES = 1024 * 1024


class Notes:
    """Notes records in an outbox; the journal begins with the first one.

    After a fork the new process has a journal of its own.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._last_us = 0
        self._prelude: list[Record] = []

    @property
    def to(self) -> str:
        """Return what is logged to."""
        return str(self._outbox.folder)

    def now_us(self) -> int:
        """Return the time in microseconds since 1970, each later than the one before.

        So every point is one of its own, in its order, also where the clock is set back.
        """
        with self._lock:
            self._last_us = max(self._last_us + 1, time.time_ns() // 1_000)
            return self._last_us

    def note(self, record: Record) -> None:
        """Append a record; it outlives this process from now on, and a loss of power soon.

        Raises
        ------
        StorageFull, Unavailable
            If the journal cannot be written: nobody could promise that it is kept.
        """
        payload = encoded(record)
        journal = self._journal or self._opened()
        try:
            journal.append(payload)
        except Unavailable:
            if self._journal is journal:
                raise
            # Another thread closed it in this moment.
            self._opened().append(payload)

    def keep(self, file: Path) -> tuple[str, int]:
        """Copy a file to where artifacts wait; return digest and size. Raises SourceMissing."""
        journal = self._journal or self._opened()
        with self._outbox.files(journal.folder.name).writer() as writer:
            try:
                with file.open("rb") as content:
                    while chunk := content.read(CHUNK_BYTES):
                        writer.write(chunk)
            except (FileNotFoundError, IsADirectoryError) as error:
                hint = "Write the file first, then log it."
                raise SourceMissing(f"there is no file {file}", hint=hint) from error
            return writer.finish()

    def begin_with(self, record: Record) -> None:
        """Put a record before all others of a journal that is not begun."""
        self._prelude.append(record)

    def close(self) -> None:
        """Let go of the journal."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def pause(self) -> list[threading.Lock]:
        """Return what is held while this process is forked."""
        return []

    def forked(self) -> None:
        """Begin anew in a process that was forked: the journal is its parent's."""
        if self._journal is not None:
            self._journal.abandon()
        Notes.__init__(self, self._outbox)

    def _opened(self) -> Journal:
        with self._lock:
            if self._journal is None:
                journal = self._outbox.open_journal()
                for record in self._prelude:
                    journal.append(encoded(record))
                self._prelude = []
                self._begun(journal)
                self._journal = journal
            return self._journal

    def _begun(self, journal: Journal) -> None:
        """Do what a journal that begins asks for."""
