"""A journal of Arrow messages: torn tails, damage, several schemas, full disks, killed writers."""

from __future__ import annotations

import io
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from everfit.data import Constant, TableStream, decode_frame
from everfit.errors import Invalid, LedgerBroken, StorageFull
from everfit.kernel import ARROW, Journal, Position, frames, trim
from everfit.kernel.framing import Arrow

Limited = Callable[[int], AbstractContextManager[None]]
ONE = TableStream({"number": pl.Int64(), "text": pl.String()})
OTHER = TableStream({"number": pl.Int64(), "text": pl.String(), "more": pl.Float64()})


def opened(folder: Path, segment_bytes: int = 2**20, *, durable: bool = False) -> Journal:
    return Journal(folder, writer="w", durable=durable, segment_bytes=segment_bytes, framing=ARROW)


def message(number: int, text: str = "", *, stream: TableStream = ONE) -> bytes:
    more = [Constant(None)] * (len(stream.schema) - 2)
    return stream.of_columns([[number], [text], *more], 1)


def append(journal: Journal, *numbers: int, stream: TableStream = ONE) -> None:
    for number in numbers:
        journal.append(message(number, stream=stream), preamble=stream.preamble)


def numbers(folder: Path, after: Position | None = None) -> list[int]:
    found = frames(folder, {} if after is None else {"w": after})
    return [number for frame in found for number in decode_frame(frame.payload)["number"]]


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "w").glob("*.arrows"))


def foreign(folder: Path) -> list[int]:
    """Return the numbers as Polars and Arrow's own library read them from the files."""
    own = [number for file in segments(folder) for number in pl.read_ipc_stream(file)["number"]]
    for file in segments(folder):
        pa.ipc.open_stream(file).read_all().validate(full=True)
    tables = [pa.ipc.open_stream(file).read_all() for file in segments(folder)]
    assert [number for table in tables for number in table["number"].to_pylist()] == own
    return own


@pytest.mark.parametrize("tail", ["", "zeros", "garbage"])
def test_a_tail_torn_at_any_byte_is_ignored_then_cut_off(tmp_path: Path, tail: str) -> None:
    with opened(tmp_path / "whole") as journal:
        append(journal, 1, 2, 3)
    (segment,) = segments(tmp_path / "whole")
    content = segment.read_bytes()
    behind = {"": b"", "zeros": bytes(5000), "garbage": b"\xff" * 50}[tail]
    size = len(message(3))
    torn = tmp_path / "torn"
    for cut in range(len(content) - size, len(content) + 1, 1 if not tail else 7):
        (torn / "w").mkdir(parents=True)
        (torn / "w" / segment.name).write_bytes(content[:cut] + behind)
        sound = [1, 2] if cut < len(content) else [1, 2, 3]
        assert numbers(torn) == sound
        with opened(torn) as journal:
            append(journal, 4)
        assert numbers(torn) == foreign(torn) == [*sound, 4]
        shutil.rmtree(torn)


def test_a_segment_torn_before_its_first_message_is_empty(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        append(journal, 1)
    (segment,) = segments(tmp_path)
    content = segment.read_bytes()
    for cut in range(0, len(ONE.preamble) + 9, 5):
        segment.write_bytes(content[:cut])
        assert numbers(tmp_path) == []
        with opened(tmp_path) as journal:
            append(journal, 2)
        assert numbers(tmp_path) == [2]
        segments(tmp_path)[-1].unlink()


def test_what_others_read_while_the_writer_is_at_work(tmp_path: Path) -> None:
    with opened(tmp_path, durable=True) as journal:
        for number in range(20):
            append(journal, number)
            assert foreign(tmp_path) == numbers(tmp_path) == list(range(number + 1))


def test_a_segment_is_the_preamble_and_its_messages(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        append(journal, 1, 2)
    (segment,) = segments(tmp_path)
    assert segment.name == "00000001.arrows"
    assert segment.read_bytes() == ONE.preamble + message(1) + message(2)
    assert message(1)[-4:] == b"Evft"


@pytest.mark.parametrize("at", [30, -1, -3, -8, -10, -200])
def test_damage_before_other_frames_is_reported(tmp_path: Path, at: int) -> None:
    """In the preamble too: each message's checksum begins with it."""
    with opened(tmp_path, 1) as journal:
        append(journal, 1, 2, 3)
    middle = segments(tmp_path)[1]
    content = bytearray(middle.read_bytes())
    content[at] ^= 0x10
    middle.write_bytes(content)
    with pytest.raises(LedgerBroken, match=middle.name):
        numbers(tmp_path)


def test_another_schema_begins_another_segment(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        append(journal, 1, 2)
        append(journal, 3, stream=OTHER)
        append(journal, 4)
    assert [len(pl.read_ipc_stream(file)) for file in segments(tmp_path)] == [2, 1, 1]
    assert numbers(tmp_path) == foreign(tmp_path) == [1, 2, 3, 4]


def test_a_message_below_the_preamble_of_another_stream_is_unsound(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        append(journal, 1)
        journal.append(message(2), preamble=OTHER.preamble)
        append(journal, 3)
    with pytest.raises(LedgerBroken, match="00000002"):
        numbers(tmp_path)


def test_threads_with_two_schemas_append_at_once(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:

        def work(thread: int) -> None:
            stream = OTHER if thread % 2 else ONE
            append(journal, *range(100 * thread, 100 * thread + 25), stream=stream)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = numbers(tmp_path)
    assert foreign(tmp_path) == found
    for hundred in range(0, 800, 100):
        own = [number for number in found if hundred <= number < hundred + 100]
        assert own == list(range(hundred, hundred + 25))


def test_many_messages_are_one_payload_and_reading_goes_on_behind_it(tmp_path: Path) -> None:
    with opened(tmp_path, 10_000) as journal:
        append(journal, *range(100))
    found = list(frames(tmp_path))
    assert len(found) == len(segments(tmp_path)) > 2
    seen: list[int] = []
    for frame in found:
        seen += decode_frame(frame.payload)["number"].to_list()
        assert numbers(tmp_path, frame.position) == list(range(len(seen), 100))
    assert seen == list(range(100))
    assert trim(tmp_path, {"w": found[1].position}) == 2
    assert numbers(tmp_path, found[1].position) == numbers(tmp_path)


def test_a_payload_has_a_bound(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        append(journal, *range(10))
    (segment,) = segments(tmp_path)
    size = len(message(0))
    found = list(Arrow(2 * size).read(segment, 0))
    begin = len(ONE.preamble)
    assert [end for end, _ in found] == [begin + 2 * size * count for count in range(1, 6)]
    parts = [decode_frame(payload)["number"].to_list() for _, payload in found]
    assert parts == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


def test_several_messages_are_one_append(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.append(message(1) + message(2), preamble=ONE.preamble)
    assert numbers(tmp_path) == foreign(tmp_path) == [1, 2]


@pytest.mark.parametrize("payload", [b"", b"Evft", b"x" * 100])
def test_what_is_no_message_is_refused(tmp_path: Path, payload: bytes) -> None:
    with opened(tmp_path) as journal, pytest.raises(Invalid, match="no message with a trailer"):
        journal.append(payload, preamble=ONE.preamble)
    assert segments(tmp_path) == []


def test_a_limit_in_the_middle_of_a_message_leaves_nothing_of_it(
    tmp_path: Path, limited_files: Limited
) -> None:
    with opened(tmp_path) as journal:
        with limited_files(100), pytest.raises(StorageFull, match="no room"):
            append(journal, 0)
        assert segments(tmp_path) == []
        append(journal, 1)
        size = segments(tmp_path)[0].stat().st_size
        with limited_files(size + 100), pytest.raises(StorageFull, match="no room"):
            append(journal, 2)
        assert segments(tmp_path)[0].stat().st_size == size
        append(journal, 3)
        assert len(segments(tmp_path)) == 1
        # Of two messages the first is whole, so that a reader may stand behind it.
        with limited_files(size + 2 * len(message(3)) + 50), pytest.raises(StorageFull):
            journal.append(message(4) + message(5), preamble=ONE.preamble)
        append(journal, 6)
        assert len(segments(tmp_path)) == 2
    assert numbers(tmp_path) == foreign(tmp_path) == [1, 3, 6]


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    acknowledged = []

    def fill(journal: Journal) -> None:
        for number in range(1000):
            text = "x" * 10_000
            journal.append(message(number, text), preamble=ONE.preamble)
            acknowledged.append(number)

    with opened(small_disk, 100_000, durable=True) as journal:
        with pytest.raises(StorageFull):
            fill(journal)
        for _ in range(50):
            with pytest.raises(StorageFull):
                journal.append(message(-1, "x" * 500_000), preamble=ONE.preamble)
        assert numbers(small_disk) == foreign(small_disk) == acknowledged
        assert len(segments(small_disk)) < 10
        ballast.unlink()
        append(journal, -2)
    assert numbers(small_disk) == foreign(small_disk) == [*acknowledged, -2]


def test_a_reader_that_was_ahead_of_a_lost_tail_misses_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        append(journal, 1, 2)
    ahead = list(frames(tmp_path))[-1].position
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-5])
    with opened(tmp_path) as journal:
        append(journal, 3)
    assert numbers(tmp_path, ahead) == [3]


def test_frames_of_bytes_that_were_there_before_are_read_too(tmp_path: Path) -> None:
    with Journal(tmp_path, writer="w", durable=False) as journal:
        journal.append(b"bytes")
    with opened(tmp_path) as journal:
        append(journal, 1)
    first, second = frames(tmp_path)
    assert (first.payload, second.position.segment) == (b"bytes", 2)


def test_killed_writers_lose_nothing_they_acknowledged(
    tmp_path: Path, start_child: Callable[..., subprocess.Popen[str]]
) -> None:
    """Before and after the next writer opened the journal; what it cut off, others can read."""
    assert start_child("append_messages", tmp_path, 1, 10).wait(60) == 0
    acknowledged = set(map(int, (tmp_path / "acknowledged").read_bytes().split()))
    found = numbers(tmp_path / "journal")
    assert len(acknowledged) > 100
    assert len(set(found)) == len(found)
    assert acknowledged <= set(found)
    opened(tmp_path / "journal").close()
    assert foreign(tmp_path / "journal") == found


def test_what_is_read_is_one_stream_for_every_library(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        append(journal, *range(5))
    (frame,) = frames(tmp_path)
    assert pl.read_ipc_stream(io.BytesIO(frame.payload)).height == 5
    assert pa.ipc.open_stream(frame.payload).read_all().num_rows == 5
