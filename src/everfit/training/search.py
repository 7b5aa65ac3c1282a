"""Hyper-parameter search: proposes parameters in rounds, reproducibly, fair to every candidate."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from everfit.training.candidates import algorithm, is_range
from everfit.training.model import CandidateSpec

# Proposals per candidate between two looks at the results. Fixed, and not the number of cores:
# the same seed must find the same model on every machine.
ROUND = 4
# Random proposals before the sampler models what is good.
STARTUP = 5
# From this ratio on, a range is searched by order of magnitude.
WIDE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A parameter searched between two bounds, both included."""

    low: float | int
    high: float | int
    logarithmic: bool = False

    def nearest(self, value: Any) -> float | int:
        """Return ``value`` moved into the range."""
        nearest: float | int = min(max(value, self.low), self.high)
        return nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A parameter searched among listed values."""

    values: tuple[Any, ...]

    def nearest(self, value: Any) -> Any:
        """Return ``value`` if it is listed, else the first that is."""
        return value if value in self.values else self.values[0]


Space = Mapping[str, Range | Choice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Competitor:
    """A candidate with the parameters it starts from and the space it is searched in."""

    name: str
    start: Mapping[str, Any]
    space: Space = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One set of parameters of one candidate; number 0 is where the candidate starts."""

    candidate: str
    number: int
    params: Mapping[str, Any]


def competitor(spec: CandidateSpec, *, defaults: Mapping[str, Any] | None = None) -> Competitor:
    """Return ``spec`` with everything it leaves open filled in.

    ``defaults`` are those of the user's function, None for a candidate word. Without ranges of
    its own a candidate word is searched in its default ranges, except for parameters it sets.

    Examples
    --------
    >>> forest = competitor(CandidateSpec(name="forest", search={"depth": [2, 8]}))
    >>> forest.start, forest.space
    ({'trees': 100, 'depth': 8, 'leaf': 3}, {'depth': Range(low=2, high=8, logarithmic=False)})
    """
    known = algorithm(spec.name) if defaults is None else None
    if known is not None:
        defaults = known.defaults
    space: dict[str, Range | Choice] = {
        name: _space(spec, name, values) for name, values in spec.search.items()
    }
    if known is not None and not spec.search:
        for parameter in known.parameters:
            if parameter.name not in spec.params:
                low, high = parameter.search
                logarithmic = parameter.logarithmic
                space[parameter.name] = Range(low=low, high=high, logarithmic=logarithmic)
    start = {**(defaults or {}), **spec.params}
    for name, searched in space.items():
        start[name] = searched.nearest(start.get(name, spec.search.get(name, [None])[0]))
    return Competitor(name=spec.name, start=start, space=space)


def _space(spec: CandidateSpec, name: str, values: Sequence[Any]) -> Range | Choice:
    if not is_range(values):
        return Choice(values=tuple(values))
    low, high = values
    known = algorithm(spec.name)
    parameter = known.parameter(name) if known else None
    if parameter is not None:
        kind = int if parameter.whole else float
        return Range(low=kind(low), high=kind(high), logarithmic=parameter.logarithmic)
    return Range(low=low, high=high, logarithmic=low > 0 and high / low >= WIDE)


class Search:
    """Asks for trials round by round and learns from their values.

    Same competitors, trials and seed, and same values told: same trials asked for. ``trials``
    counts all trainings, ``better`` is "lower" or "higher". The first round holds every
    competitor's start, even where ``trials`` is less; what is left is shared evenly among those
    that have something to search.
    """

    def __init__(
        self, competitors: Sequence[Competitor], *, trials: int, better: str, seed: int
    ) -> None:
        self.competitors = tuple(competitors)
        self.better = better
        self.seed = seed
        self._left = _shares(self.competitors, trials)
        self._studies: dict[str, _Study] = {}
        self._started = False

    def ask(self) -> list[Trial]:
        """Return the next round of trials, none when the search is over."""
        if not self._started:
            self._started = True
            return [Trial(candidate=c.name, number=0, params=c.start) for c in self.competitors]
        return [
            self._study(competitor).ask()
            for competitor in self.competitors
            for _ in range(self._take(competitor.name))
        ]

    def tell(self, trial: Trial, value: float) -> None:
        """Learn that ``trial`` reached ``value``; NaN says that it failed."""
        competitor = next(c for c in self.competitors if c.name == trial.candidate)
        if self._left[competitor.name] or competitor.name in self._studies:
            self._study(competitor).tell(trial, value)

    def _take(self, name: str) -> int:
        taken = min(ROUND, self._left[name])
        self._left[name] -= taken
        return taken

    def _study(self, competitor: Competitor) -> _Study:
        if competitor.name not in self._studies:
            seed = self.seed + self.competitors.index(competitor)
            self._studies[competitor.name] = _Study(competitor, self.better, seed)
        return self._studies[competitor.name]


def _shares(competitors: Sequence[Competitor], trials: int) -> dict[str, int]:
    left = max(trials - len(competitors), 0)
    searched = [competitor.name for competitor in competitors if competitor.space]
    shares = dict.fromkeys((competitor.name for competitor in competitors), 0)
    for position, name in enumerate(searched):
        shares[name] = left // len(searched) + (position < left % len(searched))
    return shares


class _Study:
    """One competitor's search: Optuna's tree-structured Parzen estimator."""

    def __init__(self, competitor: Competitor, better: str, seed: int) -> None:
        self.competitor = competitor
        optuna = _optuna()
        self.distributions = {name: _distribution(s) for name, s in competitor.space.items()}
        self.study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP),
            direction="minimize" if better == "lower" else "maximize",
        )
        self.open: dict[int, Any] = {}
        self.asked = 0

    def ask(self) -> Trial:
        """Return a new proposal."""
        asked = self.study.ask(self.distributions)
        self.asked += 1
        self.open[self.asked] = asked
        params = {**self.competitor.start, **asked.params}
        return Trial(candidate=self.competitor.name, number=self.asked, params=params)

    def tell(self, trial: Trial, value: float) -> None:
        """Record the value of a proposal, or of the start, which Optuna did not propose."""
        failed = not math.isfinite(value)
        if trial.number:
            state = _optuna().trial.TrialState.FAIL if failed else None
            self.study.tell(self.open.pop(trial.number), None if failed else value, state=state)
        elif not failed:
            params = {name: trial.params[name] for name in self.distributions}
            self.study.add_trial(
                _optuna().trial.create_trial(
                    params=params, distributions=self.distributions, value=value
                )
            )


def _distribution(space: Range | Choice) -> Any:
    distributions = _optuna().distributions
    if isinstance(space, Choice):
        return distributions.CategoricalDistribution(space.values)
    whole = isinstance(space.low, int) and isinstance(space.high, int)
    kind = distributions.IntDistribution if whole else distributions.FloatDistribution
    return kind(space.low, space.high, log=space.logarithmic)


@functools.cache
def _optuna() -> Any:
    # Half a second to import, and most trainings search nothing.
    import optuna  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
