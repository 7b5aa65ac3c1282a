"""SHA-256 of content that comes in chunks, beside the reading or writing of it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

# Of less than this, handing it to another thread costs as much as it saves.
BLOCK_BYTES = 1024 * 1024
# How far the hashing may fall behind: about as much as is written between two trips to the disk.
BLOCKS_BEHIND = 16


class Hashing:
    """The SHA-256 of chunks in their order, from one block on computed on a thread of its own.

    Hashing takes about as long as writing, and the interpreter lets both run at once. The
    thread is this object's own, so that a process may fork; ``close`` ends it.
    """

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._gathered: list[bytes] = []
        self._bytes = 0
        self._behind: deque[Future[None]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def update(self, chunk: bytes) -> None:
        """Add a chunk; waits only where the hashing is too far behind."""
        self._gathered.append(chunk)
        self._bytes += len(chunk)
        if self._bytes >= BLOCK_BYTES:
            self._hand_over()

    def hexdigest(self) -> str:
        """Return the digest of all chunks so far."""
        self._hash_here()
        self._gathered, self._bytes = [], 0
        return self._sha.hexdigest()

    def close(self) -> None:
        """End the thread; what it has not begun with is dropped."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _hand_over(self) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sha256")
        if len(self._behind) >= BLOCKS_BEHIND:
            self._behind.popleft().result()
        try:
            self._behind.append(self._thread.submit(self._hash, self._gathered))
        except RuntimeError:
            # An interpreter that is ending begins no thread, and still has files to keep.
            self._hash_here()
        self._gathered, self._bytes = [], 0

    def _hash_here(self) -> None:
        while self._behind:
            self._behind.popleft().result()
        self._hash(self._gathered)

    def _hash(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            self._sha.update(chunk)
