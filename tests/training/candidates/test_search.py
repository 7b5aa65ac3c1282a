"""The search: reproducible, fair, inside its ranges, and better than chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from everfit.training import CandidateSpec
from everfit.training.search import ROUND, Search, Trial, competitor


def run(
    *specs: CandidateSpec,
    trials: int,
    value: Callable[[Trial], float] = lambda trial: 0.0,
    seed: int = 0,
) -> list[Trial]:
    search = Search([competitor(spec) for spec in specs], trials=trials, better="lower", seed=seed)
    asked: list[Trial] = []
    while round_ := search.ask():
        asked += round_
        for trial in round_:
            search.tell(trial, value(trial))
    return asked


FOREST = CandidateSpec(name="forest", search={"depth": [4, 16]})
LINEAR = CandidateSpec(name="linear")


def distance(trial: Trial) -> float:
    return float(abs(trial.params.get("depth", 100) - 7))


def test_the_same_seed_asks_for_the_same_trials_and_another_for_others() -> None:
    first = run(FOREST, LINEAR, trials=30, value=distance, seed=3)
    assert first == run(FOREST, LINEAR, trials=30, value=distance, seed=3)
    assert first != run(FOREST, LINEAR, trials=30, value=distance, seed=4)


def test_every_candidate_starts_with_its_own_parameters_and_then_shares_evenly() -> None:
    asked = run(FOREST, LINEAR, trials=21)
    assert [(t.candidate, t.number) for t in asked[:2]] == [("forest", 0), ("linear", 0)]
    assert asked[0].params == {"trees": 100, "depth": 16, "leaf": 3}
    assert len(asked) == 21
    counts = [sum(t.candidate == name for t in asked) for name in ("forest", "linear")]
    assert counts == [11, 10]


def test_without_trials_to_spare_each_candidate_is_trained_once() -> None:
    assert [t.number for t in run(FOREST, LINEAR, trials=1)] == [0, 0]


def test_a_candidate_without_anything_to_search_leaves_its_share_to_the_others() -> None:
    fixed = CandidateSpec(name="linear", params={"strength": 2.0})
    asked = run(FOREST, fixed, trials=10)
    assert sum(t.candidate == "linear" for t in asked) == 1
    assert len(asked) == 10


def test_proposals_stay_in_their_ranges_and_keep_what_was_set() -> None:
    spec = CandidateSpec(
        name="boosting",
        params={"rounds": 60},
        search={"rate": [0.01, 0.5], "leaves": [15, 31, 63], "leaf": [5, 50]},
    )
    for trial in run(spec, trials=25):
        assert trial.params["rounds"] == 60
        assert 0.01 <= trial.params["rate"] <= 0.5
        assert trial.params["leaves"] in (15, 31, 63)
        assert isinstance(trial.params["leaf"], int)
        assert 5 <= trial.params["leaf"] <= 50


def test_a_start_outside_the_range_is_moved_into_it() -> None:
    spec = CandidateSpec(name="forest", search={"depth": [2, 8], "trees": [10, 20, 30]})
    assert competitor(spec).start == {"trees": 10, "depth": 8, "leaf": 3}


def test_whole_bounds_of_a_number_search_numbers_between() -> None:
    spec = CandidateSpec(name="linear", search={"strength": [1, 100]})
    tried = [trial.params["strength"] for trial in run(spec, trials=10)]
    assert any(not float(strength).is_integer() for strength in tried)


def test_values_guide_the_search() -> None:
    asked = run(FOREST, trials=40, value=distance)
    late = [distance(trial) for trial in asked[20:]]
    assert sum(late) / len(late) < 2.5  # by chance 3.5


def test_a_failed_trial_teaches_nothing_and_stops_nothing() -> None:
    asked = run(FOREST, trials=12, value=lambda trial: math.nan if trial.number % 2 else 1.0)
    assert len(asked) == 12


def test_the_round_does_not_depend_on_the_machine() -> None:
    search = Search([competitor(FOREST)], trials=20, better="lower", seed=0)
    for trial in search.ask():
        search.tell(trial, 1.0)
    assert len(search.ask()) == ROUND


def test_a_function_of_the_user_is_searched_where_it_says() -> None:
    defaults: Mapping[str, Any] = {"depth": 3, "loss": "squared"}
    spec = CandidateSpec(name="mine", search={"loss": ["squared", "absolute"]})
    found = competitor(spec, defaults=defaults)
    assert found.start == defaults
    assert list(found.space) == ["loss"]
