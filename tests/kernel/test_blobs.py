"""Blobs as files: the contract of the port, and what only files can do wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from everfit.errors import LedgerBroken, StorageFull
from everfit.kernel import LocalBlobs
from everfit.kernel.files import NewFile, clear_abandoned
from everfit.testing.blobs import BlobsContract, Damage, content_of, read, write

Limited = Callable[[int], AbstractContextManager[None]]
Store = Callable[[LocalBlobs, bytes], object]


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


class TestLocalBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> LocalBlobs:
        return LocalBlobs(tmp_path / "blobs")

    @pytest.fixture
    def damage(self, blobs: LocalBlobs) -> Damage:
        def damage(digest: str, content: bytes) -> None:
            blobs.path(digest).write_bytes(content)

        return damage


def put(blobs: LocalBlobs, content: bytes) -> object:
    return blobs.put(content)


def write_at_once(blobs: LocalBlobs, content: bytes) -> object:
    return write(blobs, content)


def write_in_chunks(blobs: LocalBlobs, content: bytes) -> object:
    return write(blobs, *(content[at : at + 700] for at in range(0, len(content), 700)))


STORES = [put, write_at_once, write_in_chunks]


def files_below(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize("store", STORES)
def test_full_disk_keeps_nothing_and_the_rest_intact(small_disk: Path, store: Store) -> None:
    blobs = LocalBlobs(small_disk / "blobs")
    kept = blobs.put(b"k" * 500_000)
    with pytest.raises(StorageFull) as caught:
        store(blobs, b"x" * 800_000)
    assert "free disk space" in caught.value.hint
    assert files_below(blobs.root) == [blobs.path(kept)]
    assert blobs.get(kept) == b"k" * 500_000
    blobs.remove(kept)
    store(blobs, b"x" * 800_000)
    assert [blobs.get(digest) for digest in blobs.digests()] == [b"x" * 800_000]


def test_a_disk_without_room_for_one_more_file_is_full(small_disk: Path) -> None:
    blobs = LocalBlobs(small_disk / "blobs")
    # The disk, the store and its folder for what comes in.
    subprocess.run(["mount", "-o", "remount,nr_inodes=3", small_disk], check=True)
    with pytest.raises(StorageFull):
        blobs.put(b"content")
    with pytest.raises(StorageFull), blobs.writer():
        pass
    assert files_below(blobs.root) == []


def test_content_that_is_there_needs_no_room(small_disk: Path) -> None:
    blobs = LocalBlobs(small_disk / "blobs")
    digest = blobs.put(b"k" * 800_000)
    assert blobs.put(b"k" * 800_000) == digest


def test_parts_that_do_not_fit_together_stay(small_disk: Path) -> None:
    blobs = LocalBlobs(small_disk / "blobs")
    parts = [blobs.put(bytes([number]) * 200_000) for number in range(3)]
    with pytest.raises(StorageFull):
        blobs.concatenate(parts)
    assert {file.name for file in files_below(blobs.root)} == set(parts)


@pytest.mark.parametrize("store", STORES)
def test_file_size_limit_keeps_nothing(
    blobs: LocalBlobs, limited_files: Limited, store: Store
) -> None:
    with limited_files(10_000), pytest.raises(StorageFull):
        store(blobs, b"x" * 10_001)
    assert files_below(blobs.root) == []
    store(blobs, b"x" * 10_001)
    assert len(list(blobs.digests())) == 1


def test_nothing_can_be_made_of_what_failed(blobs: LocalBlobs, limited_files: Limited) -> None:
    with blobs.writer() as writer:
        writer.write(b"begun")
        with limited_files(1000), pytest.raises(StorageFull):
            writer.write(bytes(2_000_000))
        with pytest.raises(ValueError, match="closed"):
            writer.write(b"and on")
        with pytest.raises(ValueError, match="closed"):
            writer.finish()
    assert files_below(blobs.root) == []


def test_errors_of_the_block_are_its_own(blobs: LocalBlobs, small_disk: Path) -> None:
    # No room elsewhere is no trouble of the store.
    with pytest.raises(OSError, match="No space left"), blobs.writer():
        (small_disk / "other").write_bytes(bytes(2_000_000))
    assert files_below(blobs.root) == []


def test_large_content_goes_to_the_disk_on_the_way(blobs: LocalBlobs) -> None:
    chunk = content_of(1_000_000)
    assert write(blobs, *[chunk] * 40)[1] == 40_000_000
    (digest,) = blobs.digests()
    assert blobs.get(digest) == chunk * 40


def test_writers_leave_no_thread_behind(blobs: LocalBlobs) -> None:
    before = threading.active_count()
    content = content_of(5_000_000)
    with blobs.writer() as writer:
        writer.write(content)
    digest, _ = write(blobs, content)
    with blobs.open(digest) as reader:
        chunks = iter(reader)
        next(chunks)
        del chunks
    assert read(blobs, digest) == content
    assert threading.active_count() == before


def test_content_cut_while_it_is_read_is_damaged(blobs: LocalBlobs) -> None:
    digest = blobs.put(content_of(5_000_000))
    for offset in (0, 10):
        with blobs.open(digest, offset=offset) as reader:
            os.truncate(blobs.path(digest), 2_000_000)
            with pytest.raises(LedgerBroken, match=digest):
                list(reader)
        blobs.put(content_of(5_000_000))


def test_foreign_files_are_no_blobs(blobs: LocalBlobs) -> None:
    digest = blobs.put(b"content")
    blobs.path(digest).with_name("notes.txt").write_text("from an editor")
    blobs.path(digest).with_name(f".nfs{digest}").write_text("from a file server")
    assert list(blobs.digests()) == [digest]


def test_opening_clears_what_has_no_writer_and_nothing_else(blobs: LocalBlobs) -> None:
    kept = blobs.put(b"kept")
    abandoned = blobs.root / ".incoming" / "left"
    abandoned.write_bytes(b"half a bl")
    with blobs.writer() as writer:
        writer.write(content_of(2_000_000))
        again = LocalBlobs(blobs.root)
        assert not abandoned.exists()
        digest, _ = writer.finish()
    assert again.get(digest) == content_of(2_000_000)
    assert set(again.digests()) == {kept, digest}


def test_a_writer_that_was_cleared_before_it_had_its_lock_begins_again(tmp_path: Path) -> None:
    done = threading.Event()

    def clear() -> None:
        while not done.is_set():
            clear_abandoned(tmp_path / "new")

    clearing = threading.Thread(target=clear)
    clearing.start()
    try:
        for number in range(300):
            file = NewFile(tmp_path / "new", durable=False)
            file.write(b"%d" % number)
            file.place(tmp_path / "placed")
            assert (tmp_path / "placed").read_bytes() == b"%d" % number
    finally:
        done.set()
        clearing.join()


@pytest.mark.parametrize("size", [1000, 3_000_000, 40_000_000])
def test_a_killed_writer_leaves_no_blob(
    blobs: LocalBlobs, size: int, start_child: Callable[..., subprocess.Popen[str]]
) -> None:
    kept = blobs.put(b"kept")
    child = start_child("write_blob", blobs.root, size)
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    assert len(files_below(blobs.root)) == 2
    assert list(LocalBlobs(blobs.root).digests()) == [kept]
    assert len(files_below(blobs.root)) == 2, "what a living writer writes was cleared away"
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert list(blobs.digests()) == [kept]
    assert list(LocalBlobs(blobs.root).digests()) == [kept]
    assert files_below(blobs.root) == [blobs.path(kept)]


def test_writers_killed_at_any_moment_leave_whole_blobs_or_none(
    tmp_path: Path, start_child: Callable[..., subprocess.Popen[str]]
) -> None:
    assert start_child("write_blobs", tmp_path, 1, 15).wait(60) == 0
    blobs = LocalBlobs(tmp_path / "blobs")
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    found = set(blobs.digests())
    assert len(acknowledged) > 20
    assert set(acknowledged) <= found
    for digest in found:
        read(blobs, digest)
    assert {file.name for file in files_below(blobs.root)} == found
