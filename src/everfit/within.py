"""What the process of a step knows of the run it works for; in other processes there is nothing.

The step engine says it, and ``everfit.log`` asks for it. Only the standard library is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Where a step logs to.

    ``run`` is the id of its run, without which nothing that it logs is kept; ``journals`` the
    folder for its journals. With a ``prefix`` what it logs is called ``prefix/name``.
    """

    run: str = ""
    journals: str = ""
    prefix: str = ""


Ending = Callable[[BaseException | None], None]
NOWHERE = StepContext()
_current: StepContext | None = None
_endings: list[Ending] = []


def step_context() -> StepContext | None:
    """Return where the step of this process logs to, or None where steps are not what runs."""
    return _current


def at_step_end(ending: Ending) -> None:
    """Have ``ending`` called at the end of every step, with the error that it raised."""
    _endings.append(ending)


@contextmanager
def logging_to(context: StepContext) -> Iterator[None]:
    """Say where the step that is the block logs to; what a thread of it logs later is not kept."""
    global _current  # noqa: PLW0603 - one step at a time is what a process of steps runs
    _current = context
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        try:
            for ending in _endings:
                ending(error)
        finally:
            _current = NOWHERE
