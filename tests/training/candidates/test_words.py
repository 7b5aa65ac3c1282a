"""What may be written as a candidate, and what is said about everything else."""

from __future__ import annotations

from typing import Any

import pytest

from everfit.data import Task
from everfit.training import ALGORITHMS, CandidateSpec, check_candidates


def problems(spec: CandidateSpec, task: Task = Task.CLASSIFICATION) -> list[str]:
    return [str(problem) for problem in check_candidates([spec], task=task)]


@pytest.mark.parametrize("word", ALGORITHMS)
def test_every_word_is_accepted_with_its_defaults_and_its_search_ranges(word: str) -> None:
    known = ALGORITHMS[word]
    search = {p.name: list(p.search) for p in known.parameters}
    spec = CandidateSpec(name=word, params=known.defaults, search=search)
    for task in known.tasks:
        assert check_candidates([spec], task=task) == []


def test_an_unknown_word_is_told_the_near_ones() -> None:
    assert problems(CandidateSpec(name="boostin")) == [
        "boostin: found no candidate of that name; write boosting"
    ]
    assert "one of linear, logistic" in problems(CandidateSpec(name="xyz"))[0]


def test_all_problems_come_at_once_each_with_its_path() -> None:
    specs = [
        CandidateSpec(
            name="forest",
            params={"trees": 0, "dept": 3},
            search={"depth": [9, 4], "leaf": [1, 2.5], "rate": [0.1, 0.2]},
        ),
        CandidateSpec(name="kmeans"),
        CandidateSpec(name="forest"),
    ]
    found = check_candidates(specs, task=Task.REGRESSION)
    assert [problem.path for problem in found] == [
        "forest.trees",
        "forest.dept",
        "forest.search.depth",
        "forest.search.leaf",
        "forest.search.rate",
        "kmeans",
        "forest",
    ]


@pytest.mark.parametrize("value", [True, "8", None, float("nan"), float("inf"), 0, 65, 8.0])
def test_a_value_outside_the_allowed_ones_is_refused(value: Any) -> None:
    spec = CandidateSpec(name="forest", params={"depth": value})
    assert problems(spec) == [f"forest.depth: found {value!r}; write a whole number from 1 to 64"]


@pytest.mark.parametrize(
    "values", [[], [4], 4, "4 to 8", [8, 4], [4, 4], [1, float("nan")], [None, 4, 5]]
)
def test_a_search_that_says_no_range_and_no_choices_is_refused(values: Any) -> None:
    spec = CandidateSpec(name="forest", search={"depth": values})
    # One choice is a choice, if a needless one.
    assert len(problems(spec)) == (0 if values == [4] else 1)


def test_a_function_of_the_user_goes_before_a_word_of_the_same_name() -> None:
    spec = CandidateSpec(name="forest", params={"anything": "goes"})
    assert check_candidates([spec], task=Task.REGRESSION, functions={"forest"}) == []


def test_aliases_mean_the_same_as_their_words() -> None:
    spec = CandidateSpec(name="knn", params={"neighbours": 5})
    assert problems(spec) == []
