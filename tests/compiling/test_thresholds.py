"""Compiled trees are exact: on their thresholds, an ulp beside them, and where classes tie."""

from __future__ import annotations

import json
import warnings
from operator import attrgetter
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
import xgboost
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)

from everfit.compiling import CompiledModel, compile_model, trees
from everfit.packages import FittedModel, infer_signature

RANDOM = np.random.default_rng(3)
# Thirds and tenths: none is a number of float32, and few midpoints of theirs are.
X = (RANDOM.integers(-30, 30, (400, 3)) / 3 + RANDOM.integers(0, 9, (400, 3)) / 10).round(6)
VALUES = X[:, 0] * X[:, 1] + np.sin(X[:, 2]) + RANDOM.normal(size=400)
LABELS = np.digitize(VALUES, [-2.0, 2.0])
Floats = NDArray[np.float64]


def of_forest(model: Any) -> list[tuple[int, float]]:
    members = np.ravel(model.estimators_)
    return [
        (feature, threshold)
        for member in members
        for feature, threshold in zip(member.tree_.feature, member.tree_.threshold, strict=True)
        if feature >= 0
    ]


def of_histograms(model: Any) -> list[tuple[int, float]]:
    predictors = attrgetter("_predictors")(model)
    stages = [member.nodes for stage in predictors for member in stage]
    return [
        (int(node["feature_idx"]), float(node["num_threshold"]))
        for nodes in stages
        for node in nodes
        if not node["is_leaf"]
    ]


def of_xgboost(model: Any) -> list[tuple[int, float]]:
    content = json.loads(model.get_booster().save_raw("json"))
    return [
        (tree["split_indices"][place], tree["split_conditions"][place])
        for tree in content["learner"]["gradient_booster"]["model"]["trees"]
        for place, child in enumerate(tree["left_children"])
        if child >= 0
    ]


def of_lightgbm(model: Any) -> list[tuple[int, float]]:
    splits = model.booster_.trees_to_dataframe().dropna(subset=["threshold"])
    names = [int(name.removeprefix("Column_")) for name in splits["split_feature"]]
    return list(zip(names, splits["threshold"], strict=True))


def around(threshold: float) -> list[float]:
    """The threshold, its neighbours in float64 and in float32, and the edges of rounding."""
    small = np.float32(threshold)
    steps = [threshold, float(small)]
    steps += [float(np.nextafter(threshold, way)) for way in (-np.inf, np.inf)]
    beside = [float(np.nextafter(small, np.float32(way))) for way in (-np.inf, np.inf)]
    halfway = [(float(small) + value) / 2 for value in beside]
    return [*steps, *beside, *halfway, *(float(np.nextafter(v, np.inf)) for v in halfway), np.nan]


CASES: dict[str, tuple[Any, Any, bool]] = {
    "forest": (RandomForestClassifier(15, max_depth=6, random_state=0), of_forest, True),
    "deep forest": (RandomForestClassifier(8, random_state=0), of_forest, True),
    "extra trees": (ExtraTreesClassifier(8, max_depth=6, random_state=0), of_forest, True),
    "forest of values": (RandomForestRegressor(8, max_depth=6, random_state=0), of_forest, False),
    "boosting": (GradientBoostingClassifier(n_estimators=8, random_state=0), of_forest, True),
    "isolation": (IsolationForest(n_estimators=20, random_state=0), of_forest, False),
    "histograms": (HistGradientBoostingClassifier(max_iter=8), of_histograms, True),
    "histograms of values": (HistGradientBoostingRegressor(max_iter=12), of_histograms, False),
    "xgboost": (xgboost.XGBClassifier(n_estimators=8), of_xgboost, True),
    "xgboost of values": (xgboost.XGBRegressor(n_estimators=20), of_xgboost, False),
    "lightgbm": (lightgbm.LGBMClassifier(n_estimators=8, verbose=-1), of_lightgbm, True),
    "lightgbm of values": (lightgbm.LGBMRegressor(n_estimators=20, verbose=-1), of_lightgbm, False),
}
# The exponential in a chance is not the same code: its last bits are its own.
BITS = {"boosting": 1e-15, "histograms": 1e-15, "xgboost": 3e-7, "lightgbm": 1e-15}


def frame_of(rows: Floats) -> pl.DataFrame:
    return pl.DataFrame({name: rows[:, place] for place, name in enumerate("abc")})


def both(model: Any, labels: bool) -> tuple[FittedModel, CompiledModel]:
    truth = LABELS if labels else VALUES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, truth)
    classes = model.classes_.tolist() if labels else ()
    task = "classification" if labels else "regression"
    signature = infer_signature(frame_of(X), pl.Series("y", truth), task, classes)
    native = FittedModel(model, signature)
    return native, CompiledModel(compile_model(native), signature)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_rows_on_thresholds_and_beside_them_are_answered_exactly(case: str) -> None:
    model, thresholds, labels = CASES[case]
    native, compiled = both(model, labels)
    rows: list[Floats] = []
    for feature, threshold in thresholds(model)[:400]:
        for value in around(float(threshold)):
            if np.isnan(value) and case in ("boosting",):
                continue  # Refused by both: another test's matter.
            row = X[len(rows) % len(X)].copy()
            row[feature] = value
            rows.append(row)
    frame = frame_of(np.array(rows))
    (first, scores), (second, others) = native.predict_both(frame), compiled.predict_both(frame)
    assert len(rows) > 500
    if labels:
        assert (first == second).all()
        assert scores is not None
        assert others is not None
        first, second = scores, others
    assert np.abs(first - second).max() <= BITS.get(case, 0.0)


@pytest.mark.filterwarnings("ignore")
def test_classes_that_tie_are_decided_alike() -> None:
    rows = np.repeat(X[:200], 3, axis=0)
    truth = np.tile([0, 1, 2], 200)
    model = RandomForestClassifier(30, max_depth=5, random_state=0, bootstrap=False)
    model.fit(rows, truth)
    signature = infer_signature(frame_of(rows), pl.Series("y", truth), "classification", (0, 1, 2))
    native = FittedModel(model, signature)
    compiled = CompiledModel(compile_model(native), signature)
    frame = frame_of(np.concatenate([rows, X]))
    (first, scores), (second, others) = native.predict_both(frame), compiled.predict_both(frame)
    assert scores is not None
    assert (scores == others).all()
    assert (first == second).all()
    # They do tie, or nearly: the test would mean nothing otherwise.
    assert (np.ptp(scores, axis=1) < 1e-12).all()


@pytest.mark.filterwarnings("ignore")
def test_a_large_forest_is_walked_in_groups_and_stays_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trees, "GROUP_NODES", 500)
    for model, labels in (
        (RandomForestClassifier(12, random_state=0), True),
        (RandomForestRegressor(12, random_state=0), False),
    ):
        native, compiled = both(model, labels)
        frame = frame_of(RANDOM.normal(0, 9, (300, 3)))
        pairs = zip(native.predict_both(frame), compiled.predict_both(frame), strict=True)
        for first, second in pairs:
            assert np.array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.filterwarnings("ignore")
def test_a_tree_of_one_leaf_answers() -> None:
    model = RandomForestRegressor(3, random_state=0).fit(X, np.full(len(X), 2.5))
    signature = infer_signature(frame_of(X), pl.Series("y", VALUES), "regression")
    native = FittedModel(model, signature)
    compiled = CompiledModel(compile_model(native), signature)
    assert compiled.predict(frame_of(X[:3])).tolist() == [2.5, 2.5, 2.5]
