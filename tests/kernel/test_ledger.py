"""The ledger: no row can be touched unnoticed, and writers never part the chain."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from everfit.kernel import Workspace, load_settings, open_workspace, verify
from everfit.kernel.ledger import digest_of

LENGTH = 8
TEXTS = ("kind", "subject", "actor", "data", "previous", "digest")
numbers = st.integers(1, LENGTH)
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
edits = st.one_of(
    st.tuples(st.sampled_from(TEXTS), texts),
    st.tuples(st.just("at"), st.integers(-(2**62), 2**62)),
)

Tamper = Callable[[sa.Connection], None]


def write_chain(workspace: Workspace) -> None:
    for number in range(LENGTH):
        with workspace.transaction() as tx:
            tx.record("counted", f"subject {number}", number=number, share=number / 3)


def broken_rows(workspace: Workspace, tamper: Tamper) -> set[int]:
    """Return the rows that verify names after ``tamper``, which is then undone."""
    with workspace.engine.connect() as connection:
        tamper(connection)
        return {found.number for found in verify(connection, workspace.project)}


def update(connection: sa.Connection, at_number: int, **values: Any) -> None:
    names = ", ".join(f"{name} = :{name}" for name in values)
    statement = sa.text(f"UPDATE ledger SET {names} WHERE number = :at_number")  # noqa: S608
    connection.execute(statement, {**values, "at_number": at_number})


def row_at(connection: sa.Connection, number: int) -> dict[str, Any]:
    query = sa.text("SELECT * FROM ledger WHERE number = :number")
    return dict(connection.execute(query, {"number": number}).mappings().one())


property_test = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def test_untouched_rows_verify_and_come_back(any_workspace: Workspace) -> None:
    write_chain(any_workspace)
    with any_workspace.reading() as tx:
        assert verify(tx.connection, tx.project) == []
        events = tx.events("counted")
        assert [event.data["number"] for event in events] == list(range(LENGTH))
        assert [event.number for event in tx.events(subject="subject 3")] == [4]
        assert [event.number for event in tx.events(after=6)] == [7, 8]
        assert events[0].at == tx.now


def test_an_edit_is_found_and_named(any_workspace: Workspace) -> None:
    write_chain(any_workspace)

    @property_test
    @given(number=numbers, edit=edits)
    def check(number: int, edit: tuple[str, str | int]) -> None:
        name, value = edit

        def tamper(connection: sa.Connection) -> None:
            assume(row_at(connection, number)[name] != value)
            update(connection, number, **{name: value})

        assert number in broken_rows(any_workspace, tamper)

    check()


def test_an_edit_with_its_digest_made_to_fit_is_found_at_the_next_row(
    any_workspace: Workspace,
) -> None:
    write_chain(any_workspace)

    @property_test
    @given(number=numbers, edit=edits)
    def check(number: int, edit: tuple[str, str | int]) -> None:
        name, value = edit
        assume(name not in ("digest", "previous"))

        def tamper(connection: sa.Connection) -> None:
            row = row_at(connection, number)
            assume(row[name] != value)
            row[name] = value
            update(connection, number, **{name: value, "digest": digest_of(row)})

        assert broken_rows(any_workspace, tamper) == {min(number + 1, LENGTH)}

    check()


@pytest.mark.parametrize("number", range(1, LENGTH + 1))
def test_a_removed_row_is_named(workspace: Workspace, number: int) -> None:
    write_chain(workspace)

    def remove(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"DELETE FROM ledger WHERE number = {number}")  # noqa: S608

    assert broken_rows(workspace, remove) == {number}


@pytest.mark.parametrize("number", range(LENGTH))
def test_a_tail_cut_behind_any_row_is_named(workspace: Workspace, number: int) -> None:
    write_chain(workspace)

    def cut(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"DELETE FROM ledger WHERE number > {number}")  # noqa: S608

    assert broken_rows(workspace, cut) == {number + 1}


def test_swapped_rows_are_both_named(any_workspace: Workspace) -> None:
    write_chain(any_workspace)

    @property_test
    @given(one=numbers, other=numbers)
    def check(one: int, other: int) -> None:
        assume(one != other)

        def swap(connection: sa.Connection) -> None:
            for before, after in ((one, -1), (other, one), (-1, other)):
                update(connection, before, number=after)

        assert {one, other} <= broken_rows(any_workspace, swap)

    check()


def test_a_head_that_was_moved_is_found(workspace: Workspace) -> None:
    write_chain(workspace)

    def forget(connection: sa.Connection) -> None:
        connection.exec_driver_sql("DELETE FROM ledger_heads")

    def repoint(connection: sa.Connection) -> None:
        connection.exec_driver_sql("UPDATE ledger_heads SET digest = 'x'")

    assert broken_rows(workspace, forget) == {1}
    assert broken_rows(workspace, repoint) == {LENGTH}


def chain(workspace: Workspace) -> list[int]:
    with workspace.reading() as tx:
        assert verify(tx.connection, tx.project) == []
        return [event.number for event in tx.events()]


def test_processes_share_one_gap_free_chain(
    any_workspace: Workspace, tmp_path: Path, start_child: Callable[..., subprocess.Popen[str]]
) -> None:
    url = any_workspace.engine.url.render_as_string(hide_password=False)
    assert start_child("record", tmp_path / "project", url, 4, 25).wait(60) == 0
    assert chain(any_workspace) == list(range(1, 101))


def test_processes_that_start_at_once_make_one_installation(
    tmp_path: Path, start_child: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "fresh"
    assert start_child("record", folder, "", 4, 5).wait(60) == 0
    workspace = open_workspace(load_settings(folder, environment={}))
    assert chain(workspace) == list(range(1, 21))
    workspace.close()


def test_threads_share_one_gap_free_chain_from_its_first_row(any_workspace: Workspace) -> None:
    together = threading.Barrier(4)

    def record() -> None:
        together.wait()
        for number in range(10):
            with any_workspace.transaction() as tx:
                tx.record("counted", "thread", number=number)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert chain(any_workspace) == list(range(1, 41))


def test_an_event_of_a_transaction_that_failed_never_was(any_workspace: Workspace) -> None:
    write_chain(any_workspace)

    def fail() -> None:
        with any_workspace.transaction() as tx:
            tx.record("counted", "lost")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert chain(any_workspace) == list(range(1, LENGTH + 1))
