"""Blobs: bytes named by their SHA-256. The port, and local files behind it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from everfit.errors import LedgerBroken, NotFound, StorageFull

# The disk, the user's quota, or the largest file this process may write.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Blobs(Protocol):
    """Port: content-addressed bytes. ``everfit.testing.blobs`` holds what every backend passes.

    A digest is the lower-case hexadecimal SHA-256 of the content. What ``put`` returned is
    durable; putting the same content twice keeps one copy, and mends one that was damaged; a
    half-written blob is never seen.
    """

    def put(self, content: bytes) -> str:
        """Store ``content`` and return its digest; raises StorageFull and then keeps nothing."""
        ...

    def get(self, digest: str) -> bytes:
        """Return the content; raises NotFound, or LedgerBroken if it no longer fits its digest."""
        ...

    def has(self, digest: str) -> bool:
        """Return whether the content is here."""
        ...

    def remove(self, digest: str) -> None:
        """Forget the content; an unknown digest is no error."""
        ...

    def digests(self) -> Iterator[str]:
        """Yield every digest, in no order."""
        ...


class LocalBlobs:
    """Blobs as files ``root/ab/abcdef…``, written to the side, synced and moved into place."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.root = root
        self.durable = durable

    def put(self, content: bytes) -> str:
        """Store ``content`` and return its digest."""
        digest = hashlib.sha256(content).hexdigest()
        target = self.path(digest)
        try:
            if not self._holds(target, content):
                self._write(target, content)
            if self.durable:
                # Also where the file was there: its writer may not have come this far yet.
                sync_folder(target.parent)
                sync_folder(self.root)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise StorageFull(
                f"no room left for {len(content):,} bytes below {self.root}",
                hint="Nothing was written; free disk space and repeat the command.",
            ) from error
        return digest

    @staticmethod
    def _holds(target: Path, content: bytes) -> bool:
        try:
            return target.read_bytes() == content
        except FileNotFoundError:
            return False

    def _write(self, target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                if self.durable:
                    os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise

    def get(self, digest: str) -> bytes:
        """Return the content, checked against its digest."""
        try:
            content = self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(
                f"no blob {digest}",
                hint=f"Restore {self.root} from a backup, or run the step again.",
                digest=digest,
            ) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise LedgerBroken(
                f"blob {digest} was changed after it was written",
                hint=f"Remove {self.path(digest)} and restore it, or run the step again.",
                digest=digest,
            )
        return content

    def has(self, digest: str) -> bool:
        """Return whether the content is here."""
        return self.path(digest).exists()

    def remove(self, digest: str) -> None:
        """Forget the content."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Yield every digest."""
        for file in self.root.glob("??/*"):
            if not file.name.startswith("."):
                yield file.name

    def path(self, digest: str) -> Path:
        """Return where the content lies; a name that is no digest is refused."""
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise NotFound(f"{digest!r} is no digest", hint="A digest has 64 hexadecimal digits.")
        return self.root / digest[:2] / digest


def sync_folder(folder: Path) -> None:
    """Make the entries of ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
