"""What a training ran, written down so that it can be run again: each step and what it gave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from everfit.kernel import canonical_json
from everfit.steps import BLOB, Call, StepResult

RECIPE = "recipe.json"
"""Artifact with the recipe of a training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStep:
    """A step as it was run, under a ``name`` that no other step of the run has.

    ``function`` is ``"module.path:name"``, or ``"pipeline.py:name"`` from the project's folder on.
    ``inputs`` are names of recorded steps, or ``"blob:<digest>"`` for what no step gave.
    """

    name: str
    function: str
    inputs: Mapping[str, str]
    params: Mapping[str, Any]
    own_process: bool
    key: str
    digest: str

    @property
    def reads_source(self) -> bool:
        """Return whether the step asks the world outside, which may answer otherwise today."""
        return self.name == "collected" or self.inputs.get("source", "").startswith(BLOB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a run ran: its steps, each after its inputs.

    ``kept`` are the digests of what was recorded of code and environment, by name.
    """

    kept: Mapping[str, str]
    steps: tuple[RecordedStep, ...]

    def encode(self) -> bytes:
        """Return the recipe as JSON."""
        return canonical_json(asdict(self)).encode()


def decode_recipe(content: bytes) -> Recipe:
    """Return the recipe that ``Recipe.encode`` wrote."""
    plain = json.loads(content)
    return Recipe(kept=plain["kept"], steps=tuple(RecordedStep(**step) for step in plain["steps"]))


class Recorder:
    """Writes the recipe of one run whose project lies in ``base``, as its steps are done."""

    def __init__(self, base: Path) -> None:
        self.steps: list[RecordedStep] = []
        self._base = base.resolve()
        self._makers: dict[str, str] = {}
        self._known: dict[tuple[str, str], str] = {}

    def add(self, calls: Sequence[Call], results: Mapping[str, StepResult]) -> None:
        """Take down steps that are done, all that were asked for together.

        Steps of different times may have one name: the second of them gets a number. One that
        is asked for again, with the same inputs, is taken down once.
        """
        by_name = {call.name: call for call in calls}
        order = TopologicalSorter({call.name: sorted(call.needs) for call in calls})
        names: dict[str, str] = {}
        for name in order.static_order():
            result = results[name]
            if (name, result.key) not in self._known:
                step = self._recorded(by_name[name], result, names)
                self.steps.append(step)
                self._makers.setdefault(step.digest, step.name)
                self._known[name, result.key] = step.name
            names[name] = self._known[name, result.key]

    def _recorded(self, call: Call, result: StepResult, names: Mapping[str, str]) -> RecordedStep:
        inputs = {}
        for parameter, source in call.inputs.items():
            maker = self._makers.get(source.removeprefix(BLOB))
            inputs[parameter] = names.get(source) or maker or source
        return RecordedStep(
            name=self._free(call.name),
            function=self._from_base(call.function),
            inputs=inputs,
            params=dict(call.params),
            own_process=call.own_process,
            key=result.key,
            digest=result.digest,
        )

    def _free(self, name: str) -> str:
        taken = {step.name for step in self.steps}
        numbered = (f"{name} ({number})" for number in range(2, len(taken) + 3))
        return next(free for free in (name, *numbered) if free not in taken)

    def _from_base(self, function: str) -> str:
        where, _, name = function.rpartition(":")
        path = Path(where)
        if path.is_absolute() and path.is_relative_to(self._base):
            return f"{path.relative_to(self._base).as_posix()}:{name}"
        return function
