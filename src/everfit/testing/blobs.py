"""What every implementation of the port ``everfit.kernel.Blobs`` must pass.

Subclass ``BlobsContract`` in a test module as ``TestMine`` and override its fixture.
"""

# ruff: noqa: S101 - a test kit asserts

from __future__ import annotations

import hashlib
import threading

import pytest

from everfit.errors import NotFound
from everfit.kernel import Blobs


class BlobsContract:
    """The guarantees of ``Blobs``, each as a test."""

    @pytest.fixture
    def blobs(self) -> Blobs:
        """Return an empty store; every test gets its own."""
        raise NotImplementedError

    @pytest.mark.parametrize("content", [b"", b"a", bytes(range(256)) * 5000])
    def test_content_comes_back_under_its_sha256(self, blobs: Blobs, content: bytes) -> None:
        """A digest is the SHA-256 of what was put, and gives it back."""
        digest = blobs.put(content)
        assert digest == hashlib.sha256(content).hexdigest()
        assert blobs.get(digest) == content
        assert blobs.has(digest)

    def test_same_content_is_kept_once(self, blobs: Blobs) -> None:
        """Putting the same content twice is no error and keeps one copy."""
        assert blobs.put(b"same") == blobs.put(b"same")
        assert len(list(blobs.digests())) == 1

    def test_digests_lists_what_is_there(self, blobs: Blobs) -> None:
        """Every digest is yielded, and nothing else."""
        put = {blobs.put(bytes([number])) for number in range(20)}
        assert set(blobs.digests()) == put

    def test_removed_content_is_gone(self, blobs: Blobs) -> None:
        """Removing forgets one blob, leaves the others, and may be repeated."""
        gone, kept = blobs.put(b"gone"), blobs.put(b"kept")
        blobs.remove(gone)
        blobs.remove(gone)
        assert not blobs.has(gone)
        assert list(blobs.digests()) == [kept]
        with pytest.raises(NotFound):
            blobs.get(gone)

    def test_unknown_digest_is_not_found(self, blobs: Blobs) -> None:
        """A digest nobody put is missing, and the error says which."""
        digest = "0" * 64
        assert not blobs.has(digest)
        with pytest.raises(NotFound, match=digest):
            blobs.get(digest)

    @pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "g" * 64, "a" * 63])
    def test_a_name_that_is_no_digest_is_refused(self, blobs: Blobs, name: str) -> None:
        """No name leads outside of the store."""
        with pytest.raises(NotFound):
            blobs.get(name)

    def test_threads_put_the_same_content_at_once(self, blobs: Blobs) -> None:
        """Concurrent writers of one blob all succeed and none sees half of it."""
        content = bytes(1_000_000)
        seen: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: seen.append(blobs.get(blobs.put(content))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [content] * 8
