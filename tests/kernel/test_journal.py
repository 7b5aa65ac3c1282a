"""The journal: the contract, torn tails, full disks, killed writers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everfit.errors import LedgerBroken, StorageFull, Unavailable
from everfit.kernel import Frame, Journal, Position, frames, trim
from everfit.kernel.framing import HEADER
from everfit.testing.journal import JournalContract, Open, Read

Limited = Callable[[int], AbstractContextManager[None]]


class TestJournal(JournalContract):
    @pytest.fixture
    def open_journal(self, tmp_path: Path) -> Open:
        return lambda writer: Journal(tmp_path / "journal", writer=writer, segment_bytes=100)

    @pytest.fixture
    def read(self, tmp_path: Path) -> Read:
        def read(after: Mapping[str, Position]) -> Iterator[Frame]:
            return frames(tmp_path / "journal", after)

        return read


def payloads(folder: Path) -> list[bytes]:
    return [frame.payload for frame in frames(folder)]


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "w").glob("*.log"))


@settings(max_examples=10, deadline=None)
@given(written=st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=3))
def test_a_tail_torn_at_any_byte_is_ignored_then_cut_off(written: list[bytes]) -> None:
    with TemporaryDirectory() as temporary:
        whole, torn = Path(temporary, "whole"), Path(temporary, "torn")
        with Journal(whole, writer="w", durable=False) as journal:
            for payload in written:
                journal.append(payload)
        ends = [frame.position.offset for frame in frames(whole)]
        (segment,) = segments(whole)
        content = segment.read_bytes()
        for cut in range(len(content) + 1):
            (torn / "w").mkdir(parents=True)
            (torn / "w" / segment.name).write_bytes(content[:cut])
            sound = written[: sum(end <= cut for end in ends)]
            assert payloads(torn) == sound
            with Journal(torn, writer="w", durable=False) as journal:
                journal.append(b"next")
            assert payloads(torn) == [*sound, b"next"]
            shutil.rmtree(torn)


@settings(max_examples=50, deadline=None)
@given(tail=st.binary(min_size=1, max_size=60))
@pytest.mark.parametrize("zeros", [False, True])
def test_garbage_behind_the_last_frame_is_no_frame(zeros: bool, tail: bytes) -> None:
    tail = bytes(len(tail)) if zeros else tail
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with Journal(folder, writer="w", durable=False) as journal:
            journal.append(b"sound")
        with segments(folder)[0].open("ab") as file:
            file.write(tail)
        assert payloads(folder) == [b"sound"]
        with Journal(folder, writer="w", durable=False) as journal:
            journal.append(b"next")
        assert payloads(folder) == [b"sound", b"next"]


def test_a_changed_frame_among_others_is_reported(tmp_path: Path) -> None:
    with Journal(tmp_path, writer="w", segment_bytes=1) as journal:
        for payload in (b"one", b"two", b"three"):
            journal.append(payload)
    middle = segments(tmp_path)[1]
    middle.write_bytes(middle.read_bytes()[:-1] + b"!")
    reading = frames(tmp_path)
    assert next(reading).payload == b"one"
    with pytest.raises(LedgerBroken, match=middle.name):
        next(reading)


def test_frames_are_laid_out_as_documented(tmp_path: Path) -> None:
    with Journal(tmp_path, writer="w") as journal:
        journal.append(b"123456789")
    (segment,) = segments(tmp_path)
    assert segment.name == "00000001.log"
    # 0xCBF43926 is the published check value of CRC-32 for these nine digits.
    assert segment.read_bytes() == HEADER.pack(9, 0xCBF43926) + b"123456789"


def test_a_torn_header_that_claims_gigabytes_is_no_frame(tmp_path: Path) -> None:
    with Journal(tmp_path, writer="w") as journal:
        journal.append(b"sound")
    with segments(tmp_path)[0].open("ab") as file:
        file.write(HEADER.pack(2**32 - 1, 0) + b"short")
    assert payloads(tmp_path) == [b"sound"]


def test_segments_rotate_and_trim_deletes_only_what_was_read(tmp_path: Path) -> None:
    with Journal(tmp_path, writer="w", segment_bytes=50) as journal:
        for number in range(20):
            journal.append(b"payload %02d" % number)
        found = list(frames(tmp_path))
        assert len(segments(tmp_path)) > 3
        assert trim(tmp_path, {"w": Position(segment=1, offset=1)}) == 0
        assert trim(tmp_path, {"other": found[-1].position}) == 0
        middle = found[9]
        assert trim(tmp_path, {"w": middle.position}) > 0
        assert list(frames(tmp_path, {"w": middle.position})) == found[10:]
        trim(tmp_path, {"w": found[-1].position})
        assert len(segments(tmp_path)) == 1
        journal.append(b"goes on")
    assert [f.payload for f in frames(tmp_path, {"w": found[-1].position})] == [b"goes on"]


def test_a_limit_in_the_middle_of_a_frame_leaves_nothing_of_it(
    tmp_path: Path, limited_files: Limited
) -> None:
    with Journal(tmp_path, writer="w") as journal:
        journal.append(b"first")
        with limited_files(100), pytest.raises(StorageFull, match="no room"):
            journal.append(b"x" * 200)
        assert segments(tmp_path)[0].stat().st_size == HEADER.size + 5
        journal.append(b"y" * 200)
    assert payloads(tmp_path) == [b"first", b"y" * 200]


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    acknowledged = []

    def fill(journal: Journal) -> None:
        for number in range(1000):
            payload = number.to_bytes(2, "big") * 5000
            journal.append(payload)
            acknowledged.append(payload)

    with Journal(small_disk, writer="w", segment_bytes=100_000) as journal:
        with pytest.raises(StorageFull):
            fill(journal)
        for _ in range(50):
            with pytest.raises(StorageFull):
                journal.append(bytes(500_000))
        assert payloads(small_disk) == acknowledged
        assert len(segments(small_disk)) < 10
        ballast.unlink()
        journal.append(b"room again")
    assert payloads(small_disk) == [*acknowledged, b"room again"]


def test_a_reader_that_was_ahead_of_a_lost_tail_misses_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path, writer="w") as journal:
        journal.append(b"kept")
        journal.append(b"read, then lost with the power")
    ahead = list(frames(tmp_path))[-1].position
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-5])
    with Journal(tmp_path, writer="w") as journal:
        journal.append(b"x" * 100)
    assert [frame.payload for frame in frames(tmp_path, {"w": ahead})] == [b"x" * 100]


def test_killed_writers_lose_nothing_they_acknowledged(
    tmp_path: Path, start_child: Callable[..., subprocess.Popen[str]]
) -> None:
    assert start_child("append", tmp_path, 1, 10).wait(60) == 0
    acknowledged = (tmp_path / "acknowledged").read_bytes().splitlines()
    found = [payload.rstrip(b"\0") for payload in payloads(tmp_path / "journal")]
    assert len(acknowledged) > 100
    assert len(set(found)) == len(found)
    assert set(acknowledged) <= set(found)


def test_syncing_disturbs_neither_appending_nor_trimming(tmp_path: Path) -> None:
    with Journal(tmp_path, writer="w", durable=False, segment_bytes=100) as journal:
        journal.sync()
        for number in range(30):
            journal.append(b"x" * (number + 1))
            if number % 10 == 5:
                trim(tmp_path, {"w": list(frames(tmp_path))[-1].position})
            if number % 7 == 0:
                journal.sync()
        last = [len(payload) for payload in payloads(tmp_path)]
    assert last == list(range(31 - len(last), 31))
    assert list(frames(tmp_path, writers=["other"])) == []


def test_an_abandoned_journal_takes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, writer="w", durable=False)
    journal.append(b"before")
    journal.abandon()
    with pytest.raises(Unavailable, match="forked"):
        journal.append(b"after")
    assert payloads(tmp_path) == [b"before"]
