"""The folder in which journals wait to be delivered to one place."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from everfit.errors import Conflict, Invalid, Unavailable
from everfit.kernel import Journal, LocalBlobs, load_settings, new_id, state_folder
from everfit.sdk.places import FolderPlace, Place, ServerPlace
from everfit.tracking.journalled import FILES_FOLDER, Refusal, read_record

ADDRESS_FILE = "to"
# Delivered segments go one by one while their writer lives.
SEGMENT_BYTES = 8 * 1024 * 1024


class Outbox:
    """``folder/WRITER/`` is the journal of one process, with the artifacts it logged.

    A journal is its writer's as long as that lives; then anybody who logs to the same place
    takes it over. The folder's own lock is held while a journal is made, taken over or removed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open_journal(self) -> Journal:
        """Return a new journal; raises Unavailable where none can be made."""
        writer = new_id("w", datetime.now(UTC))
        try:
            with self._held():
                return self._journal(writer)
        except OSError as error:
            raise Unavailable(
                f"nothing can be written below {self.folder}: {error}",
                hint="Log to a folder that can be written; XDG_STATE_HOME says where journals "
                "for servers are kept.",
            ) from error

    def abandoned(self) -> Iterator[Journal]:
        """Yield the journals of processes that ended; who takes one closes or removes it."""
        for folder in sorted(self.folder.glob("*/")):
            journal = self._taken_over(folder)
            if journal is not None:
                yield journal

    def remove(self, journal: Journal) -> None:
        """Delete a journal that is delivered."""
        with self._held():
            shutil.rmtree(journal.folder, ignore_errors=True)
            journal.close()

    def files(self, writer: str) -> LocalBlobs:
        """Return the artifacts of a writer that wait."""
        return LocalBlobs(self.folder / writer / FILES_FOLDER)

    def refused_file(self, writer: str) -> Path:
        """Return where the refused records of a writer are kept."""
        return self.folder / f"{writer}.refused"

    def keep_refused(self, writer: str, refused: Iterable[tuple[Refusal, bytes]]) -> int:
        """Keep refused records with their reasons, each once; return how many are new."""
        file = self.refused_file(writer)
        known = set()
        if file.exists():
            lines = file.read_text(encoding="utf-8").splitlines()
            known = {tuple(json.loads(line)["place"]) for line in lines}
        new = [(refusal, payload) for refusal, payload in refused if refusal.place not in known]
        if new:
            with file.open("ab") as opened:
                opened.write(b"".join(msgspec.json.encode(_told(*one)) + b"\n" for one in new))
                opened.flush()
                os.fsync(opened.fileno())
        return len(new)

    def _taken_over(self, folder: Path) -> Journal | None:
        with suppress(Conflict), self._held():
            return self._journal(folder.name) if folder.is_dir() else None
        return None

    def _journal(self, writer: str) -> Journal:
        return Journal(self.folder, writer=writer, durable=False, segment_bytes=SEGMENT_BYTES)

    @contextmanager
    def _held(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def destination(to: str | Path) -> tuple[Outbox, Place]:
    """Return where journals for a folder, or for the server at an address, wait and go."""
    if not is_address(to):
        folder = Path(to).resolve()
        return Outbox(load_settings(folder).home / "outbox"), FolderPlace(folder)
    address = str(to).rstrip("/")
    folder = outboxes_folder() / re.sub(r"[^A-Za-z0-9.-]+", "_", address)
    with suppress(OSError):  # opening the journal tells what is wrong
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / ADDRESS_FILE).write_text(address, encoding="utf-8")
    return Outbox(folder), ServerPlace(address)


def waiting_for_servers() -> Iterator[tuple[Outbox, Place]]:
    """Yield what waits here for servers."""
    for file in sorted(outboxes_folder().glob(f"*/{ADDRESS_FILE}")):
        yield Outbox(file.parent), ServerPlace(file.read_text(encoding="utf-8"))


def outboxes_folder() -> Path:
    """Return the folder of the outboxes that belong to no project."""
    return state_folder() / "outbox"


def is_address(to: str | Path) -> bool:
    """Tell an address from a folder."""
    return str(to).startswith(("http://", "https://"))


def _told(refusal: Refusal, payload: bytes) -> dict[str, Any]:
    try:
        record: object = msgspec.to_builtins(read_record(payload))
    except Invalid:
        record = payload.hex()
    return {"place": refusal.place, "reason": refusal.reason, "record": record}
