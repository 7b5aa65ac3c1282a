"""Blobs: bytes named by their SHA-256. The port, and local files behind it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from everfit.errors import Invalid, LedgerBroken, NotFound, StorageFull
from everfit.kernel.files import NO_ROOM, NewFile, clear_abandoned, sync_folder
from everfit.kernel.hashing import Hashing

CHUNK_BYTES = 1024 * 1024
DIGEST = re.compile(r"[0-9a-f]{64}")
# Where content is written until its digest is known. No digest begins with a dot.
INCOMING = ".incoming"


class BlobWriter(Protocol):
    """Content on its way into a store. Nothing of it is seen before ``finish``."""

    def write(self, chunk: bytes | memoryview) -> None:
        """Append ``chunk``, which the caller may change afterwards; raises StorageFull.

        After an error there is nothing left to be finished.
        """
        ...

    def finish(self) -> tuple[str, int]:
        """Store what was written; return its digest and its size in bytes. Once, and last.

        Raises StorageFull and then keeps nothing.
        """
        ...


class BlobReader(Protocol):
    """The content of a blob, or a range of it, as chunks. Iterate once, then close it.

    Read from beginning to end, the content is checked against its digest, and the last chunk is
    held back until it fits. If it does not fit, iterating raises LedgerBroken there, after all
    other chunks: nobody is given the whole of a damaged blob, and whoever passes the chunks on
    must let the receiver know that they end too early. A range has no digest of its own and is
    checked only for its length.
    """

    @property
    def size(self) -> int:
        """Return the bytes of the whole blob."""
        ...

    @property
    def length(self) -> int:
        """Return how many bytes the chunks add up to."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Yield chunks, none of them empty."""
        ...

    def close(self) -> None:
        """Let go of the content; may be repeated."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Blobs(Protocol):
    """Port: content-addressed bytes. ``everfit.testing.blobs`` holds what every backend passes.

    A digest is the lower-case hexadecimal SHA-256 of the content. What ``put``, a writer's
    ``finish`` or ``concatenate`` returned is durable; storing the same content twice keeps one
    copy, and mends one that was damaged; a half-written blob is never seen.
    """

    def put(self, content: bytes) -> str:
        """Store ``content`` and return its digest; raises StorageFull and then keeps nothing."""
        ...

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """Return a block in which content of any size is written chunk by chunk.

        Leaving the block without ``finish`` leaves nothing behind.
        """
        ...

    def concatenate(self, digests: Sequence[str]) -> tuple[str, int]:
        """Store the contents of ``digests``, in their order, as one; return its digest and size.

        Raises NotFound, LedgerBroken or StorageFull and then keeps nothing; the parts stay.
        """
        ...

    def get(self, digest: str) -> bytes:
        """Return the content; raises NotFound, or LedgerBroken if it no longer fits its digest."""
        ...

    def open(self, digest: str, *, offset: int = 0, length: int | None = None) -> BlobReader:
        """Return what reads the content, or ``length`` bytes of it from ``offset`` on.

        Like a slice, a range ends where the content ends. Raises NotFound, or Invalid where
        ``offset`` or ``length`` is negative.
        """
        ...

    def has(self, digest: str) -> bool:
        """Return whether the content is here."""
        ...

    def remove(self, digest: str) -> None:
        """Forget the content; an unknown digest is no error, and an open reader reads on."""
        ...

    def digests(self) -> Iterator[str]:
        """Yield every digest, in no order."""
        ...


class LocalBlobs:
    """Blobs as files ``root/ab/abcdef…``, written to the side, synced and moved into place.

    What writers that were killed have left in ``root/.incoming`` goes when a store is opened.
    """

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self.root = root
        self.durable = durable
        self._durable_folders: set[Path] = set()
        clear_abandoned(root / INCOMING)

    def put(self, content: bytes) -> str:
        """Store ``content`` and return its digest."""
        digest = hashlib.sha256(content).hexdigest()
        if self._holds(digest, content):
            # Its writer may not have come this far yet.
            self.sync(digest)
        else:
            with self.writer() as writer:
                writer.append(content)
                writer.keep(digest)
        return digest

    def _holds(self, digest: str, content: bytes) -> bool:
        try:
            return self.path(digest).read_bytes() == content
        except FileNotFoundError:
            return False

    @contextmanager
    def writer(self) -> Iterator[LocalWriter]:
        """Yield what content is written to; it is stored by ``finish`` and by nothing else."""
        with self.told_if_full(0):
            file = NewFile(self.root / INCOMING, durable=self.durable)
        try:
            with closing(Hashing()) as hashing:
                yield LocalWriter(self, file, hashing)
        finally:
            file.discard()

    def concatenate(self, digests: Sequence[str]) -> tuple[str, int]:
        """Store the contents of ``digests`` as one; every part is checked on the way."""
        missing = [digest for digest in digests if not self.has(digest)]
        if missing:
            raise self._missing(*dict.fromkeys(missing))
        with self.writer() as writer:
            for digest in digests:
                with self.open(digest) as part:
                    for chunk in part:
                        writer.write(chunk)
            return writer.finish()

    def get(self, digest: str) -> bytes:
        """Return the content, checked against its digest."""
        try:
            content = self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise self._missing(digest) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise self.damaged(digest)
        return content

    def open(self, digest: str, *, offset: int = 0, length: int | None = None) -> LocalReader:
        """Return what reads the content, or a range of it."""
        if offset < 0 or (length is not None and length < 0):
            raise Invalid(
                f"no range of {length} bytes from byte {offset} on",
                hint="Give an offset and a length of 0 or more.",
            )
        try:
            return LocalReader(self, digest, offset=offset, length=length)
        except FileNotFoundError as error:
            raise self._missing(digest) from error

    def has(self, digest: str) -> bool:
        """Return whether the content is here."""
        return self.path(digest).exists()

    def remove(self, digest: str) -> None:
        """Forget the content."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Yield every digest."""
        for file in self.root.glob("??/*"):
            if DIGEST.fullmatch(file.name):
                yield file.name

    def path(self, digest: str) -> Path:
        """Return where the content lies; a name that is no digest is refused."""
        if not DIGEST.fullmatch(digest):
            raise NotFound(f"{digest!r} is no digest", hint="A digest has 64 hexadecimal digits.")
        return self.root / digest[:2] / digest

    def sync(self, digest: str) -> None:
        """Make the entries that lead to the content durable."""
        folder = self.path(digest).parent
        if self.durable:
            sync_folder(folder)
            # Folders stay for good: once is enough, and a trip to the disk less each time.
            if folder not in self._durable_folders:
                sync_folder(self.root)
                self._durable_folders.add(folder)

    @contextmanager
    def told_if_full(self, size: int) -> Iterator[None]:
        """Raise StorageFull where the block finds no room for ``size`` bytes."""
        try:
            yield
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise StorageFull(
                f"no room left for {size:,} bytes below {self.root}",
                hint="Nothing was written; free disk space and repeat the command.",
            ) from error

    def damaged(self, digest: str) -> LedgerBroken:
        """Return the error for content that does not fit its digest."""
        return LedgerBroken(
            f"blob {digest} was changed after it was written",
            hint=f"Remove {self.path(digest)} and restore it, or run the step again.",
            digest=digest,
        )

    def _missing(self, *digests: str) -> NotFound:
        return NotFound(
            f"no blob {', '.join(digests)}",
            hint=f"Restore {self.root} from a backup, or run the step again.",
            digest=digests[0],
        )


class LocalWriter:
    """The writer of ``LocalBlobs``."""

    def __init__(self, blobs: LocalBlobs, file: NewFile, hashing: Hashing) -> None:
        self._blobs = blobs
        self._file = file
        self._hashing = hashing

    def write(self, chunk: bytes | memoryview) -> None:
        """Append ``chunk``, which is hashed while it is written."""
        # A copy of what could change: the hashing may come to it later.
        content = chunk if isinstance(chunk, bytes) else bytes(chunk)
        self._hashing.update(content)
        self.append(content)

    def finish(self) -> tuple[str, int]:
        """Store what was written; return its digest and its size in bytes."""
        digest = self._hashing.hexdigest()
        self.keep(digest)
        return digest, self._file.size

    def append(self, content: bytes) -> None:
        """Append content whose digest is for the caller to know."""
        with self._or_nothing(self._file.size + len(content)):
            self._file.write(content)

    def keep(self, digest: str) -> None:
        """Store what was appended under its digest."""
        with self._or_nothing(self._file.size):
            self._file.place(self._blobs.path(digest))
            self._blobs.sync(digest)

    @contextmanager
    def _or_nothing(self, size: int) -> Iterator[None]:
        try:
            with self._blobs.told_if_full(size):
                yield
        except BaseException:
            # Nobody knows what of it is written: nothing may be made of this file any more.
            self._file.discard()
            raise


class LocalReader:
    """The reader of ``LocalBlobs``."""

    def __init__(
        self, blobs: LocalBlobs, digest: str, *, offset: int = 0, length: int | None = None
    ) -> None:
        self._blobs = blobs
        self._digest = digest
        self._file = blobs.path(digest).open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size
        rest = max(0, self.size - offset)
        self.length = rest if length is None else min(length, rest)
        self._offset = offset

    def __iter__(self) -> Iterator[bytes]:
        return self._checked() if self.length == self.size else self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        at, end = self._offset, self._offset + self.length
        while at < end:
            chunk = os.pread(self._file.fileno(), min(CHUNK_BYTES, end - at), at)
            if not chunk:
                raise self._blobs.damaged(self._digest)
            at += len(chunk)
            yield chunk

    def _checked(self) -> Iterator[bytes]:
        held = b""
        with closing(Hashing()) as hashing:
            for chunk in self._chunks():
                hashing.update(chunk)
                if held:
                    yield held
                held = chunk
            if hashing.hexdigest() != self._digest:
                raise self._blobs.damaged(self._digest)
        if held:
            yield held

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
