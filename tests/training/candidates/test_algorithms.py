"""Every candidate word trains, beats guessing, survives storage and repeats itself exactly."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest

from everfit.data import Split, Task
from everfit.measures.scores import score
from everfit.packages import FittedModel
from everfit.training import ALGORITHMS, METRICS
from everfit.training.stages import scored, trained

SUPERVISED = [
    (word, task) for word, known in ALGORITHMS.items() for task in known.tasks if word != "kmeans"
]


@pytest.fixture(scope="module")
def splits(regression: Split, classification: Split, clustering: Split) -> dict[Task, Split]:
    return {
        Task.REGRESSION: regression,
        Task.CLASSIFICATION: classification,
        Task.CLUSTERING: clustering,
    }


@pytest.mark.parametrize(("word", "task"), SUPERVISED)
def test_it_beats_the_best_constant_guess(word: str, task: Task, splits: dict[Task, Split]) -> None:
    split = splits[task]
    reached = scored(trained(split, word, {}, 0), split, "test", METRICS[task])
    truth = split.test[str(split.schema.target)]
    if task is Task.REGRESSION:
        guess = score("mae", truth.to_numpy(), np.full(len(truth), truth.median()))
        assert reached["mae"] < 0.7 * guess
    else:
        often = truth.value_counts(sort=True)["count"][0] / len(truth)
        assert reached["accuracy"] > often + 0.1
        assert reached["roc_auc"] > 0.8


@pytest.mark.parametrize(("word", "task"), SUPERVISED)
def test_the_same_seed_gives_the_same_predictions_also_after_storage(
    word: str, task: Task, splits: dict[Task, Split]
) -> None:
    split = splits[task]
    fitted = trained(split, word, {}, 5)
    answers = fitted.predict_both(split.test)
    again: FittedModel = pickle.loads(pickle.dumps(trained(split, word, {}, 5)))
    for first, second in zip(answers, again.predict_both(split.test), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("word", "task"), SUPERVISED)
def test_one_row_of_values_never_seen_or_missing_is_answered(
    word: str, task: Task, splits: dict[Task, Split]
) -> None:
    fitted = trained(splits[task], word, {}, 0)
    strange = pl.DataFrame(
        {
            "size": [None, 1e9],
            "rooms": [None, -3],
            "town": ["never seen", None],
            "new": [None, True],
            "notes": [None, "ünknown wörds"],
        },
        schema_overrides={"size": pl.Float64, "new": pl.Boolean},
    )
    assert len(fitted.predict(strange)) == 2
    assert len(fitted.predict(strange[:1])) == 1


def test_clusters_are_found(clustering: Split) -> None:
    fitted = trained(clustering, "kmeans", {"clusters": 4}, 0)
    assert set(fitted.predict(clustering.test).tolist()) <= {0, 1, 2, 3}
    reached = scored(fitted, clustering, "validation", ["silhouette"])
    assert 0 < reached["silhouette"] <= 1


def test_parameters_reach_the_estimator(regression: Split) -> None:
    shallow = trained(regression, "forest", {"depth": 1, "trees": 7}, 0).estimator
    assert (shallow["model"].max_depth, len(shallow["model"].estimators_)) == (1, 7)
