"""The journal: an append-only log of byte strings in files, for what is too frequent for a table.

``folder/<writer>/<number>.log`` holds frames of any bytes, ``<number>.arrows`` is an Arrow stream
(see ``everfit.kernel.framing``). A segment is written by one opening of one writer and never
changed once a later one exists, so that a reader's position stays valid whatever happens to the
writer.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from everfit.errors import Conflict, EverfitError, Invalid, LedgerBroken, StorageFull, Unavailable
from everfit.kernel.files import NO_ROOM, sync_folder
from everfit.kernel.framing import CHECKED, FRAMINGS, Framing
from everfit.kernel.segment import Segment

SEGMENT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Position:
    """The place in a writer's log just behind a frame: segment number, and bytes from its start."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One payload, who wrote it, and the position to go on from once it is dealt with."""

    writer: str
    position: Position
    payload: bytes


@dataclass(slots=True)
class _Batch:
    """Frames that several threads want on disk, and what came of it."""

    frames: list[bytes] = field(default_factory=list)
    ended: bool = False
    # Until it is known to be on disk it failed: also where the writing thread was interrupted.
    error: OSError | None = field(default_factory=lambda: InterruptedError("interrupted"))


class Journal:
    """The one live writer of a name in a folder; its threads may append at the same time.

    Appending threads share their trips to the disk: while one batch is written and synced, the
    next one gathers. The ``framing`` says what payloads are, and what else can read the files.

    Raises
    ------
    Conflict
        If another live process, or another part of this one, writes under the same name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        writer: str,
        durable: bool = True,
        segment_bytes: int = SEGMENT_BYTES,
        framing: Framing = CHECKED,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", writer):
            hint = "Use letters, digits, '-', '_' and '.'."
            raise Invalid(f"{writer!r} cannot name a writer", hint=hint)
        self.folder = folder / writer
        self.durable = durable
        self.segment_bytes = segment_bytes
        self.framing = framing
        self._turn = threading.Condition()
        self._gathering: dict[bytes, _Batch] = {}
        self._writing = False
        self._refusal = ""
        self._segment: Segment | None = None
        self._preamble = b""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        self._number = self._synced = self._recovered()

    def append(self, payload: bytes, *, preamble: bytes = b"") -> None:
        """Write one payload; it is on disk when this returns.

        It stands in a segment that begins with ``preamble``: where the present one begins with
        another, the next one is begun.

        Raises
        ------
        StorageFull
            If there is no room; nothing of the payload is kept. (A reader that looked in that
            very moment may have seen it.)
        Unavailable
            If the disk reports another fault; the journal must then be opened anew.
        Invalid
            If the framing has no way to write it.
        """
        frame = self.framing.framed(payload)
        with self._turn:
            batch = self._gathering.setdefault(preamble, _Batch())
            batch.frames.append(frame)
            self._turn.wait_for(lambda: batch.ended or not self._writing)
            leads = not batch.ended
            if leads:
                # Nobody writes: this thread does it, for all that gathered in the meantime.
                self._gathering.pop(preamble, None)
                self._refuse_if_closed()
                self._writing = True
        if leads:
            self._write(batch, preamble)
        if batch.error is not None:
            raise _meaning(self.folder, batch.error) from batch.error

    def sync(self) -> None:
        """Bring to disk what was appended so far without ``durable``; others append meanwhile.

        Raises
        ------
        StorageFull, Unavailable
            If the disk reports a fault; what was appended may not survive a loss of power.
        """
        with self._turn:
            last = self._number
        try:
            for number in range(max(self._synced, 1), last + 1):
                _sync_file(_segment(self.folder, number, self.framing))
            if last > self._synced:
                sync_folder(self.folder)
                sync_folder(self.folder.parent)
        except OSError as error:
            raise _meaning(self.folder, error) from error
        self._synced = last

    def abandon(self) -> None:
        """Let go of the files in a process that was forked from the writer, which goes on.

        For the fork's only thread; the journal takes nothing more in it.
        """
        if self._segment is not None:
            self._segment.let_go()
        if self._lock is not None:
            os.close(self._lock)
        self._segment = self._lock = None
        self._refusal = "belongs to the process that this one was forked from"

    def close(self) -> None:
        """Wait for the batch being written, then let go of the name; what waits is refused."""
        with self._turn:
            self._turn.wait_for(lambda: not self._writing)
            if self._lock is None:
                return
            self._refusal = "is closed"
            with suppress(OSError):  # Zeros at the end are cut off by the next opening.
                self._seal()
            os.close(self._lock)
            self._lock = None
            self._turn.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take_lock(self) -> int | None:
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise Conflict(
                f"somebody else writes the journal {self.folder}",
                hint="Give each process a writer name of its own, or stop the other one.",
            ) from error
        return lock

    def _recovered(self) -> int:
        """Cut off what the last writer of this name did not end; return its last segment."""
        segments = _segments(self.folder)
        last = max(segments, default=0)
        if last:
            file = segments[last]
            framing = FRAMINGS[file.suffix]
            begin = framing.begin(file, 0)
            end = max((end for end, _ in framing.read(file, begin)), default=begin)
            if end < file.stat().st_size:
                os.truncate(file, end)
        return last

    def _write(self, batch: _Batch, preamble: bytes) -> None:
        try:
            self._room(preamble).append(b"".join(batch.frames))
            batch.error = None
        except OSError as error:
            batch.error = error
        finally:
            if batch.error is not None:
                self._take_back(batch.error, first=self.framing.first(batch.frames[0]))
            with self._turn:
                batch.ended = True
                self._writing = False
                self._turn.notify_all()

    def _room(self, preamble: bytes) -> Segment:
        """Return the file to append to, the next segment where the present one is sealed."""
        segment = self._segment
        if segment is not None and (
            segment.end >= self.segment_bytes or preamble != self._preamble
        ):
            self._seal()
        if self._segment is None:
            self._segment = self._begin(
                _segment(self.folder, self._number + 1, self.framing), preamble
            )
            self._number, self._preamble = self._number + 1, preamble
        return self._segment

    def _begin(self, path: Path, preamble: bytes) -> Segment:
        """Begin a segment, which has its preamble as soon as it has its name."""
        unnamed = self.folder / "next"
        segment = Segment.begun(unnamed, preamble, durable=self.durable)
        try:
            unnamed.rename(path)
            if self.durable:
                sync_folder(self.folder)
                sync_folder(self.folder.parent)
        except OSError:
            segment.let_go()
            raise
        return segment

    def _seal(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _take_back(self, error: OSError, *, first: int) -> None:
        """Leave nothing of a batch that failed, and refuse all others if that fails too."""
        try:
            if self._segment is not None and self._segment.take_back(first):
                # A reader may have seen a whole frame and stand behind the end we went back
                # to: what comes now goes into a new segment, lest it begin within a frame.
                self._seal()
        except OSError as second:
            error = second
        if error.errno not in NO_ROOM:
            # After a failed sync nobody knows what is on disk: only recovery can tell.
            self._refusal = f"is out of use since the disk reported: {error}"

    def _refuse_if_closed(self) -> None:
        if self._refusal:
            hint = "Open the journal again."
            raise Unavailable(f"the journal {self.folder} {self._refusal}", hint=hint)


def sync_journal(folder: Path, *, since: Position) -> None:
    """Bring to disk what the writer of the journal in ``folder`` has appended behind a position.

    Raises
    ------
    StorageFull, Unavailable
        If the disk reports a fault.
    """
    try:
        for number, file in _segments(folder).items():
            if number >= since.segment:
                _sync_file(file)
        sync_folder(folder)
    except OSError as error:
        raise _meaning(folder, error) from error


def _meaning(folder: Path, error: OSError) -> EverfitError:
    if error.errno in NO_ROOM:
        return StorageFull(
            f"no room left for the journal {folder}: {error}",
            hint="Nothing was kept of this payload; free disk space and send it again.",
        )
    return Unavailable(
        f"the journal {folder} cannot be written: {error}",
        hint="Look after the disk, then open the journal again.",
    )


def _sync_file(path: Path) -> None:
    with suppress(FileNotFoundError):  # trimmed: nobody needs it any more
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def frames(
    folder: Path,
    after: Mapping[str, Position] = MappingProxyType({}),
    *,
    writers: Sequence[str] | None = None,
) -> Iterator[Frame]:
    """Yield the frames of each writer in their order, those behind its position in ``after``.

    Of all writers, or of those named.

    An unfinished frame at the end of a writer's log is left out; it may be there next time.

    Raises
    ------
    LedgerBroken
        If a frame that stands before others was changed: what follows it cannot be told apart.
    """
    if writers is None:
        writers = sorted(entry.name for entry in folder.glob("*") if entry.is_dir())
    for writer in writers:
        start = after.get(writer, Position(segment=0, offset=0))
        segments = _segments(folder / writer)
        for number, file in segments.items():
            if number < start.segment:
                continue
            framing = FRAMINGS[file.suffix]
            end = begin = framing.begin(file, start.offset if number == start.segment else 0)
            for end, payload in framing.read(file, begin):
                position = Position(segment=number, offset=end)
                yield Frame(writer=writer, position=position, payload=payload)
            if number != max(segments) and end < file.stat().st_size:
                raise LedgerBroken(
                    f"{file} is damaged behind byte {end}",
                    hint="Restore the file from a backup, or move it away to do without it.",
                )


def trim(folder: Path, before: Mapping[str, Position]) -> int:
    """Delete the segments that lie wholly before ``before``; return how many.

    The last segment of a writer always stays: its number tells the next one.
    """
    count = 0
    for writer, position in before.items():
        for number, file in list(_segments(folder / writer).items())[:-1]:
            if Position(segment=number, offset=file.stat().st_size) <= position:
                file.unlink()
                count += 1
    return count


def _segments(folder: Path) -> dict[int, Path]:
    """Return the segments of a writer by their numbers, in order."""
    found = [file for file in folder.glob("*.*") if file.suffix in FRAMINGS]
    return dict(sorted((int(file.stem), file) for file in found))


def _segment(folder: Path, number: int, framing: Framing) -> Path:
    return folder / f"{number:08d}{framing.suffix}"
