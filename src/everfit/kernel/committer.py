"""Group commit: small writes of many threads share one transaction, and so one trip to the disk."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import sqlalchemy as sa

from everfit.errors import DatabaseBusy, EverfitError, Overloaded, Unavailable
from everfit.kernel import database
from everfit.kernel.workspace import Transaction, Workspace

T = TypeVar("T")

WAITING = 10_000
TOGETHER = 1_000
# A transaction takes up no further work after this: other processes wait for its lock.
GROUP_SECONDS = 0.2
# Where a transaction on the caller's thread took longer, the next ones leave it alone for a while.
BRIEF_SECONDS = 0.002
BRIEF_GROUP_SECONDS = 0.02
REST_SECONDS = 0.5
SLOW_IN_A_ROW = 3


@dataclass(slots=True)
class Outcome:
    """What came of one piece of work that is done: on disk, or undone where there is an error."""

    do: Callable[[Transaction], Any]
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Waiting:
    """One piece of work that waits for the thread, and where its answer goes."""

    work: Outcome
    future: Future[Any]

    def answer(self) -> None:
        if self.work.error is None:
            self.future.set_result(self.work.result)
        else:
            self.future.set_exception(self.work.error)


class _Writer:
    """Does works together in one transaction, on a connection of its own.

    Its statements stay compiled there, and no reader changes what it may do.
    """

    def __init__(self, workspace: Workspace, *, waits: bool, seconds: float) -> None:
        self.workspace = workspace
        self.waits = waits
        self.seconds = seconds
        self._held: sa.Connection | None = None

    def commit(self, works: Sequence[Outcome]) -> int:
        """Do works until ``seconds`` have passed, commit, and return how many are done.

        Raises what the transaction as a whole raised: then none is done. A writer that does not
        wait raises DatabaseBusy at once where another connection writes.
        """
        done = 0
        try:
            with database.writing(self.workspace.engine, self._connection()) as connection:
                end = time.monotonic() + self.seconds
                while done < len(works) and time.monotonic() < end:
                    self._do(works[done], connection)
                    done += 1
        except BaseException:
            self.let_go()
            raise
        return done

    def let_go(self) -> None:
        """Close the connection, which undoes what is not committed."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _connection(self) -> sa.Connection:
        if self._held is None:
            self._held = self.workspace.engine.connect()
            if not self.waits:
                database.refuse_to_wait(self._held)
        return self._held

    def _do(self, work: Outcome, connection: sa.Connection) -> None:
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
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._door = threading.Lock()
        self._closed = False
        self._busy = False
        self._brief = _Brief(workspace)
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
            self._queue.put(_Waiting(Outcome(work), future))
        return future

    def attempt(self, works: Sequence[Callable[[Transaction], Any]]) -> Sequence[Outcome]:
        """Do the first of these brief works on this very thread, and return what came of them.

        They are on disk then, or undone. Where that would mean to wait, for other writers or for a
        slow disk, none is done: submit those that are left. It spares the change of threads, which
        costs more than most works. One thread at a time may ask.
        """
        with self._door:
            if self._closed or self._busy or not self._queue.empty():
                return ()
        return self._brief.attempt(works)

    def close(self) -> None:
        """Refuse further works, finish those that were accepted, and end the thread."""
        with self._door:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()
        self._brief.close()

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
        writer = _Writer(self.workspace, waits=True, seconds=GROUP_SECONDS)
        try:
            while group := self._gathered():
                self._busy = True
                # A work that was cancelled is skipped; from here on it cannot be.
                group = [one for one in group if one.future.set_running_or_notify_cancel()]
                while group:
                    group = _committed(writer, group)
                self._busy = False
        finally:
            writer.let_go()

    def _gathered(self) -> list[_Waiting]:
        """Wait for works and take the first ones; none is left once this is closed."""
        group: list[_Waiting] = []
        one = self._queue.get()
        while one is not None:
            group.append(one)
            if len(group) == self.together or self._queue.empty():
                return group
            one = self._queue.get()
        if group:
            # The end waits for its turn.
            self._queue.put(None)
        return group


class _Brief:
    """Commits on the thread of whoever asks, as long as that is a matter of a moment."""

    def __init__(self, workspace: Workspace) -> None:
        # A database behind a network is waited for in any case.
        self._is_here = workspace.engine.dialect.name == "sqlite"
        self._writer = _Writer(workspace, waits=False, seconds=BRIEF_GROUP_SECONDS)
        self._slow = 0
        self._resting_until = 0.0

    def attempt(self, works: Sequence[Callable[[Transaction], Any]]) -> Sequence[Outcome]:
        began = time.monotonic()
        if not self._is_here or began < self._resting_until:
            return ()
        outcomes = [Outcome(work) for work in works]
        try:
            done = self._writer.commit(outcomes)
        except DatabaseBusy:
            self._rest()
            return ()
        except BaseException as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            return [Outcome(work, error=_own(error)) for work in works]
        self._note(time.monotonic() - began, done)
        return outcomes[:done]

    def close(self) -> None:
        self._writer.let_go()

    def _note(self, seconds: float, works: int) -> None:
        """Rest once several transactions in a row took long; a single one may have tidied up."""
        self._slow = self._slow + 1 if seconds > BRIEF_SECONDS * max(works, 1) else 0
        if self._slow == SLOW_IN_A_ROW:
            self._rest()

    def _rest(self) -> None:
        self._slow = 0
        self._resting_until = time.monotonic() + REST_SECONDS


def _committed(writer: _Writer, group: list[_Waiting]) -> list[_Waiting]:
    """Do works in one transaction, answer, and return those that time did not allow."""
    try:
        done = writer.commit([one.work for one in group])
    except BaseException as error:  # noqa: BLE001 - whatever it is, somebody waits for it
        for one in group:
            one.future.set_exception(_own(error))
        return []
    for one in group[:done]:
        one.answer()
    return group[done:]


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
