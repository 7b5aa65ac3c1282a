"""Group commit: small writes of many threads share one transaction, and so one trip to the disk."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from everfit.errors import EverfitError, Overloaded, Unavailable
from everfit.kernel import database
from everfit.kernel.workspace import Transaction, Workspace

T = TypeVar("T")

WAITING = 10_000
TOGETHER = 1_000
# A transaction takes up no further work after this: other processes wait for its lock.
GROUP_SECONDS = 0.2


@dataclass(slots=True)
class _Work:
    """One piece of work, where its answer goes, and what came of it."""

    do: Callable[[Transaction], Any]
    future: Future[Any]
    result: Any = None
    error: BaseException | None = None

    def answer(self) -> None:
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Committer:
    """Runs works one after the other on a thread of its own, many in one database transaction.

    While one group is written and synced, the next one gathers: nobody waits for company. Works
    are done in the order in which they were submitted, each with a transaction time of its own and
    inside a savepoint: one that raises is undone alone. A future is resolved only once its
    transaction is on disk. A work must be short, write through its transaction only, and not wait
    for another work.

    ``waiting`` works may wait at once, at most ``together`` of them share a transaction.
    """

    def __init__(
        self, workspace: Workspace, *, waiting: int = WAITING, together: int = TOGETHER
    ) -> None:
        self.workspace = workspace
        self.waiting = waiting
        self.together = together
        # None ends it. This queue is of C: its waiting and waking costs a tenth of a Condition's.
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._door = threading.Lock()
        self._closed = False
        # Its own: its statements stay compiled, and no reader changes what it may do.
        self._held: sa.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Transaction], T]) -> Future[T]:
        """Return the future of what ``work`` returns, or raises, once that is on disk.

        The future raises `DatabaseBusy`, `StorageFull` or `Unavailable` if the transaction failed;
        then nothing of the work was written. One that is cancelled in time is not begun.

        Raises
        ------
        Overloaded
            If as many works wait as may.
        Unavailable
            If this committer is closed.
        """
        future: Future[T] = Future()
        with self._door:
            if self._closed:
                hint = "Nothing was written; send it again once the server is back."
                raise Unavailable("no more writes are taken: the server is stopping", hint=hint)
            waiting = self._queue.qsize()
            if waiting >= self.waiting:
                raise Overloaded(
                    f"{waiting:,} writes wait already",
                    hint="Nothing was written; retry in a second, or send fewer, larger batches.",
                    waiting=waiting,
                )
            self._queue.put(_Work(work, future))
        return future

    def close(self) -> None:
        """Refuse further works, finish those that were accepted, and end the thread."""
        with self._door:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        try:
            while group := self._gathered():
                # A work that was cancelled is skipped; from here on it cannot be.
                group = [work for work in group if work.future.set_running_or_notify_cancel()]
                while group:
                    group = self._commit(group)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Give the connection back, which undoes what is not committed."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _gathered(self) -> list[_Work]:
        """Wait for works and take the first ones; none is left once this is closed."""
        group: list[_Work] = []
        work = self._queue.get()
        while work is not None:
            group.append(work)
            if len(group) == self.together or self._queue.empty():
                return group
            work = self._queue.get()
        if group:
            # The end waits for its turn.
            self._queue.put(None)
        return group

    def _commit(self, group: list[_Work]) -> list[_Work]:
        """Do works in one transaction, commit, answer; return those that time did not allow."""
        done = 0
        try:
            if self._held is None:
                self._held = self.workspace.engine.connect()
            with database.writing(self.workspace.engine, self._held) as connection:
                end = time.monotonic() + GROUP_SECONDS
                while done < len(group) and time.monotonic() < end:
                    self._do(group[done], connection)
                    done += 1
        except BaseException as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            self._let_go()
            for work in group:
                work.future.set_exception(_own(error))
            return []
        for work in group[:done]:
            work.answer()
        return group[done:]

    def _do(self, work: _Work, connection: sa.Connection) -> None:
        """Do one work in a savepoint; what it raises is its own, and undone."""
        workspace = self.workspace
        tx = Transaction(
            connection=connection, project=workspace.project, now=workspace.clock.now()
        )
        # Straight to the driver: a tenth of the time, and `_undo` finds what its errors mean.
        driver: Any = connection.connection.dbapi_connection
        try:
            driver.execute("SAVEPOINT work")
            work.result = work.do(tx)
            # On Postgres this also finds a work that swallowed an error of the database, after
            # which a commit would be a rollback that says nothing.
            driver.execute("RELEASE SAVEPOINT work")
        except BaseException as error:  # noqa: BLE001 - a work can raise anything
            _undo(connection, error)
            work.error = error
            if database.is_failure(error, workspace.engine):
                work.error = database.meaning(error, workspace.engine)
                work.error.__cause__ = error


def _undo(connection: sa.Connection, error: BaseException) -> None:
    """Undo the work that raised ``error``; raise if its whole transaction is gone."""
    try:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT work")
        connection.exec_driver_sql("RELEASE SAVEPOINT work")
    except sa.exc.SQLAlchemyError as lost:
        # The connection broke, or SQLite undid everything by itself: it does on a full disk.
        known = isinstance(error, sa.exc.DBAPIError | connection.dialect.loaded_dbapi.Error)
        raise (error if known else lost) from None


def _own(error: BaseException) -> BaseException:
    """Return an error for one more waiting thread: where it is raised is written into it."""
    if not isinstance(error, EverfitError):
        return error
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
