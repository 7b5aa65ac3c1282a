"""Rollout steps, releases and what an endpoint serves, with their transitions. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from everfit.errors import Conflict
from everfit.evaluation import Outcome
from everfit.kernel import UNIT_SECONDS, parse_duration

Numbers = Mapping[str, float | int | str | None]

ROLLOUT_FORM = "write steps such as 'shadow 1d -> 5% -> 25% -> 100%'"
FIRST_DURATION = timedelta(days=1)


class StepKind(StrEnum):
    """What a step of a rollout lets the candidate do."""

    SHADOW = "shadow"
    CANARY = "canary"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """One step: the candidate answers a ``share`` (0 to 1) of keys for at least ``duration``."""

    kind: StepKind
    share: float
    duration: timedelta

    def __str__(self) -> str:
        if self.kind is StepKind.FULL:
            return "100%"
        head = "shadow" if self.kind is StepKind.SHADOW else f"{self.share * 100:.10g}%"
        return f"{head} {_duration_text(self.duration)}"


def parse_rollout(text: str) -> tuple[RolloutStep, ...]:
    """Return the steps that ``text`` declares; a step without a duration takes the one before it.

    Shares grow, ``shadow`` comes first if at all, the last step is 100%.

    Raises
    ------
    ValueError
        Saying which step is wrong and what is expected.

    Examples
    --------
    >>> [str(step) for step in parse_rollout("shadow 12h -> 5% -> 25% 2d -> 100%")]
    ['shadow 12h', '5% 12h', '25% 2d', '100%']
    """
    steps: list[RolloutStep] = []
    for part in text.split("->"):
        before = steps[-1].duration if steps else FIRST_DURATION
        step = _parse_step(part.strip(), before)
        if steps and not step.share > steps[-1].share:
            raise ValueError(f"{part.strip()!r} does not raise the share; {ROLLOUT_FORM}")
        steps.append(step)
    if steps[-1].kind is not StepKind.FULL:
        raise ValueError(f"the last step is {str(steps[-1])!r}, not 100%; {ROLLOUT_FORM}")
    return tuple(steps)


def describe_rollout(steps: Sequence[RolloutStep]) -> str:
    """Return the text from which ``parse_rollout`` makes ``steps`` again."""
    return " -> ".join(map(str, steps))


def _parse_step(text: str, before: timedelta) -> RolloutStep:
    match = re.fullmatch(r"(shadow|(\d+(?:\.\d+)?)\s*%)(?:\s+(\d+[wdhms]))?", text)
    if match is None:
        raise ValueError(f"{text!r} is no step; {ROLLOUT_FORM}")
    duration = before if match[3] is None else parse_duration(match[3])
    if match[1] == "shadow":
        return RolloutStep(kind=StepKind.SHADOW, share=0.0, duration=duration)
    share = float(match[2]) / 100
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is not above 0% and up to 100%; {ROLLOUT_FORM}")
    kind = StepKind.FULL if share == 1 else StepKind.CANARY
    return RolloutStep(kind=kind, share=share, duration=duration)


def _duration_text(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    sizes = reversed(UNIT_SECONDS.items())
    unit, size = next((unit, size) for unit, size in sizes if seconds % size == 0)
    return f"{seconds // size}{unit}" if seconds else "0s"


class ReleaseState(StrEnum):
    """Where a release stands: rolling out, answering everything, taken back, or replaced."""

    ROLLING = "rolling"
    LIVE = "live"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One model version on its way to, or at, an endpoint; ``revision`` counts its changes.

    ``live_at`` is when it began to answer everything, ``ended_at`` when it stopped for good.
    """

    id: str
    endpoint: str
    version: int
    steps: tuple[RolloutStep, ...]
    step: int
    state: ReleaseState
    step_since: datetime
    started_at: datetime
    live_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    revision: int = 0

    @property
    def at(self) -> RolloutStep:
        """Return the step it has reached."""
        return self.steps[self.step]

    @property
    def following(self) -> RolloutStep:
        """Return the step after it; the last one stays the last."""
        return self.steps[min(self.step + 1, len(self.steps) - 1)]


def move_on(release: Release, now: datetime) -> Release:
    """Return ``release`` one step further; at 100% it is live."""
    _must_be(release, ReleaseState.ROLLING)
    if release.following.kind is StepKind.FULL:
        return go_live(release, now)
    return replace(release, step=release.step + 1, step_since=now, revision=release.revision + 1)


def go_live(release: Release, now: datetime) -> Release:
    """Return ``release`` answering everything: again since ``step_since``, first at ``live_at``."""
    return replace(
        release,
        step=len(release.steps) - 1,
        state=ReleaseState.LIVE,
        step_since=now,
        live_at=release.live_at or now,
        ended_at=None,
        reason=None,
        revision=release.revision + 1,
    )


def end(release: Release, state: ReleaseState, reason: str, now: datetime) -> Release:
    """Return ``release`` rolled back or superseded, for ``reason``."""
    _must_be(release, ReleaseState.ROLLING, ReleaseState.LIVE)
    return replace(release, state=state, reason=reason, ended_at=now, revision=release.revision + 1)


def _must_be(release: Release, *states: ReleaseState) -> None:
    if release.state not in states:
        raise Conflict(
            f"release {release.id} of version {release.version} is {release.state}",
            hint=f"Only a release that is {' or '.join(states)} can change so; start a new one.",
            release=release.id,
            state=release.state,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPlan:
    """What an endpoint serves: the champion, and the candidate with its share of the keys.

    In ``shadow`` the candidate scores every row and answers none. ``revision`` grows with every
    change, so that a model server sees by one number whether it has to load anything.
    """

    endpoint: str
    revision: int
    champion: int
    candidate: int | None = None
    share: float = 0.0
    shadow: bool = False


def plan_for(
    endpoint: str, champion: int, rolling: Release | None, *, revision: int
) -> ServingPlan:
    """Return the plan by which version ``champion`` answers beside what is ``rolling`` out."""
    if rolling is None:
        return ServingPlan(endpoint=endpoint, revision=revision, champion=champion)
    return ServingPlan(
        endpoint=endpoint,
        revision=revision,
        champion=champion,
        candidate=rolling.version,
        share=rolling.at.share,
        shadow=rolling.at.kind is StepKind.SHADOW,
    )


class Measure(StrEnum):
    """What a limit that rolls back at once looks at."""

    ERRORS = "errors"
    P95_MS = "p95_ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Roll back once ``measure`` is proven above ``limit`` (errors: a share, p95_ms: ms)."""

    measure: Measure
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Roll back once the truth proves the candidate worse than the champion on ``metric``."""

    metric: str
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackRules:
    """When a release is taken back, and what it must show to go on.

    ``tolerance`` is the loss, relative to the champion's, by which a candidate may be worse and
    still count as not worse. A step that has lasted ``patience`` without the evidence to go on is
    rolled back; by default that is 60 times its duration and at least 30 days.
    """

    now: tuple[Limit, ...] = (Limit(measure=Measure.ERRORS, limit=0.01),)
    later: Later | None = Later(metric="loss")
    tolerance: float = 0.05
    patience: timedelta | None = None

    def patience_for(self, step: RolloutStep) -> timedelta:
        """Return how long a release may stand at ``step``."""
        return self.patience or max(60 * step.duration, timedelta(days=30))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """What was seen of a release since it started, up to ``now``.

    To guard a live version, the ``candidate_`` fields and ``latency_ms`` describe that version
    since it went live, and the others stay as they are.

    ``rows`` counts labelled rows that both models scored. Requests and errors count rows that a
    model was asked to score. ``latency_ms`` holds the time of each answer the candidate gave,
    shape ``(answers,)``. ``paired`` holds one mean loss difference, candidate minus champion, per
    block of consecutive labelled rows, in time order, shape ``(blocks,)``; ``champion_loss`` is
    the champion's mean loss on the same rows. ``split_units`` counts the keys (rows, where there
    are no keys) seen since the step began and ``canary_units`` those given to the candidate.
    """

    now: datetime
    rows: int = 0
    candidate_requests: int = 0
    candidate_errors: int = 0
    champion_requests: int = 0
    champion_errors: int = 0
    latency_ms: Sequence[float] | npt.NDArray[np.float64] = ()
    paired: Sequence[float] | npt.NDArray[np.float64] = ()
    champion_loss: float | None = None
    split_units: int = 0
    canary_units: int = 0


class Action(StrEnum):
    """What a decision does with a release."""

    ADVANCE = "advance"
    HOLD = "hold"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with a release, why in plain words, and the numbers behind it."""

    outcome: Outcome
    action: Action
    summary: str
    numbers: Numbers
