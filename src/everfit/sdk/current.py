"""The runs that are open in this process: ``everfit.log`` goes to the one opened last."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from everfit.kernel import load_settings, nearest_project, new_id
from everfit.kernel.clock import SystemClock
from everfit.sdk.notes import Notes
from everfit.sdk.open_run import OpenRun, outcome
from everfit.sdk.outbox import destination, is_address
from everfit.sdk.step import NOWHERE, StepNotes
from everfit.sdk.writer import Writer
from everfit.tracking import PARENT_TAG
from everfit.tracking.journalled import RunStarted
from everfit.within import at_step_end, step_context


class _Process:
    """What this process logs: writers by place, open runs, and how it ends."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.writers: dict[str, Notes] = {}
        self.runs: list[OpenRun] = []
        self.fatal: BaseException | None = None
        self._hook = sys.excepthook
        sys.excepthook = self._failed
        atexit.register(self.end)
        at_step_end(self._step_ended)
        self._held: list[threading.Lock] = []
        os.register_at_fork(
            before=self._pause, after_in_parent=self._go_on, after_in_child=self._forked
        )

    def writer(self, to: str) -> Notes:
        context = step_context()
        if context is not None and not context.run:
            return NOWHERE
        if to not in self.writers:
            self.writers[to] = Writer(partial(destination, to))
        return self.writers[to]

    def join_step(self) -> None:
        """Open the run that the step in this process works for, if one runs and it is not open."""
        context = step_context()
        if context is None or not context.run or self.runs:
            return
        notes = self.writers[context.journals] = StepNotes(context)
        run = OpenRun(notes, _known(context.run), ended=self.ended)
        # A run that the step starts is its child, and does not take its place.
        run.inside_block = True
        self.runs.append(run)

    def ended(self, run: OpenRun) -> None:
        with self.lock:
            if run in self.runs:
                self.runs.remove(run)

    def end(self) -> None:
        """End the runs that this process began, and deliver."""
        status, error = outcome(self.fatal)
        for run in reversed(list(self.runs)):
            if run.is_own:
                run.end(status, error=error)
        for writer in list(self.writers.values()):
            writer.close()

    def _step_ended(self, error: BaseException | None) -> None:
        """End and deliver what the step began by itself; the next one begins anew."""
        self.fatal = error
        self.end()
        self.writers.clear()
        self.runs.clear()

    def _failed(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self.fatal = error
        self._hook(kind, error, trace)

    def _pause(self) -> None:
        self._held = [lock for writer in list(self.writers.values()) for lock in writer.pause()]

    def _go_on(self) -> None:
        held, self._held = self._held, []
        for lock in held:
            lock.release()

    def _forked(self) -> None:
        self._held = []
        self.lock = threading.RLock()
        for writer in self.writers.values():
            writer.forked()
        for run in self.runs:
            run.forked()


_process = _Process()


def start_run(
    name: str | None = None,
    *,
    experiment: str | None = None,
    tags: Mapping[str, Any] | None = None,
    to: str | Path | None = None,
    run_id: str | None = None,
) -> OpenRun:
    """Start a run, to which everything is logged until it ends, and return it.

    ``with everfit.start_run("baseline"):`` ends it with the block; a run within the block is
    its child. Without ``with`` it ends when the next one starts, or with the process.

    Parameters
    ----------
    name
        What it is called; without one it is given a name that can be remembered.
    experiment
        Its name; made where there is none.
    to
        A project's folder, or the address of an ``everfit server``. Without it the setting
        ``log_to``, and without that the nearest project from the working folder upwards.
    run_id
        A run to go on with, also one of another process: both log to it.
    """
    with _process.lock:
        _process.join_step()
        while _process.runs and not _process.runs[-1].inside_block:
            _ended_by_next(_process.runs.pop())
        given = {key: str(value) for key, value in (tags or {}).items()}
        if _process.runs and run_id is None:
            given.setdefault(PARENT_TAG, _process.runs[-1].id)
        folder = nearest_project(Path.cwd())
        settings = load_settings(folder)
        place = str(to or settings.log_to or folder)
        writer = _process.writer(place if is_address(place) else str(Path(place).resolve()))
        started = RunStarted(
            run=run_id or new_id("run", SystemClock().now()),
            at_us=writer.now_us(),
            name=name,
            experiment=experiment,
            actor=settings.actor,
            tags=given,
        )
        run = OpenRun(writer, started, ended=_process.ended)
        _process.runs.append(run)
        return run


def log(
    values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **named: Any
) -> None:
    """Log metrics to the open run: ``everfit.log(loss=0.3)``; see ``OpenRun.log``.

    Without an open run one is started, called after the script. In a step of a pipeline it is
    the run of the training.
    """
    (_process.runs[-1] if _process.runs else _own_run()).log(values, step=step, **named)


def log_params(values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
    """Log parameters to the open run; see ``OpenRun.log_params``."""
    (_process.runs[-1] if _process.runs else _own_run()).log_params(values, **named)


def set_tags(values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
    """Set tags of the open run; see ``OpenRun.set_tags``."""
    (_process.runs[-1] if _process.runs else _own_run()).set_tags(values, **named)


def log_file(path: str | Path, name: str | None = None) -> None:
    """Log a file to the open run; see ``OpenRun.log_file``."""
    (_process.runs[-1] if _process.runs else _own_run()).log_file(path, name)


def _own_run() -> OpenRun:
    """Return the run of a step, or start the run of a script that started none."""
    with _process.lock:
        _process.join_step()
        context = step_context()
        if not _process.runs and context is not None:
            nobody = _known(new_id("run", SystemClock().now()))
            return OpenRun(NOWHERE, nobody, ended=_process.ended)
        script = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c") else ""
        return _process.runs[-1] if _process.runs else start_run(script or None)


def _known(run: str) -> RunStarted:
    """Return the start of a run that has begun elsewhere."""
    return RunStarted(run=run, at_us=0, name=None, experiment=None, actor="", tags={})


def _ended_by_next(run: OpenRun) -> None:
    if run.is_own:
        run.end()
