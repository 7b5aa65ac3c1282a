from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from everfit.measures.scores import METRICS, better_is, losses, row_losses, score, silhouettes

RNG = np.random.default_rng(0)
Y = RNG.gamma(2, 3, 300) + 0.5
GUESS = Y * RNG.uniform(0.7, 1.4, 300)
ODDS = RNG.dirichlet([1, 1, 1], 300)
THREE = RNG.choice(["a", "b", "c"], 300)
SAID = RNG.choice(["a", "b", "c"], 300)
TWO = RNG.choice(["no", "yes"], 300, p=[0.8, 0.2])
CHANCE = np.round(RNG.uniform(size=300), 1)  # Rounded: many ties.
BINARY = np.column_stack([1 - CHANCE, CHANCE])
CALLED = np.where(CHANCE > 0.5, "yes", "no")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("mae", sk.mean_absolute_error(Y, GUESS)),
        ("rmse", sk.root_mean_squared_error(Y, GUESS)),
        ("r2", sk.r2_score(Y, GUESS)),
        ("mape", sk.mean_absolute_percentage_error(Y, GUESS)),
    ],
)
def test_scores_of_numbers_are_those_of_scikit_learn(metric: str, expected: float) -> None:
    assert score(metric, Y, GUESS) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "truth", "said", "scores", "expected"),
    [
        ("accuracy", THREE, SAID, None, sk.accuracy_score(THREE, SAID)),
        ("f1", THREE, SAID, None, sk.f1_score(THREE, SAID, average="macro")),
        ("f1", TWO, CALLED, None, sk.f1_score(TWO, CALLED, pos_label="yes")),
        ("roc_auc", TWO, CALLED, BINARY, sk.roc_auc_score(TWO == "yes", CHANCE)),
        ("roc_auc", THREE, SAID, ODDS, sk.roc_auc_score(THREE, ODDS, multi_class="ovr")),
        ("log_loss", THREE, SAID, ODDS, sk.log_loss(THREE, ODDS)),
    ],
)
def test_scores_of_labels_are_those_of_scikit_learn(
    metric: str, truth: Any, said: Any, scores: Any, expected: float
) -> None:
    assert score(metric, truth, said, scores) == pytest.approx(expected)


def test_silhouettes_are_those_of_scikit_learn() -> None:
    points = RNG.normal(size=(100, 3))
    labels = RNG.integers(0, 4, 100)
    labels[0] = 9  # Alone in its cluster.
    assert silhouettes(points, labels) == pytest.approx(sk.silhouette_samples(points, labels))


@pytest.mark.parametrize("metric", ["f1", "roc_auc"])
def test_row_losses_carry_the_variance_of_a_metric_that_is_no_mean(metric: str) -> None:
    rng = np.random.default_rng(1)
    values, errors = [], []
    for _ in range(400):
        truth = rng.random(300) < 0.3
        chance = 1 / (1 + np.exp(-1.5 * truth - rng.normal(size=300) + 0.7))
        odds = np.column_stack([1 - chance, chance])
        rows = row_losses(metric, truth, chance > 0.5, odds, [False, True])
        values.append(rows.mean())
        errors.append(rows.std(ddof=1) / math.sqrt(rows.size))
    # 400 repetitions know a standard deviation to about 3.5%.
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.1)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_a_direction(metric: str) -> None:
    assert better_is(metric) == (
        "lower" if metric in {"mae", "rmse", "mape", "log_loss"} else "higher"
    )


@pytest.mark.parametrize(
    ("metric", "truth", "said", "scores"),
    [
        ("mae", [], [], None),
        ("mae", [1.0], [math.nan], None),
        ("mae", [1.0, 2.0], [1.0], None),
        ("mape", [0.0, 1.0], [1.0, 1.0], None),
        ("r2", [2.0, 2.0], [1.0, 2.0], None),
        ("accuracy", [], [], None),
        ("roc_auc", ["a", "a"], ["a", "a"], [[1.0], [1.0]]),
        ("roc_auc", ["a", "b"], ["a", "b"], None),
        ("log_loss", ["a", "b"], ["a", "b"], [[math.nan, 0.5], [0.5, 0.5]]),
        ("silhouette", [0], [0], None),
        ("speed", [1.0], [1.0], None),
    ],
)
def test_what_has_no_score_is_refused(metric: str, truth: Any, said: Any, scores: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        score(metric, truth, said, scores)


def test_a_class_the_model_never_saw_is_wrong_but_finite() -> None:
    assert 30 < score("log_loss", ["new"], ["a"], [[0.5, 0.5]], ["a", "b"]) < 40


def test_measures_load_no_heavy_library_before_they_are_used() -> None:
    ours = "detection, drift, fairness, intervals, paired, pooling, scores, sequences, serial, size"
    heavy = ("sklearn", "scipy.special", "scipy.stats")
    code = (
        f"import sys; from everfit.measures import {ours}; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_losses_are_in_the_terms_of_the_task() -> None:
    assert losses("regression", [1.0, 2.0], [3.0, 2.0]).tolist() == [2.0, 0.0]
    assert losses("classification", [1, 0], [1, 1]).tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="no loss per row"):
        losses("clustering", [1], [1])
