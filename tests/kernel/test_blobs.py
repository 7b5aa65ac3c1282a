"""Blobs as files: the contract of the port, and what only files can do wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from everfit.errors import LedgerBroken, StorageFull
from everfit.kernel import LocalBlobs
from everfit.testing.blobs import BlobsContract


class TestLocalBlobs(BlobsContract):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> LocalBlobs:
        return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.mark.parametrize("damaged", [b"", b"content of", b"Content of a blob"])
def test_damaged_content_is_never_returned_and_put_mends_it(
    blobs: LocalBlobs, damaged: bytes
) -> None:
    digest = blobs.put(b"content of a blob")
    blobs.path(digest).write_bytes(damaged)
    with pytest.raises(LedgerBroken, match=digest):
        blobs.get(digest)
    assert blobs.put(b"content of a blob") == digest
    assert blobs.get(digest) == b"content of a blob"


def test_full_disk_keeps_nothing_and_the_rest_intact(small_disk: Path) -> None:
    blobs = LocalBlobs(small_disk / "blobs")
    kept = blobs.put(b"k" * 500_000)
    with pytest.raises(StorageFull) as caught:
        blobs.put(b"x" * 800_000)
    assert "free disk space" in caught.value.hint
    assert list(blobs.digests()) == [kept]
    assert blobs.get(kept) == b"k" * 500_000
    assert not list(blobs.root.glob("*/.*"))
    blobs.remove(kept)
    assert blobs.has(blobs.put(b"x" * 800_000))


def test_file_size_limit_keeps_nothing(
    blobs: LocalBlobs, limited_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    with limited_files(10_000), pytest.raises(StorageFull):
        blobs.put(b"x" * 10_001)
    assert not [file for file in blobs.root.rglob("*") if file.is_file()]
    assert blobs.has(blobs.put(b"x" * 10_001))
