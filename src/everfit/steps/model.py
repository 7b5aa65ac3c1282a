"""What the step engine is asked for and what it answers: calls, results, progress."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from everfit.errors import PipelineInvalid, Problem

BLOB = "blob:"
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One step to run: ``function(**values of inputs, **params)``.

    ``function`` is ``"module.path:name"`` or ``"/absolute/pipeline.py:name"``. ``inputs`` maps a
    parameter to the name of another call, or to ``"blob:<digest>"`` of a stored value; ``params``
    are literal JSON values. ``version`` is further text for the cache key. With a ``prefix`` what
    the step logs is called ``prefix/name``; it is no part of the key.
    """

    name: str
    function: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    own_process: bool = False
    version: str = ""
    prefix: str = ""

    @property
    def needs(self) -> frozenset[str]:
        """Return the names of the calls whose values this one takes."""
        return frozenset(i for i in self.inputs.values() if not i.startswith(BLOB))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step that is done. Its value is the blob ``digest``; ``load_value`` opens it.

    The figures are those of the execution that made the value, also where ``cached`` says that
    this run only found it: add up ``cost`` over the results that are not cached.
    """

    name: str
    key: str
    digest: str
    cached: bool
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    cost: float
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """A row of the cache: what a step with this ``key`` gave, and what that took.

    ``recipe`` is the part of the key that does not depend on the inputs' content.
    """

    key: str
    recipe: str
    name: str
    digest: str
    kind: str
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    cost: float
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the steps that ran in a period took, whether or not their run came to a good end."""

    steps: int
    cost: float
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredValue:
    """A value this installation stored: only these are opened, for a pickle can run code."""

    digest: str
    kind: str
    bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStep:
    """What is on record of a step of a run: ``status`` is running, finished, failed or stopped."""

    name: str
    status: str
    cached: bool
    key: str
    digest: str | None
    output: str
    error: str | None
    at: datetime


class Progress(Protocol):
    """Port: is told how a run goes on; called from the thread that called ``execute``."""

    def step_started(self, name: str) -> None:
        """Take note that the step runs."""
        ...

    def step_finished(self, result: StepResult) -> None:
        """Take note that the step's value is stored."""
        ...

    def note(self, text: str) -> None:
        """Take note of anything else worth saying."""
        ...


class Quiet:
    """Progress that nobody watches."""

    def step_started(self, name: str) -> None:
        """Ignore it."""

    def step_finished(self, result: StepResult) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


quiet = Quiet()


class Heartbeat(Protocol):
    """Port: says whether the run may go on; ``kernel.Lease`` is one."""

    def check(self) -> None:
        """Return if so; raise Cancelled or LeaseLost if not."""
        ...


def step(*, own_process: bool = False) -> Callable[[F], F]:
    """Mark a step of ``pipeline.py``; ``own_process`` gives it a fresh process of its own.

    Examples
    --------
    >>> @step(own_process=True)
    ... def doubled(number: int) -> int:
    ...     return number * 2
    >>> doubled(4)
    8
    """

    def mark(function: F) -> F:
        function.__everfit_own_process__ = own_process  # type: ignore[attr-defined]
        return function

    return mark


def check_calls(calls: Sequence[Call]) -> None:
    """Raise PipelineInvalid, naming every problem, unless the calls can all be run.

    Examples
    --------
    >>> check_calls([Call(name="a", function="m:f", inputs={"x": "b"})])
    Traceback (most recent call last):
    everfit.errors.PipelineInvalid: the pipeline has 1 problem:
      a: found the input 'b' for x, which no step gives; use one of a
    """
    names = [call.name for call in calls]
    problems = [
        Problem(path=name, found="two steps of this name", remedy="give each step its own name")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    for call in calls:
        problems += _unknown_inputs(call, names)
    problems += [
        Problem(path=" -> ".join(loop), found="a cycle", remedy="take one of these inputs away")
        for loop in cycles({call.name: call.needs for call in calls})
    ]
    if problems:
        raise PipelineInvalid.of("the pipeline", problems, hint="Correct them all, then run again.")


def _unknown_inputs(call: Call, names: Sequence[str]) -> list[Problem]:
    return [
        Problem(
            path=call.name,
            found=f"the input {source!r} for {parameter}, which no step gives",
            remedy=f"use one of {', '.join(sorted(set(names)))}",
        )
        for parameter, source in call.inputs.items()
        if not source.startswith(BLOB) and source not in names
    ]


def cycles(needs: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return loops in ``needs``, each as names that end where they began, until none is left.

    Examples
    --------
    >>> cycles({"a": ["b"], "b": ["a"], "c": ["c"]})
    [['a', 'b', 'a'], ['c', 'c']]
    """
    left = {name: set(sources) for name, sources in needs.items()}
    found = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            loop = list(error.args[1])
            found.append(loop)
            # graphlib lists each name before the one that needs it.
            for source, name in pairwise(loop):
                left[name].discard(source)
        else:
            return found
