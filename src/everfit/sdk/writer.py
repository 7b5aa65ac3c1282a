"""The writer of a process: notes records in a journal and delivers them on a thread beside."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from everfit.errors import EverfitError, SourceMissing
from everfit.kernel import Journal
from everfit.sdk.delivery import Delivery, deliver_abandoned
from everfit.sdk.outbox import Outbox
from everfit.sdk.places import Place
from everfit.tracking.journalled import Record, encoded

log = logging.getLogger("everfit")

# What was noted is on disk after this, and on its way.
GATHER_SECONDS = 0.2
RETRY_SECONDS = (0.5, 5.0)
CHUNK_BYTES = 1024 * 1024
# A process that was forked must not end the connections it has copies of.
_FORKED_FROM: list[object] = []


class Writer:
    """Notes records; returns as soon as they are in the journal, whoever may be away.

    The journal and its thread begin with the first record. After a fork the new process has a
    journal of its own.
    """

    def __init__(self, make: Callable[[], tuple[Outbox, Place]]) -> None:
        self._make = make
        self._begin()

    def _begin(self) -> None:
        self._outbox, self._place = self._make()
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._journal: Journal | None = None
        self._thread: threading.Thread | None = None
        self._last_us = 0
        self._retry_at = 0.0
        self._pause = 0.0

    @property
    def to(self) -> str:
        """Return the folder or the address that is logged to."""
        return self._place.name

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
        (self._journal or self._opened()).append(payload)
        if not self._news.is_set():
            self._news.set()

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

    def close(self) -> None:
        """Deliver what can be delivered now and end; what is left waits for the next one."""
        if self._thread is not None:
            self._stopping.set()
            self._news.set()
            self._thread.join()
            self._thread = None

    def forked(self) -> None:
        """Begin anew in a process that was forked: journal and connections are its parent's."""
        _FORKED_FROM.append((self._place, self._thread))
        if self._journal is not None:
            self._journal.abandon()
        self._begin()

    def _opened(self) -> Journal:
        with self._lock:
            if self._journal is None:
                journal = self._outbox.open_journal()
                self._thread = threading.Thread(
                    target=self._run, args=(journal,), name="everfit-log", daemon=True
                )
                self._thread.start()
                self._journal = journal
            return self._journal

    def _run(self, journal: Journal) -> None:
        delivery = Delivery(self._outbox, self._place, journal.folder.name)
        self._try(self._abandoned)
        while not self._stopping.is_set():
            self._news.wait(self._pause or None)
            self._stopping.wait(GATHER_SECONDS)
            self._news.clear()
            self._sync(journal)
            if time.monotonic() >= self._retry_at:
                self._try(delivery.run)
        self._end(journal, delivery)

    def _end(self, journal: Journal, delivery: Delivery) -> None:
        # Whoever logged last has said so by now: nothing is appended any more.
        self._journal = None
        self._sync(journal)
        if self._try(delivery.run):
            self._outbox.remove(journal)
            self._try(self._abandoned)
        journal.close()
        self._place.close()

    def _abandoned(self) -> None:
        deliver_abandoned(self._outbox, self._place)

    def _sync(self, journal: Journal) -> None:
        try:
            journal.sync()
        except EverfitError as error:
            log.warning("everfit: %s", error.message)

    def _try(self, deliver: Callable[[], None]) -> bool:
        """Deliver, or say once that it cannot be done and when to try again."""
        try:
            deliver()
        except (EverfitError, OSError) as error:
            if not self._pause:
                log.warning(
                    "everfit: %s; what is logged waits in %s and is delivered later, "
                    "at the latest by `everfit sync`",
                    error,
                    self._outbox.folder,
                )
            first, most = RETRY_SECONDS
            self._pause = min(max(first, self._pause * 2), most)
            self._retry_at = time.monotonic() + self._pause
            return False
        if self._pause:
            log.info("everfit: %s takes what is logged again", self._place.name)
        self._pause = self._retry_at = 0.0
        return True
