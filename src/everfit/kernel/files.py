"""Files that appear under their name whole and durable, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path

# The disk, the user's quota, or the largest file this process may write.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# A large file goes to the disk while the rest of it is still coming, not all of it at the end.
SYNC_BYTES = 16 * 1024 * 1024


class NewFile:
    """A file being written to the side: ``place`` gives it its name, ``discard`` undoes it.

    It is locked as long as it is open, which tells ``clear_abandoned`` that its writer lives.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.durable = durable
        self.size = 0
        self._synced = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._path = _locked_file(folder)

    def write(self, content: bytes) -> None:
        """Append ``content``."""
        view = memoryview(content)
        for start in range(0, len(view), SYNC_BYTES):
            self.size += self._file.write(view[start : start + SYNC_BYTES])
            if self.size - self._synced >= SYNC_BYTES:
                self._sync()

    def place(self, target: Path) -> None:
        """Move the file to ``target``, on the same file system, over what may be there.

        The content is durable before; the entry in its folder is for the caller to sync.
        """
        self._sync()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        self._file.close()

    def discard(self) -> None:
        """Leave nothing behind; does nothing if the file is in its place or discarded."""
        # Not through the buffer: it would try once more to write what it holds.
        self._file.raw.close()
        self._path.unlink(missing_ok=True)

    def _sync(self) -> None:
        self._file.flush()
        if self.durable:
            os.fsync(self._file.fileno())
        self._synced = self.size


def clear_abandoned(folder: Path) -> None:
    """Remove the files in ``folder`` whose writers ended without a word, and no others.

    The system lets go of a lock when its process ends, however it ends: what can be locked has
    no writer, whatever its age.
    """
    for path in folder.glob("*"):
        # Being written, gone meanwhile, or in a store that may only be read: all no trouble.
        with suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def sync_folder(folder: Path) -> None:
    """Make the entries of ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _locked_file(folder: Path) -> tuple[BufferedWriter, Path]:
    while True:
        handle, name = tempfile.mkstemp(dir=folder)
        file = os.fdopen(handle, "wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except BaseException:
            file.close()
            Path(name).unlink()
            raise
        if os.fstat(handle).st_nlink:
            return file, Path(name)
        # Somebody cleared it away in the moment between its creation and its lock.
        file.close()
