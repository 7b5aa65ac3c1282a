"""What every journal must pass: ``everfit.kernel.Journal``, and one that follows it elsewhere.

Subclass ``JournalContract`` in a test module as ``TestMine`` and override its fixtures.
"""

# ruff: noqa: S101 - a test kit asserts

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from everfit.errors import Conflict, Invalid, Unavailable
from everfit.kernel import Frame, Position


class Writer(Protocol):
    """The writing side of a journal."""

    def append(self, payload: bytes) -> None:
        """Write one payload, durable on return."""
        ...

    def close(self) -> None:
        """Let go of the writer's name."""
        ...


Open = Callable[[str], AbstractContextManager[Writer]]
Read = Callable[[Mapping[str, Position]], Iterator[Frame]]


class JournalContract:
    """The guarantees of a journal, each as a test."""

    @pytest.fixture
    def open_journal(self) -> Open:
        """Return what opens the journal for a writer; its segments hold about 100 bytes."""
        raise NotImplementedError

    @pytest.fixture
    def read(self) -> Read:
        """Return what yields the frames behind the positions given."""
        raise NotImplementedError

    def test_payloads_come_back_in_order(self, open_journal: Open, read: Read) -> None:
        """Each writer's payloads are read in the order of its appends, over many segments."""
        payloads = [f"payload {number}".encode() for number in range(50)]
        with open_journal("one") as one, open_journal("two") as two:
            for payload in payloads:
                one.append(payload)
                two.append(payload[::-1])
        found = list(read({}))
        assert [frame.payload for frame in found if frame.writer == "one"] == payloads
        assert [frame.payload[::-1] for frame in found if frame.writer == "two"] == payloads

    def test_reading_goes_on_from_any_position(self, open_journal: Open, read: Read) -> None:
        """The position of a frame leads to exactly the frames behind it."""
        with open_journal("one") as one:
            for number in range(30):
                one.append(b"x" * (number + 1))
        found = list(read({}))
        for index, frame in enumerate(found):
            assert list(read({"one": frame.position})) == found[index + 1 :]

    def test_a_position_survives_the_next_opening(self, open_journal: Open, read: Read) -> None:
        """What is appended after reopening lies behind every earlier position."""
        with open_journal("one") as one:
            one.append(b"early")
        (early,) = read({})
        with open_journal("one") as one:
            one.append(b"late")
        assert [frame.payload for frame in read({"one": early.position})] == [b"late"]

    def test_a_name_has_one_live_writer(self, open_journal: Open) -> None:
        """A second writer of the name is refused until the first has closed."""
        with open_journal("one"), pytest.raises(Conflict), open_journal("one"):
            pass
        with open_journal("one") as one:
            one.append(b"free again")

    def test_threads_append_at_once(self, open_journal: Open, read: Read) -> None:
        """Concurrent appends are all there, once, and each thread's in its order."""
        with open_journal("one") as one:

            def work(thread: int) -> None:
                for number in range(25):
                    one.append(f"{thread} {number}".encode())

            threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        found = [tuple(map(int, frame.payload.split())) for frame in read({})]
        assert sorted(found) == [(number, count) for number in range(8) for count in range(25)]
        for number in range(8):
            assert [count for thread, count in found if thread == number] == list(range(25))

    def test_a_closed_journal_refuses(self, open_journal: Open) -> None:
        """An append after closing is an error, never a silent loss; closing twice is none."""
        with open_journal("one") as one:
            one.close()
            with pytest.raises(Unavailable):
                one.append(b"too late")

    @pytest.mark.parametrize("name", ["", "..", "a/b", "a b", ".hidden"])
    def test_a_name_that_leads_elsewhere_is_refused(self, open_journal: Open, name: str) -> None:
        """A writer's name cannot lead outside of the journal."""
        with pytest.raises(Invalid), open_journal(name):
            pass

    def test_an_empty_payload_is_refused(self, open_journal: Open, read: Read) -> None:
        """Nothing is no payload: a torn tail of zeros would look the same."""
        with open_journal("one") as one, pytest.raises(Invalid):
            one.append(b"")
        assert list(read({})) == []
