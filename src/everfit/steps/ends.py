"""What ended a step that gave no value, as the error to raise for it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from everfit import errors
from everfit.errors import EverfitError, Problem, StepFailed
from everfit.steps.pool import ProcessEnded

GIB = 1024**3
BY_CODE = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, EverfitError)
}


class Raised(Exception):
    """The step raised an error; ``error`` is it as data."""

    def __init__(self, error: Mapping[str, Any], output: str) -> None:
        super().__init__(error["message"])
        self.error = error
        self.output = output


def meaning(name: str, error: BaseException, before: ProcessEnded | None = None) -> BaseException:
    """Return the error to raise for what ended a step, and its process ``before``."""
    if isinstance(error, ProcessEnded):
        return _process_ended(name, error, before)
    if not isinstance(error, Raised):
        return error
    told = error.error
    known = [BY_CODE[code] for code in told["codes"] if code in BY_CODE]
    if known:
        problems = [Problem(path=p, found=f, remedy=r) for p, f, r in told.get("problems", ())]
        context = {**told.get("context", {}), "step": name}
        return known[0](told["message"], hint=told["hint"], problems=problems, **context)
    lines = "".join(f"\n  {line}" for line in told["traceback"])
    return StepFailed(
        f"step {name!r} raised {told['message']}{lines}",
        hint="Correct it and run again: the steps that had finished are not repeated.",
        step=name,
        error=told["type"],
        traceback=told["traceback"],
        output=error.output,
    )


def _process_ended(name: str, ended: ProcessEnded, before: ProcessEnded | None) -> StepFailed:
    hint = "Look at what it printed last, then run again: finished steps are not repeated."
    if ended.signal == signal.SIGKILL:
        hint = "Mostly the memory ran out: give the step less data, or the machine more memory."
    first = (
        f"; it was run twice, and the first time it ended with {words(before)}" if before else ""
    )
    return StepFailed(
        f"the process of step {name!r} ended with {words(ended)}{first}",
        hint=hint,
        step=name,
        signal=ended.signal or None,
        exit_code=ended.exit_code,
        peak_bytes=ended.peak_bytes,
        output=ended.output,
    )


def words(ended: ProcessEnded) -> str:
    """Return how a process ended, in words."""
    by = f"exit code {ended.exit_code}"
    if ended.signal:
        by = f"signal {signal.Signals(ended.signal).name}"
    memory = f", having held up to {ended.peak_bytes / GIB:.2f} GiB" if ended.peak_bytes else ""
    return f"{by}{memory}"
