"""The candidate words: which algorithms compete under which name, and what may be set of each.

Only words, ranges and checks; ``estimators`` builds what they name, in the step workers.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from everfit.data import Task
from everfit.errors import Problem
from everfit.training.model import CandidateSpec, Encoding

SUPERVISED = (Task.REGRESSION, Task.CLASSIFICATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A hyper-parameter: its default, the range allowed, and the range searched by default.

    A parameter whose default is a whole number takes whole numbers only. ``logarithmic``
    parameters are searched by their order of magnitude.
    """

    name: str
    default: float | int
    low: float
    high: float
    search: tuple[float, float]
    logarithmic: bool = False
    description: str

    @property
    def whole(self) -> bool:
        """Return whether only whole numbers are allowed."""
        return isinstance(self.default, int)

    def allows(self, value: object) -> bool:
        """Return whether ``value`` may be given."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return self.low <= value <= self.high

    @property
    def allowed(self) -> str:
        """Return the allowed values in words."""
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """A candidate word and what stands behind it."""

    word: str
    tasks: tuple[Task, ...]
    encoding: Encoding
    parameters: tuple[Parameter, ...]
    description: str

    def parameter(self, name: str) -> Parameter | None:
        """Return the parameter of that name, if there is one."""
        return next((known for known in self.parameters if known.name == name), None)

    @property
    def defaults(self) -> dict[str, float | int]:
        """Return every parameter with its default."""
        return {parameter.name: parameter.default for parameter in self.parameters}


def _strength(default: float = 1.0) -> Parameter:
    return Parameter(
        name="strength",
        default=default,
        low=1e-8,
        high=1e8,
        search=(1e-3, 1e3),
        logarithmic=True,
        description="regularisation: larger gives a simpler model",
    )


_LEAF = Parameter(
    name="leaf",
    default=3,
    low=1,
    high=100_000,
    search=(1, 50),
    logarithmic=True,
    description="fewest rows in a leaf",
)

ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.word: algorithm
    for algorithm in (
        Algorithm(
            word="linear",
            tasks=SUPERVISED,
            encoding=Encoding.SCALED,
            parameters=(_strength(),),
            description="ridge regression; for classification, logistic regression",
        ),
        Algorithm(
            word="logistic",
            tasks=(Task.CLASSIFICATION,),
            encoding=Encoding.SCALED,
            parameters=(_strength(),),
            description="logistic regression",
        ),
        Algorithm(
            word="svm",
            tasks=SUPERVISED,
            encoding=Encoding.SCALED,
            parameters=(
                _strength(),
                Parameter(
                    name="components",
                    default=100,
                    low=2,
                    high=2_000,
                    search=(50, 300),
                    description="rows that span the kernel; exact where the data have no more",
                ),
            ),
            description="support vector machine with a Gaussian kernel (Nyström approximation)",
        ),
        Algorithm(
            word="naive_bayes",
            tasks=(Task.CLASSIFICATION,),
            encoding=Encoding.BINNED,
            parameters=(
                Parameter(
                    name="smoothing",
                    default=1.0,
                    low=1e-6,
                    high=1e6,
                    search=(1e-2, 1e2),
                    logarithmic=True,
                    description="rows imagined for each value before counting",
                ),
            ),
            description="naive Bayes over categories and binned numbers",
        ),
        Algorithm(
            word="nearest",
            tasks=SUPERVISED,
            encoding=Encoding.SCALED,
            parameters=(
                Parameter(
                    name="neighbours",
                    default=15,
                    low=1,
                    high=1_000,
                    search=(1, 100),
                    logarithmic=True,
                    description="nearest training rows asked, nearer ones counting more",
                ),
            ),
            description="k nearest neighbours",
        ),
        Algorithm(
            word="forest",
            tasks=SUPERVISED,
            encoding=Encoding.TREES,
            parameters=(
                Parameter(
                    name="trees",
                    default=100,
                    low=1,
                    high=5_000,
                    search=(50, 300),
                    description="how many trees vote",
                ),
                Parameter(
                    name="depth",
                    default=16,
                    low=1,
                    high=64,
                    search=(4, 24),
                    description="most questions a tree asks of a row",
                ),
                _LEAF,
            ),
            description="random forest",
        ),
        Algorithm(
            word="boosting",
            tasks=SUPERVISED,
            encoding=Encoding.TREES,
            parameters=(
                Parameter(
                    name="rounds",
                    default=100,
                    low=1,
                    high=10_000,
                    search=(50, 500),
                    logarithmic=True,
                    description="how many trees are added",
                ),
                Parameter(
                    name="rate",
                    default=0.1,
                    low=1e-4,
                    high=1.0,
                    search=(0.02, 0.3),
                    logarithmic=True,
                    description="how much of each tree is added",
                ),
                Parameter(
                    name="leaves",
                    default=31,
                    low=2,
                    high=1_024,
                    search=(7, 127),
                    logarithmic=True,
                    description="most leaves of a tree",
                ),
                Parameter(
                    name="leaf",
                    default=20,
                    low=1,
                    high=100_000,
                    search=(5, 100),
                    logarithmic=True,
                    description="fewest rows in a leaf",
                ),
            ),
            description="gradient-boosted trees over histograms",
        ),
        Algorithm(
            word="kmeans",
            tasks=(Task.CLUSTERING,),
            encoding=Encoding.SCALED,
            parameters=(
                Parameter(
                    name="clusters",
                    default=8,
                    low=2,
                    high=1_000,
                    search=(2, 12),
                    description="how many clusters",
                ),
            ),
            description="k-means clustering",
        ),
    )
}

ALIASES: Mapping[str, str] = {
    "ridge": "linear",
    "svc": "svm",
    "svr": "svm",
    "bayes": "naive_bayes",
    "knn": "nearest",
    "random_forest": "forest",
    "gradient_boosting": "boosting",
    "k_means": "kmeans",
}


def algorithm(name: str) -> Algorithm | None:
    """Return what ``name`` or one of its aliases stands for, None if it is no candidate word.

    Examples
    --------
    >>> algorithm("knn").description
    'k nearest neighbours'
    """
    return ALGORITHMS.get(ALIASES.get(name, name))


def check_candidates(
    specs: Iterable[CandidateSpec], *, task: Task | None, functions: Collection[str] = ()
) -> list[Problem]:
    """Return every problem of ``specs``; ``functions`` are the user's own candidate functions.

    A function of the user's goes before a word of the same name. Paths begin with the
    candidate's name.

    Examples
    --------
    >>> wrong = CandidateSpec(name="forst", search={"depth": [9, 4]})
    >>> for problem in check_candidates([wrong], task=Task.REGRESSION):
    ...     print(problem)
    forst: found no candidate of that name; write forest
    """
    problems: list[Problem] = []
    names: set[str] = set()
    for spec in specs:
        if spec.name in names:
            problems.append(Problem(path=spec.name, found="it twice", remedy="name it once"))
        names.add(spec.name)
        known = algorithm(spec.name)
        if spec.name in functions:
            problems += _search_shape(spec)
        elif known is None:
            problems.append(_unknown(spec.name, [*ALGORITHMS, *ALIASES, *functions]))
        elif task is not None and task not in known.tasks:
            problems.append(_wrong_task(spec.name, known, task))
        else:
            problems += _parameter_problems(spec, known)
    return problems


def _unknown(name: str, names: Sequence[str]) -> Problem:
    # Two letters more or less: enough for a slip of the pen.
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    words = " or ".join(near) if near else f"one of {', '.join(ALGORITHMS)}"
    return Problem(path=name, found="no candidate of that name", remedy=f"write {words}")


def _wrong_task(name: str, known: Algorithm, task: Task) -> Problem:
    fitting = ", ".join(word for word, other in ALGORITHMS.items() if task in other.tasks)
    return Problem(
        path=name,
        found=f"a candidate for {' and '.join(known.tasks)}, but the task is {task}",
        remedy=f"write one of {fitting}",
    )


def _parameter_problems(spec: CandidateSpec, known: Algorithm) -> list[Problem]:
    problems = []
    for name, value in spec.params.items():
        parameter = known.parameter(name)
        if parameter is None:
            problems.append(_unknown_parameter(f"{spec.name}.{name}", name, known))
        elif not parameter.allows(value):
            remedy = f"write {parameter.allowed}"
            problems.append(Problem(path=f"{spec.name}.{name}", found=repr(value), remedy=remedy))
    for name, values in spec.search.items():
        path = f"{spec.name}.search.{name}"
        parameter = known.parameter(name)
        if parameter is None:
            problems.append(_unknown_parameter(path, name, known))
        elif not is_range(values) and not is_choice(values):
            problems.append(_bad_range(path, values))
        elif not all(parameter.allows(value) for value in values):
            remedy = f"let each be {parameter.allowed}"
            problems.append(Problem(path=path, found=repr(values), remedy=remedy))
    return problems


def _unknown_parameter(path: str, name: str, known: Algorithm) -> Problem:
    names = list(known.defaults)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.5) or names
    return Problem(
        path=path,
        found=f"no parameter of {known.word}",
        remedy=f"write {' or '.join(near)}",
    )


def _search_shape(spec: CandidateSpec) -> list[Problem]:
    return [
        _bad_range(f"{spec.name}.search.{name}", values)
        for name, values in spec.search.items()
        if not is_range(values) and not is_choice(values)
    ]


def _bad_range(path: str, values: object) -> Problem:
    return Problem(
        path=path,
        found=repr(values),
        remedy="write [low, high] with low below high, or a list of three or more choices",
    )


def is_range(values: object) -> bool:
    """Return whether ``values`` is ``[low, high]``: two finite numbers, the lower one first."""
    if not isinstance(values, list | tuple) or len(values) != 2:
        return False
    low, high = values
    return _is_number(low) and _is_number(high) and low < high


def is_choice(values: object) -> bool:
    """Return whether ``values`` lists what to choose from: not two numbers, those are a range."""
    if not isinstance(values, list | tuple) or not values:
        return False
    scalars = all(isinstance(value, str | int | float | bool | None) for value in values)
    return scalars and not (len(values) == 2 and all(_is_number(value) for value in values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
