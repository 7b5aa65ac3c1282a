"""What the steps of a run log: journals in the home, delivered to the run while the steps run.

A step that is run again, for its process was killed or its training is resumed, logs again. Of
each metric and step only what no earlier attempt had logged is new.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from msgspec import structs

from everfit.errors import Invalid, LedgerBroken, NotFound
from everfit.kernel import (
    Frame,
    LocalBlobs,
    Position,
    Workspace,
    frames,
    new_id,
    sync_journal,
)
from everfit.kernel.files import sync_folder
from everfit.steps.model import Progress, quiet
from everfit.tracking import apply_batch
from everfit.tracking.journalled import (
    FILES_FOLDER,
    Batch,
    File,
    Noted,
    Params,
    Points,
    Record,
    encoded,
    place,
    read_record,
)
from everfit.within import StepContext

log = logging.getLogger("everfit")

FOLDER = "step-logs"
BATCH_RECORDS = 2_000
Counts = Counter[tuple[str, int]]


@dataclass(slots=True)
class _Attempt:
    """One execution of a step: its journals, of which a process that it forks has its own."""

    folder: Path
    after: dict[str, Position] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counter)


@dataclass(slots=True)
class _Step:
    """All executions of a step in one run, and how many points they logged of each step."""

    attempts: list[_Attempt] = field(default_factory=list)
    counts: Counts = field(default_factory=Counter)

    def fresh(self, attempt: _Attempt, points: Points) -> Points:
        """Return the points that no other attempt has logged."""
        found = []
        for key, value, step in points.values:
            attempt.counts[key, step] += 1
            if attempt.counts[key, step] > self.counts[key, step]:
                self.counts[key, step] += 1
                found.append((key, value, step))
        return structs.replace(points, values=found)


class StepLogs:
    """Delivers what the steps of one run log. For one thread.

    The journals of a step stay until its value is on record: they tell what it had logged.
    The parameter ``reserved``, and those below it, the training logs itself: not kept of a step.
    """

    def __init__(
        self,
        workspace: Workspace,
        run_id: str,
        progress: Progress = quiet,
        *,
        reserved: str | None = None,
    ) -> None:
        self._workspace = workspace
        self._run = run_id
        self._progress = progress
        self._reserved = reserved
        self._folder = workspace.home / FOLDER / run_id
        self._told: set[str] = set()
        self._steps: dict[str, _Step] = {}
        for attempt in sorted(self._folder.glob("*/*/")):
            self._step(attempt.parent.name).attempts.append(_Attempt(attempt))

    def begin(self, key: str, prefix: str) -> Mapping[str, str]:
        """Return, for the process of a step about to run, where it logs to."""
        folder = self._folder / key / new_id("try", datetime.now(UTC))
        self._step(key).attempts.append(_Attempt(folder))
        return asdict(StepContext(run=self._run, journals=str(folder), prefix=prefix))

    def deliver(self) -> None:
        """Apply all that was logged since; what is refused is told, and not kept."""
        for step in self._steps.values():
            for attempt in step.attempts:
                if attempt.folder.exists():
                    for writer in sorted(entry.name for entry in attempt.folder.glob("*/")):
                        self._deliver(step, attempt, writer)

    def done(self, key: str) -> None:
        """Forget a step whose value is on record: it does not run again."""
        if self._steps.pop(key, None) is not None:
            shutil.rmtree(self._folder / key, ignore_errors=True)
            with suppress(OSError):  # others are there, or none ever logged
                self._folder.rmdir()

    def clear(self) -> None:
        """Forget everything: the run has finished."""
        self._steps.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _step(self, key: str) -> _Step:
        return self._steps.setdefault(key, _Step())

    def _deliver(self, step: _Step, attempt: _Attempt, writer: str) -> None:
        while found := self._next(attempt, writer):
            self._sync(attempt, writer)
            noted = [
                Noted(place(frame.position), payload)
                for frame in found
                for payload in self._payload(step, attempt, frame)
            ]
            attempt.after[writer] = found[-1].position
            if noted:
                with self._workspace.transaction() as tx:
                    receipt = apply_batch(tx, self._workspace.blobs, Batch(writer, noted))
                self._tell(refusal.reason for refusal in receipt.refused)

    def _sync(self, attempt: _Attempt, writer: str) -> None:
        """Bring the journal to disk: what the run has, it must know of."""
        since = attempt.after.get(writer, Position(segment=0, offset=0))
        sync_journal(attempt.folder / writer, since=since)
        if writer not in attempt.after:
            # Its entry, and those of the folders that were made with it.
            for folder in (attempt.folder, *list(attempt.folder.parents)[:4]):
                sync_folder(folder)

    def _next(self, attempt: _Attempt, writer: str) -> Sequence[Frame]:
        try:
            waiting = frames(attempt.folder, attempt.after, writers=[writer])
            return list(islice(waiting, BATCH_RECORDS))
        except LedgerBroken as error:
            self._tell([error.message])
            return ()

    def _payload(self, step: _Step, attempt: _Attempt, frame: Frame) -> Iterator[bytes]:
        """Yield the record to deliver, or nothing where nothing of it is new."""
        try:
            record: Record | None = read_record(frame.payload)
        except Invalid:
            yield frame.payload  # refused, with its reason
            return
        if isinstance(record, Points):
            record = step.fresh(attempt, record)
        elif isinstance(record, Params):
            record = self._own(record)
        elif isinstance(record, File) and not self._has(record, attempt.folder / frame.writer):
            record = None
        if record is not None and not (isinstance(record, Points | Params) and not record.values):
            yield encoded(record)

    def _own(self, params: Params) -> Params:
        """Return the parameters without those that the training will log: they never change."""
        taken = [key for key in params.values if key.partition(".")[0] == self._reserved]
        self._tell(f"the parameter {key!r} is the training's own" for key in taken)
        kept = {key: value for key, value in params.values.items() if key not in taken}
        return structs.replace(params, values=kept)

    def _has(self, file: File, journal: Path) -> bool:
        """Return whether the content of a file is among the blobs now."""
        blobs = self._workspace.blobs
        try:
            if not blobs.has(file.digest):
                waiting = LocalBlobs(journal / FILES_FOLDER)
                with waiting.open(file.digest) as content, blobs.writer() as writer:
                    for chunk in content:
                        writer.write(chunk)
                    writer.finish()
        except (NotFound, LedgerBroken) as error:
            self._tell([f"the file {file.name!r} is lost: {error.message}"])
            return False
        return True

    def _tell(self, reasons: Iterator[str] | Sequence[str]) -> None:
        for reason in set(reasons) - self._told:
            self._told.add(reason)
            self._progress.note(f"not logged: {reason}")
            log.warning("a step of run %s logged what is not kept: %s", self._run, reason)
