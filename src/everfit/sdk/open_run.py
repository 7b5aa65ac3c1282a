"""A run while it is logged."""

from __future__ import annotations

import mimetypes
import operator
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import structs

from everfit.errors import Conflict, Invalid, Problem
from everfit.sdk.notes import Notes
from everfit.tracking import RunStatus, check_path
from everfit.tracking.journalled import File, Params, Points, RunEnded, RunStarted, Tags
from everfit.tracking.rules import (
    MOST_INT64,
    TAG_LENGTH,
    check_texts,
    param_texts,
    plain_scalar,
    wrong_key,
)

UNKNOWN_MEDIA = "application/octet-stream"
ERROR_LENGTH = 2_000


class OpenRun:
    """What is logged to one run; several threads may log at the same time.

    A call returns once what it logs is in the journal, and raises only where it is wrong in
    itself, such as a text for a metric, or where the journal cannot be written. ``with`` ends
    the run: as failed where the block raises, as cancelled at Ctrl-C.
    """

    def __init__(
        self, writer: Notes, started: RunStarted, *, ended: Callable[[OpenRun], None]
    ) -> None:
        self.id = started.run
        self.inside_block = False
        self._writer = writer
        self._process = os.getpid()
        self._tell = ended
        self._over = False
        self._steps: dict[str, int] = {}
        self._lock = threading.Lock()
        self._started = started
        writer.note(started)

    @property
    def to(self) -> str:
        """Return the folder or the address that the run is logged to."""
        return self._writer.to

    @property
    def is_own(self) -> bool:
        """Return whether this process began the run, and not the one it was forked from."""
        return self._process == os.getpid()

    def log(
        self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **named: Any
    ) -> None:
        """Log one point per metric, now; without ``step`` its steps count 0, 1, 2 and so on.

        NaN and infinities are values like any other; a boolean is 0 or 1.

        Raises
        ------
        Invalid
            If a value is no number, or a name cannot be kept; then nothing is logged.
        """
        if values:
            named = {**values, **named}
        self._check_open()
        # Checked before anything is counted: all of it is logged, or none.
        if step is not None:
            step = _step(step)
        numbers: list[tuple[str, float]] = []
        for key, value in named.items():
            number = _number(key, value)
            if number is None:
                raise _wrong(named)
            numbers.append((key, number))
        steps = self._steps
        points = []
        with self._lock:
            for key, number in numbers:
                steps[key] = at = steps.get(key, -1) + 1 if step is None else step
                points.append((key, number, at))
        if points:
            self._writer.note(Points(self.id, self._writer.now_us(), points))

    def log_params(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Log parameters: texts, numbers, booleans or None, which never change.

        Raises
        ------
        Invalid
            If a value is anything else, or a name or value cannot be kept.
        """
        self._check_open()
        given = {key: plain_scalar(value) for key, value in {**(values or {}), **named}.items()}
        param_texts(self.id, given)
        if given:
            self._writer.note(Params(self.id, given))

    def set_tags(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Set tags, replacing those of the same keys; values are kept as text. Raises Invalid."""
        self._check_open()
        texts = {key: str(value) for key, value in {**(values or {}), **named}.items()}
        check_texts(f"run {self.id}", "tag", texts, TAG_LENGTH)
        if texts:
            self._writer.note(Tags(self.id, texts))

    def log_file(self, path: str | Path, name: str | None = None) -> None:
        """Log a file, as it is now, as the artifact ``name``: without one, under its own.

        Raises
        ------
        SourceMissing, Invalid
            If there is no such file, or the name could leave the folder it is downloaded to.
        """
        self._check_open()
        file = Path(path)
        name = file.name if name is None else name
        check_path(name)
        digest, size = self._writer.keep(file)
        media = mimetypes.guess_type(name)[0] or UNKNOWN_MEDIA
        self._writer.note(File(self.id, name, digest, size, media))

    def end(self, status: str = "finished", *, error: str | None = None) -> None:
        """End the run as finished, failed or cancelled; once it has ended this does nothing."""
        ended = RunStatus(status)
        with self._lock:
            if self._over:
                return
            self._over = True
        told = None if error is None else error[:ERROR_LENGTH]
        self._writer.note(RunEnded(self.id, self._writer.now_us(), ended, told))
        self._tell(self)

    def forked(self) -> None:
        """Go on in a process that was forked: a thread of the parent may have held the lock.

        Its journal may arrive before the parent's: it says which run it goes on with.
        """
        self._lock = threading.Lock()
        self._writer.begin_with(structs.replace(self._started, tags={}))

    def __enter__(self) -> Self:
        self.inside_block = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        status, words = outcome(error)
        self.end(status, error=words)

    def _check_open(self) -> None:
        if self._over:
            raise Conflict(
                f"run {self.id} has ended",
                hint="Go on with it: everfit.start_run(run_id=...).",
                run=self.id,
            )


def outcome(error: BaseException | None) -> tuple[str, str | None]:
    """Return how a run ends that ``error`` ends, and in which words."""
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "finished", None
    if isinstance(error, KeyboardInterrupt):
        return "cancelled", None
    return "failed", f"{type(error).__name__}: {error}"


def _number(key: str, value: Any) -> float | None:
    """Return a metric's value as a float, or None where it, or its name, is wrong."""
    if type(key) is not str or wrong_key(key) is not None:
        return None
    if type(value) is float:
        return value
    # Also of NumPy, and of a tensor with one element; a text is none, even of digits.
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def _step(value: Any) -> int:
    try:
        step = operator.index(value)
    except TypeError:
        step = MOST_INT64 + 1
    if abs(step) > MOST_INT64:
        raise Invalid(f"{value!r} is no step", hint="Use a whole number of at most 64 bits.")
    return step


def _wrong(given: Mapping[Any, Any]) -> Invalid:
    problems = [
        Problem(
            path=f"metric {key!r}",
            found=type(value).__name__,
            remedy=_remedy(key),
        )
        for key, value in given.items()
        if _number(key, value) is None
    ]
    return Invalid.of("metrics", problems, hint="Nothing was logged.")


def _remedy(key: object) -> str:
    if not isinstance(key, str):
        return "name it by a text"
    return wrong_key(key) or "log one number; texts go to log_params or set_tags"
