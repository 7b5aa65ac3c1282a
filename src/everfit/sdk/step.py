"""What a step of a pipeline logs: it belongs to the run that the step works for."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from everfit.errors import SourceMissing
from everfit.sdk.notes import Notes
from everfit.sdk.outbox import Outbox
from everfit.tracking.journalled import File, Params, Points, Record, RunEnded, RunStarted, Tags
from everfit.within import StepContext

V = TypeVar("V")


class StepNotes(Notes):
    """Notes what a step logs; the training delivers it, and begins and ends the run."""

    def __init__(self, context: StepContext) -> None:
        super().__init__(Outbox(Path(context.journals)))
        self._prefix = f"{context.prefix}/" if context.prefix else ""

    def note(self, record: Record) -> None:
        """Append a record of what was logged, under the names that it gets in the run."""
        if not isinstance(record, RunStarted | RunEnded):
            super().note(self._named(record) if self._prefix else record)

    def begin_with(self, record: Record) -> None:
        """Nothing: the run has begun."""

    def _named(self, record: Points | Params | Tags | File) -> Record:
        if isinstance(record, Points):
            values = [(self._prefix + key, value, step) for key, value, step in record.values]
            return structs.replace(record, values=values)
        if isinstance(record, File):
            return structs.replace(record, name=self._prefix + record.name)
        return structs.replace(record, values=self._all_named(record.values))

    def _all_named(self, values: Mapping[str, V]) -> dict[str, V]:
        return {self._prefix + key: value for key, value in values.items()}


class Nowhere(Notes):
    """Takes what is not to be kept, such as what a step logs when a training is reproduced."""

    def __init__(self) -> None:
        super().__init__(Outbox(Path(tempfile.gettempdir())))

    def note(self, record: Record) -> None:
        """Nothing."""

    def keep(self, file: Path) -> tuple[str, int]:
        """Return the size of a file, and no digest."""
        if not file.is_file():
            raise SourceMissing(f"there is no file {file}", hint="Write the file first.")
        return "", file.stat().st_size


NOWHERE = Nowhere()
