"""The writer of a process: notes records in a journal; threads beside sync and deliver it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from everfit.errors import EverfitError
from everfit.kernel import Journal
from everfit.sdk.delivery import Delivery, deliver_abandoned
from everfit.sdk.notes import Notes
from everfit.sdk.outbox import Outbox
from everfit.sdk.places import Place
from everfit.tracking.journalled import Record

log = logging.getLogger("everfit")

# What was noted is on disk after this, and on its way.
GATHER_SECONDS = 0.2
REST = 2.0
RETRY_SECONDS = (0.5, 5.0)
# How long a fork waits for a batch that is on its way.
PAUSE_SECONDS = 2.0
# A process that was forked must not end the connections it has copies of.
_FORKED_FROM: list[object] = []


class Writer(Notes):
    """Notes records; returns as soon as they are in the journal, whoever may be away.

    The journal and its thread begin with the first record. After a fork the new process has a
    journal of its own.
    """

    def __init__(self, make: Callable[[], tuple[Outbox, Place]]) -> None:
        self._make = make
        self._begin()

    def _begin(self) -> None:
        outbox, self._place = self._make()
        super().__init__(outbox)
        self._news = threading.Event()
        self._synced = threading.Event()
        self._stopping = threading.Event()
        self._threads: tuple[threading.Thread, ...] = ()
        self._retry_at = 0.0
        self._pause = 0.0
        # Held by each thread while it works: one that is forked away in the middle would leave
        # locks behind, of imports and of the database, that nobody opens any more.
        self._at_work = (threading.Lock(), threading.Lock())

    @property
    def to(self) -> str:
        """Return the folder or the address that is logged to."""
        return self._place.name

    def note(self, record: Record) -> None:
        """Append a record, as ``Notes.note`` does, and have it delivered."""
        super().note(record)
        if not self._news.is_set():
            self._news.set()

    def close(self) -> None:
        """Deliver what can be delivered now and end; what is left waits for the next one."""
        self._stopping.set()
        self._news.set()
        for thread in self._threads:
            thread.join()
        self._threads = ()

    def pause(self) -> list[threading.Lock]:
        """Wait until the threads are between two pieces of work; return what is held for that.

        A server that does not answer is not waited for.
        """
        return [lock for lock in self._at_work if lock.acquire(timeout=PAUSE_SECONDS)]

    def forked(self) -> None:
        """Begin anew in a process that was forked: journal and connections are its parent's."""
        _FORKED_FROM.append(self._place)
        if self._journal is not None:
            self._journal.abandon()
        self._begin()

    def _begun(self, journal: Journal) -> None:
        stopping = self._stopping = threading.Event()
        # The one that syncs waits for nobody: a server that hangs must not hold it up.
        self._threads = tuple(
            threading.Thread(target=work, args=(journal, stopping), name="everfit-log", daemon=True)
            for work in (self._sync_all, self._deliver_all)
        )
        for thread in self._threads:
            thread.start()

    def _sync_all(self, journal: Journal, stopping: threading.Event) -> None:
        while not stopping.is_set():
            self._news.wait()
            stopping.wait(GATHER_SECONDS)
            self._news.clear()
            with self._at_work[0]:
                try:
                    journal.sync()
                except EverfitError as error:
                    log.warning("everfit: %s", error.message)
            self._synced.set()

    def _deliver_all(self, journal: Journal, stopping: threading.Event) -> None:
        working = self._at_work[1]

        def rest(seconds: float) -> None:
            # The program has the interpreter for longer than the last batch had it.
            working.release()
            try:
                stopping.wait(REST * seconds)
            finally:
                working.acquire()

        delivery = Delivery(self._outbox, self._place, journal.folder.name)
        with working:
            self._try(self._abandoned)
        while not stopping.is_set():
            self._synced.wait(self._pause or None)
            self._synced.clear()
            if time.monotonic() >= self._retry_at:
                with working:
                    self._try(lambda: delivery.run(rest))
        delivered = self._try(delivery.run)
        self._journal = None
        journal.close()
        if delivered:
            # Its own among them, with what other threads may have logged until it was closed.
            self._try(self._abandoned)
        self._place.close()

    def _abandoned(self) -> None:
        deliver_abandoned(self._outbox, self._place)

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
