"""Builds what a candidate word names: scikit-learn estimators behind their encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC, LinearSVR

from everfit.data import Schema, Task
from everfit.training.candidates import Algorithm
from everfit.training.encode import encoder

ITERATIONS = 1_000
# Looser than scikit-learn's 1e-4: half the time, the same decisions to three digits.
SVM_TOLERANCE = 1e-2
CALIBRATION_FOLDS = 3
Params = Mapping[str, Any]


def build(
    known: Algorithm, params: Params, train: pl.DataFrame, schema: Schema, *, seed: int
) -> Pipeline:
    """Return the estimator of ``known``, not yet fitted, behind the encoder it needs.

    Parameters that are not given take their defaults. Every source of chance is ``seed``.
    """
    values = known.defaults | dict(params)
    estimator = BUILDERS[known.word](schema.task, values, len(train), seed)
    return Pipeline([("encode", encoder(train, schema, known.encoding)), ("model", estimator)])


def _linear(task: Task, params: Params, rows: int, seed: int) -> Any:
    if task is Task.REGRESSION:
        return Ridge(alpha=params["strength"], random_state=seed)
    return LogisticRegression(C=1 / params["strength"], max_iter=ITERATIONS, random_state=seed)


def _svm(task: Task, params: Params, rows: int, seed: int) -> Any:
    # The landmark rows span the kernel, so cost stays linear in rows: 45,000 take seconds,
    # where the exact dual problem would take many minutes.
    kernel = Nystroem(n_components=min(params["components"], rows), random_state=seed)
    price = 1 / params["strength"]
    if task is Task.REGRESSION:
        machine = LinearSVR(
            C=price, loss="squared_epsilon_insensitive", dual=False, random_state=seed
        )
        # The margin is in units of the target, so the target is brought to unit variance.
        return make_pipeline(
            kernel, TransformedTargetRegressor(machine, transformer=StandardScaler())
        )
    machine = LinearSVC(C=price, dual=False, tol=SVM_TOLERANCE, random_state=seed)
    return make_pipeline(
        kernel, CalibratedClassifierCV(machine, cv=CALIBRATION_FOLDS, ensemble=False)
    )


def _naive_bayes(task: Task, params: Params, rows: int, seed: int) -> Any:
    return MultinomialNB(alpha=params["smoothing"])


def _nearest(task: Task, params: Params, rows: int, seed: int) -> Any:
    kind = KNeighborsRegressor if task is Task.REGRESSION else KNeighborsClassifier
    return kind(min(params["neighbours"], rows), weights="distance")


def _forest(task: Task, params: Params, rows: int, seed: int) -> Any:
    regression = task is Task.REGRESSION
    kind = RandomForestRegressor if regression else RandomForestClassifier
    return kind(
        params["trees"],
        max_depth=params["depth"],
        min_samples_leaf=params["leaf"],
        max_features=0.5 if regression else "sqrt",
        random_state=seed,
    )


def _boosting(task: Task, params: Params, rows: int, seed: int) -> Any:
    regression = task is Task.REGRESSION
    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    return kind(
        max_iter=params["rounds"],
        learning_rate=params["rate"],
        max_leaf_nodes=params["leaves"],
        min_samples_leaf=params["leaf"],
        # Its own stopping rule holds out random rows, which flatters it on ordered data.
        early_stopping=False,
        random_state=seed,
    )


def _kmeans(task: Task, params: Params, rows: int, seed: int) -> Any:
    return KMeans(min(params["clusters"], rows), n_init=3, random_state=seed)


BUILDERS: Mapping[str, Callable[[Task, Params, int, int], Any]] = {
    "linear": _linear,
    "logistic": _linear,
    "svm": _svm,
    "naive_bayes": _naive_bayes,
    "nearest": _nearest,
    "forest": _forest,
    "boosting": _boosting,
    "kmeans": _kmeans,
}
