"""Group commit: one transaction for many works, each answered only once it is on disk."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from everfit.errors import DatabaseBusy, EverfitError, Overloaded, StorageFull, Unavailable
from everfit.kernel import (
    Committer,
    ManualClock,
    Transaction,
    Workspace,
    load_settings,
    open_workspace,
)

Work = Callable[[Transaction], object]
Start = Callable[..., subprocess.Popen[str]]


def write(subject: str, size: int = 0) -> Work:
    return lambda tx: tx.record("counted", subject, ballast="x" * size)


def written(workspace: Workspace) -> list[str]:
    with workspace.reading() as tx:
        return [event.subject for event in tx.events("counted")]


@contextmanager
def gathering(committer: Committer) -> Iterator[None]:
    """Keep the committer busy while the block runs: what is submitted in it gathers."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(_tx: Transaction) -> bool:
        begun.set()
        return go_on.wait(10)

    waiting = committer.submit(wait)
    assert begun.wait(10)
    try:
        yield
    finally:
        go_on.set()
    assert waiting.result(10)


def submit_together(committer: Committer, *works: Work) -> list[Future[object]]:
    with gathering(committer):
        return [committer.submit(work) for work in works]


def test_works_are_done_in_order_each_at_its_own_time(
    any_workspace: Workspace, clock: ManualClock
) -> None:
    started = clock.now()

    def second_later(subject: str) -> Work:
        def work(tx: Transaction) -> object:
            clock.advance(timedelta(seconds=1))
            return write(subject)(tx)

        return work

    names = [str(number) for number in range(20)]
    with Committer(any_workspace) as committer:
        futures = submit_together(committer, *map(second_later, names))
        assert [future.result(10) for future in futures] == list(range(1, 21))
    with any_workspace.reading() as tx:
        found = [(event.subject, event.at - started) for event in tx.events("counted")]
    assert found == [(name, timedelta(seconds=second)) for second, name in enumerate(names)]


@pytest.mark.parametrize("together", [1, 100])
def test_a_work_that_raises_is_undone_alone(any_workspace: Workspace, together: int) -> None:
    def breaks(error: BaseException) -> Work:
        def work(tx: Transaction) -> object:
            write("lost")(tx)
            raise error

        return work

    def repeats_a_row(tx: Transaction) -> object:
        write("lost")(tx)
        return tx.connection.exec_driver_sql("INSERT INTO ledger SELECT * FROM ledger")

    works = [
        write("first"),
        breaks(ValueError("no")),
        write("second"),
        repeats_a_row,
        # Nothing that a work raises ends the thread others wait for.
        breaks(SystemExit("stop")),
        breaks(StorageFull("no room in the blobs", hint="Free some.")),
        write("third"),
    ]
    with Committer(any_workspace, together=together) as committer:
        futures = submit_together(committer, *works)
        errors = [type(future.exception(10)) for future in futures]
    nothing = type(None)
    kinds = [nothing, ValueError, nothing, sa.exc.IntegrityError, SystemExit, StorageFull, nothing]
    assert errors == kinds
    assert written(any_workspace) == ["first", "second", "third"]


@pytest.mark.parametrize("together", [1, 100])
def test_a_work_that_swallows_a_database_error_is_never_answered_in_vain(
    any_workspace: Workspace, together: int
) -> None:
    # Postgres ends the transaction at the first error, and turns the commit into a rollback.
    def swallows(tx: Transaction) -> object:
        write("doubtful")(tx)
        with pytest.raises(sa.exc.IntegrityError):
            tx.connection.exec_driver_sql("INSERT INTO ledger SELECT * FROM ledger")
        return None

    with Committer(any_workspace, together=together) as committer:
        works = [write("before"), swallows, write("after")]
        before, doubtful, after = submit_together(committer, *works)
        kept = ["doubtful"] if doubtful.exception(10) is None else []
        assert before.exception(10) is after.exception(10) is None
    assert written(any_workspace) == ["before", *kept, "after"]


def test_a_commit_that_fails_fails_every_work_of_it(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        tx.connection.exec_driver_sql("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        # Deferred: only the commit finds out that there is no such parent.
        tx.connection.exec_driver_sql(
            "CREATE TABLE orphans (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)"
        )

    def orphan(tx: Transaction) -> object:
        return tx.connection.exec_driver_sql("INSERT INTO orphans VALUES (7)")

    with Committer(any_workspace) as committer:
        futures = submit_together(committer, write("first"), orphan, write("second"))
        errors = [future.exception(10) for future in futures]
        assert all(isinstance(error, sa.exc.IntegrityError) for error in errors)
        assert written(any_workspace) == []
        committer.submit(write("later")).result(10)
    assert written(any_workspace) == ["later"]


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(200_000, id="while-it-commits"),
        # More than SQLite keeps in memory: it writes, fails and undoes everything in a statement.
        pytest.param(3_000_000, id="within-a-work"),
    ],
)
def test_on_a_full_disk_all_are_refused_and_later_ones_are_taken(
    small_disk: Path, clock: ManualClock, size: int
) -> None:
    settings = load_settings(small_disk / "project", environment={})
    workspace = open_workspace(settings, clock=clock)
    with Committer(workspace) as committer:
        committer.submit(write("kept")).result(10)
        works = [write("small"), *[write("large", size)] * 5, write("small")]
        for future in submit_together(committer, *works):
            with pytest.raises(StorageFull, match="no room left"):
                future.result(10)
        committer.submit(write("later")).result(10)
    assert written(workspace) == ["kept", "later"]
    workspace.close()


def test_a_refused_write_fails_the_group_and_leaves_nothing_of_it(
    tmp_path: Path, clock: ManualClock, limited_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    workspace = open_workspace(load_settings(tmp_path / "project", environment={}), clock=clock)
    with Committer(workspace) as committer:
        committer.submit(write("kept")).result(10)
        log = max(file.stat().st_size for file in workspace.home.glob("*-wal"))
        with limited_files(log + 10_000):
            futures = submit_together(committer, write("a"), write("b", 50_000), write("c"))
            errors = [future.exception(10) for future in futures]
        assert all(isinstance(error, Unavailable) for error in errors)
        # Each thread raises an error of its own: raising writes into it.
        assert len({id(error) for error in errors}) == 3
        committer.submit(write("later")).result(10)
    assert written(workspace) == ["kept", "later"]
    workspace.close()


def test_a_connection_that_breaks_fails_the_group_and_the_next_one_gets_another(
    postgres_url: str, tmp_path: Path, clock: ManualClock
) -> None:
    environment = {"EVERFIT_DATABASE_URL": postgres_url}
    settings = load_settings(tmp_path / "project", environment=environment)
    workspace = open_workspace(settings, clock=clock)

    def ends_the_connection(tx: Transaction) -> object:
        return tx.connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    with Committer(workspace) as committer:
        works = [write("first"), ends_the_connection, write("second")]
        for future in submit_together(committer, *works):
            with pytest.raises(Unavailable, match="terminating connection"):
                future.result(10)
        committer.submit(write("later")).result(10)
    assert written(workspace) == ["later"]
    workspace.close()


def test_a_database_that_another_process_holds_refuses_all_that_waited(
    any_workspace: Workspace, tmp_path: Path, start_child: Start
) -> None:
    with any_workspace.transaction() as tx:
        tx.record("opened", "ledger")
    settings = replace(any_workspace.settings, busy_seconds=0.3)
    impatient = open_workspace(settings, durable=False)
    holder = start_child("hold", tmp_path / "project", settings.database_url)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with Committer(impatient) as committer:
        futures = [committer.submit(write("refused")) for _ in range(3)]
        for future in futures:
            with pytest.raises(DatabaseBusy, match="another process"):
                future.result(10)
        holder.communicate()
        committer.submit(write("later")).result(10)
    assert written(impatient) == ["later"]
    impatient.close()


def test_killed_processes_lose_nothing_they_acknowledged(
    any_workspace: Workspace, tmp_path: Path, start_child: Start
) -> None:
    url = any_workspace.engine.url.render_as_string(hide_password=False)
    assert start_child("submit", tmp_path / "project", url, 3, 5).wait(60) == 0
    acknowledged = (tmp_path / "project" / "acknowledged").read_text().splitlines()
    found = written(any_workspace)
    assert len(acknowledged) > 100
    assert len(set(found)) == len(found)
    assert set(acknowledged) <= set(found)


def test_what_is_acknowledged_can_be_read_at_once(any_workspace: Workspace) -> None:
    with Committer(any_workspace) as committer, ThreadPoolExecutor(4) as pool:

        def writes(thread: int) -> None:
            for number in range(20):
                name = f"{thread}-{number}"
                committer.submit(write(name)).result(10)
                assert name in written(any_workspace)

        for done in [pool.submit(writes, thread) for thread in range(4)]:
            done.result()


def test_past_the_bound_works_are_refused_at_once(workspace: Workspace) -> None:
    with Committer(workspace, waiting=2) as committer:
        with gathering(committer):
            taken = [committer.submit(write(name)) for name in ("one", "two")]
            started = time.monotonic()
            with pytest.raises(Overloaded, match="2 writes wait") as caught:
                committer.submit(write("three"))
            assert time.monotonic() - started < 1
        assert "retry" in caught.value.hint
        for future in taken:
            future.result(10)
        committer.submit(write("four")).result(10)
    assert written(workspace) == ["one", "two", "four"]


def test_a_work_cancelled_in_time_is_not_begun(workspace: Workspace) -> None:
    with Committer(workspace) as committer:
        with gathering(committer):
            kept, cancelled = committer.submit(write("kept")), committer.submit(write("cancelled"))
            assert cancelled.cancel()
        kept.result(10)
        with pytest.raises(CancelledError):
            cancelled.result(10)
    assert written(workspace) == ["kept"]


def test_slow_works_do_not_hold_the_database_for_ever(workspace: Workspace) -> None:
    def slow(_tx: Transaction) -> None:
        time.sleep(0.3)

    with Committer(workspace) as committer:
        with gathering(committer):
            first = committer.submit(slow)
            answered = committer.submit(lambda _tx: first.done())
        # The second had to wait for a transaction of its own.
        assert answered.result(10) is True


def test_closing_finishes_what_was_accepted_and_refuses_the_rest(any_workspace: Workspace) -> None:
    names = [str(number) for number in range(50)]
    committer = Committer(any_workspace, together=20)
    with committer:
        futures = [committer.submit(write(name)) for name in names]
    assert all(future.done() for future in futures)
    assert written(any_workspace) == names
    with pytest.raises(EverfitError, match="stopping"):
        committer.submit(write("late"))
    committer.close()


def test_brief_works_are_done_at_once_each_by_itself(workspace: Workspace) -> None:
    def breaks(tx: Transaction) -> object:
        write("lost")(tx)
        raise ValueError("no")

    with Committer(workspace) as committer:
        first, broken, second = committer.attempt([write("first"), breaks, write("second")])
        # Nobody waits for the thread: what is returned is on disk.
        assert written(workspace) == ["first", "second"]
    assert (first.result, first.error, second.result) == (1, None, 2)
    assert isinstance(broken.error, ValueError)


def test_brief_works_never_wait_for_a_writer(workspace: Workspace) -> None:
    with Committer(workspace) as committer:
        with workspace.transaction() as tx:
            write("other")(tx)
            began = time.monotonic()
            assert not committer.attempt([write("brief")])
            assert time.monotonic() - began < 1
        with gathering(committer):
            assert not committer.attempt([write("brief")])
        assert committer.submit(write("submitted")).result(10)
    assert written(workspace) == ["other", "submitted"]
    assert not committer.attempt([write("closed")])


def test_brief_works_come_back_once_the_writer_is_gone(workspace: Workspace) -> None:
    with Committer(workspace) as committer:
        with workspace.transaction():
            assert not committer.attempt([write("brief")])
        deadline = time.monotonic() + 10
        while not committer.attempt([write("brief")]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert written(workspace) == ["brief"]


def test_brief_works_leave_a_slow_disk_to_the_thread(workspace: Workspace) -> None:
    def slow(tx: Transaction) -> object:
        time.sleep(0.01)
        return write("slow")(tx)

    with Committer(workspace) as committer:
        taken = [len(committer.attempt([slow])) for _ in range(4)]
    assert taken == [1, 1, 1, 0]


def test_a_brief_transaction_is_short_and_leaves_the_rest(workspace: Workspace) -> None:
    def slow(tx: Transaction) -> object:
        time.sleep(0.03)
        return write("slow")(tx)

    with Committer(workspace) as committer:
        done = committer.attempt([slow, write("left")])
    assert [outcome.result for outcome in done] == [1]
    assert written(workspace) == ["slow"]


@pytest.mark.parametrize("any_workspace", ["postgres"], indirect=True)
def test_a_database_behind_a_network_is_left_to_the_thread(any_workspace: Workspace) -> None:
    with Committer(any_workspace) as committer:
        assert not committer.attempt([write("brief")])


def test_a_brief_transaction_that_fails_fails_every_work_of_it(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        tx.connection.exec_driver_sql("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        tx.connection.exec_driver_sql(
            "CREATE TABLE orphans (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)"
        )

    def orphan(tx: Transaction) -> object:
        return tx.connection.exec_driver_sql("INSERT INTO orphans VALUES (7)").rowcount

    with Committer(workspace) as committer:
        outcomes = committer.attempt([write("first"), orphan])
        assert all(outcome.error is not None for outcome in outcomes)
        # The next ones are not held up by it.
        assert [outcome.error for outcome in committer.attempt([write("next")])] == [None]
    assert written(workspace) == ["next"]
