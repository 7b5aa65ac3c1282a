"""Room made ahead in the files of a journal: nobody who reads sees it, and it does not stay."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from everfit.data import TableStream
from everfit.errors import Unavailable
from everfit.kernel import ARROW, Journal, frames
from everfit.kernel.segment import LEAST_AHEAD, MOST_AHEAD, MOST_BYTES, Segment

STREAM = TableStream({"number": pl.Int64()})


def test_what_is_appended_stands_behind_one_another_with_zeros_behind_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    segment = Segment.begun(file, b"begin", durable=True)
    written = b"begin"
    for size in (1, 100, LEAST_AHEAD, 3, MOST_BYTES + 1, 7):
        content = bytes([size % 255 + 1]) * size
        segment.append(content)
        written += content
        held = file.read_bytes()
        assert held[: segment.end] == written
        assert not any(held[segment.end :])
    segment.close()
    assert file.read_bytes() == written


def test_the_file_does_not_grow_until_its_room_is_used_up(tmp_path: Path) -> None:
    file = tmp_path / "file"
    segment = Segment.begun(file, b"", durable=True)
    sizes = []
    for _ in range(LEAST_AHEAD // 64):
        segment.append(b"x" * 64)
        sizes.append(file.stat().st_size)
    # The first append makes room; all others but the last one find it.
    assert set(sizes[:-1]) == {sizes[0]}
    segment.let_go()


@pytest.mark.parametrize("content", [b"x" * 10, b"x" * 400_000, b"x" * (4 * MOST_AHEAD)])
def test_room_is_as_much_as_was_written_within_bounds(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    segment = Segment.begun(file, content, durable=True)
    segment.append(b"a little more")
    room = file.stat().st_size - segment.end
    assert room <= max(LEAST_AHEAD, min(segment.end, MOST_AHEAD))
    assert room > 0
    segment.let_go()


def test_what_need_not_be_on_disk_gets_no_room(tmp_path: Path) -> None:
    segment = Segment.begun(tmp_path / "file", b"begin", durable=False)
    segment.append(b"more")
    assert (tmp_path / "file").read_bytes() == b"beginmore"
    segment.close()


def test_a_reader_of_the_open_file_sees_a_stream_that_ends(tmp_path: Path) -> None:
    with Journal(tmp_path, writer="w", framing=ARROW) as journal:
        for number in range(3):
            journal.append(STREAM.of_columns([[number]], 1), preamble=STREAM.preamble)
        (file,) = (tmp_path / "w").glob("*.arrows")
        assert not file.read_bytes()[-1000:].strip(b"\0")
        assert pl.read_ipc_stream(file)["number"].to_list() == [0, 1, 2]
        assert pa.ipc.open_stream(file).read_all()["number"].to_pylist() == [0, 1, 2]


def test_the_room_of_a_killed_writer_is_cut_off_by_the_next_one(tmp_path: Path) -> None:
    first = Journal(tmp_path, writer="w")
    first.append(b"one")
    first.abandon()  # As its end is for the files of a process that was killed.
    (file,) = (tmp_path / "w").glob("*.log")
    assert file.stat().st_size > LEAST_AHEAD
    with Journal(tmp_path, writer="w") as second:
        assert file.stat().st_size == 8 + len(b"one")
        second.append(b"two")
    assert [frame.payload for frame in frames(tmp_path)] == [b"one", b"two"]


def test_a_failure_within_the_room_leaves_nothing_of_what_was_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path, writer="w") as journal:
        journal.append(b"one")

        def torn(file: int, parts: list[bytes], offset: int) -> int:
            os.pwrite(file, bytes(parts[0])[:-1], offset)
            raise OSError(errno.EIO, "the disk is at fault")

        monkeypatch.setattr("os.pwritev", torn)
        with pytest.raises(Unavailable, match="the disk is at fault"):
            journal.append(b"two")
        monkeypatch.undo()
        (file,) = (tmp_path / "w").glob("*.log")
        assert file.stat().st_size == 8 + len(b"one")
    assert [frame.payload for frame in frames(tmp_path)] == [b"one"]
