"""What running a training again shows: step by step, and in one word. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from everfit.measures.figures import counted
from everfit.training import RecordedStep

TOLERANCE = 1e-9
"""Relative difference of numbers up to which values count as equal."""
MOST_NAMED = 3


class Verdict(StrEnum):
    """What came of running a training again."""

    IDENTICAL = "identical"
    EQUAL = "equal within tolerance"
    DIFFERENT = "different"
    IMPOSSIBLE = "not reproducible"


class Likeness(StrEnum):
    """How what a step gave again is like what it gave then.

    An opaque value has other bytes and nothing else that can be compared; it is judged by what
    was made of it.
    """

    TAKEN = "taken as recorded"
    IDENTICAL = "identical"
    EQUAL = "equal within tolerance"
    OPAQUE = "other bytes"
    DIFFERENT = "different"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One step, run again; ``difference`` is relative, None where it is no matter of numbers."""

    name: str
    likeness: Likeness
    difference: float | None = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A package or a part of the platform that is not the one recorded; None where it is absent."""

    name: str
    recorded: str | None
    installed: str | None

    def __str__(self) -> str:
        return f"{self.name} {self.recorded or 'absent'} -> {self.installed or 'absent'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A training that was run again: the verdict and what it rests on.

    ``why`` says in a sentence what the verdict does not; ``environment`` lists in which packages
    this installation is another than the one of the training.
    """

    run: str
    verdict: Verdict
    why: str
    tolerance: float
    environment: tuple[Change, ...] = ()
    steps: tuple[Checked, ...] = ()

    @property
    def first(self) -> Checked | None:
        """Return the first step that differs, in the order in which they build on each other."""
        return next((step for step in self.steps if step.likeness is Likeness.DIFFERENT), None)

    @property
    def badge(self) -> str:
        """Return the verdict as the tag of the run has it."""
        said = str(self.verdict)
        if self.verdict is Verdict.EQUAL:
            said = f"equal within {self.tolerance:g}"
        if self.verdict is Verdict.DIFFERENT and self.first is not None:
            said += f": {self.first.name}"
        if self.verdict is Verdict.IMPOSSIBLE:
            said += f": {self.why}"
        changed = counted(len(self.environment), "change") + " of the environment"
        return f"{said}, with {changed}" if self.environment else said

    def __str__(self) -> str:
        why = "" if self.verdict is Verdict.IMPOSSIBLE else self.why
        return f"{self.run}: {self.badge}" + (f"; {why}" if why else "")


def changes(recorded: Mapping[str, str], installed: Mapping[str, str]) -> tuple[Change, ...]:
    """Return where two environments differ, by name.

    Examples
    --------
    >>> [str(change) for change in changes({"numpy": "1.26", "pip": "24"}, {"numpy": "2.0"})]
    ['numpy 1.26 -> 2.0', 'pip 24 -> absent']
    """
    found = (
        Change(name=name, recorded=recorded.get(name), installed=installed.get(name))
        for name in sorted({*recorded, *installed})
    )
    return tuple(change for change in found if change.recorded != change.installed)


def likened(name: str, found: Mapping[str, object], tolerance: float) -> Checked:
    """Return how far apart the two values of a step are, as ``likeness`` found it."""
    difference, where = found["difference"], str(found["where"])
    if not isinstance(difference, float) or not difference <= tolerance:
        number = difference if isinstance(difference, float) else None
        return Checked(name=name, likeness=Likeness.DIFFERENT, difference=number, detail=where)
    likeness = Likeness.OPAQUE if found["opaque"] else Likeness.EQUAL
    return Checked(name=name, likeness=likeness, difference=difference, detail=where)


def judged(steps: Sequence[RecordedStep], checked: Sequence[Checked]) -> tuple[Checked, ...]:
    """Return what was checked, each opaque value judged by what was made of it.

    It counts as equal where something was, and all of that is equal; else as different.
    """
    found = {check.name: check for check in checked}
    takers: dict[str, list[str]] = {}
    for step in reversed(steps):
        check = found[step.name]
        if check.likeness is Likeness.OPAQUE:
            made = [found[taker].likeness for taker in takers.get(step.name, [])]
            equal = bool(made) and all(one in (Likeness.IDENTICAL, Likeness.EQUAL) for one in made)
            found[step.name] = replace(
                check, likeness=Likeness.EQUAL if equal else Likeness.DIFFERENT
            )
        for source in step.inputs.values():
            takers.setdefault(source, []).append(step.name)
    return tuple(found[check.name] for check in checked)


def verdict_of(steps: Sequence[Checked]) -> tuple[Verdict, str]:
    """Return the verdict on steps that were all run, and a sentence on what decided it."""
    differing = [step for step in steps if step.likeness is Likeness.DIFFERENT]
    if differing:
        first = differing[0]
        by = "" if first.difference is None else f", by {first.difference:.2g}"
        rest = len(differing) - 1
        others = f"; {counted(rest, 'step')} behind or beside it too" if rest else ""
        return Verdict.DIFFERENT, f"{first.name!r} differs first{by}: {first.detail}{others}"
    near = [step for step in steps if step.likeness is Likeness.EQUAL]
    if not near:
        return Verdict.IDENTICAL, ""
    most = max(near, key=lambda step: step.difference or 0.0)
    named = ", ".join(repr(step.name) for step in near[:MOST_NAMED])
    more = f" and {len(near) - MOST_NAMED} more" if len(near) > MOST_NAMED else ""
    if not most.difference:
        return Verdict.EQUAL, f"the same values in other bytes: {named}{more}"
    return Verdict.EQUAL, (
        f"{named}{more} differ by at most {most.difference:.2g}, in {most.name!r}: {most.detail}"
    )
