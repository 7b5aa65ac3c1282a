"""Whatever the model, base and contributions add up to what it says."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
import xgboost
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import Lasso, LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from tests.explaining.conftest import ROWS, THREE, TWO, VALUES, explainer, fitted, table

from everfit.errors import PredictionFailed
from everfit.explaining import Background, Explainer, Explanation, Method, Output, because
from everfit.packages import FittedModel, infer_signature
from everfit.packages.adapt import adapted, as_matrix, as_table

LINEAR = [
    (Ridge(), VALUES, Output.VALUE),
    (Lasso(0.1), VALUES, Output.VALUE),
    (LogisticRegression(max_iter=500), TWO, Output.LOG_ODDS),
    (LogisticRegression(max_iter=500), THREE, Output.MARGIN),
    (make_pipeline(MinMaxScaler(), MultinomialNB()), TWO, Output.LOG_ODDS),
    (make_pipeline(MinMaxScaler(), MultinomialNB()), THREE, Output.MARGIN),
    (GridSearchCV(Ridge(), {"alpha": [1.0, 10.0]}, cv=3), VALUES, Output.VALUE),
]
TREES = [
    (DecisionTreeRegressor(), VALUES, Output.VALUE),
    (DecisionTreeClassifier(max_depth=4), THREE, Output.PROBABILITY),
    (RandomForestRegressor(10), VALUES, Output.VALUE),
    (RandomForestClassifier(10, max_depth=5), THREE, Output.PROBABILITY),
    (ExtraTreesClassifier(10), TWO, Output.PROBABILITY),
    (HistGradientBoostingRegressor(max_iter=20), VALUES, Output.VALUE),
    (HistGradientBoostingClassifier(max_iter=10), TWO, Output.LOG_ODDS),
    (HistGradientBoostingClassifier(max_iter=5), THREE, Output.MARGIN),
    (xgboost.XGBRegressor(n_estimators=10), VALUES, Output.VALUE),
    (xgboost.XGBClassifier(n_estimators=5), THREE, Output.MARGIN),
    (lightgbm.LGBMRegressor(n_estimators=10, verbose=-1), VALUES, Output.VALUE),
    (lightgbm.LGBMClassifier(n_estimators=5, verbose=-1), TWO, Output.LOG_ODDS),
    (lightgbm.LGBMClassifier(n_estimators=5, verbose=-1), THREE, Output.MARGIN),
]
# These take no missing values, or no more than their encoder leaves.
FILLED = [
    (GradientBoostingRegressor(n_estimators=10), VALUES, Output.VALUE),
    (GradientBoostingClassifier(n_estimators=5), TWO, Output.LOG_ODDS),
    (GradientBoostingClassifier(n_estimators=5), THREE, Output.MARGIN),
]
SAMPLED = [
    (KNeighborsRegressor(), VALUES, Output.VALUE),
    (GaussianNB(), THREE, Output.PROBABILITY),
    # The link stands between the sum and the value.
    (PoissonRegressor(), VALUES, Output.VALUE),
    (HistGradientBoostingRegressor(loss="poisson", max_iter=5), VALUES, Output.VALUE),
    (GradientBoostingClassifier(loss="exponential", n_estimators=5), TWO, Output.PROBABILITY),
    # Each of its columns comes from every input.
    (make_pipeline(PCA(3), Ridge()), VALUES, Output.VALUE),
]


def name(model: object) -> str:
    return type(model).__name__ if not isinstance(model, pl.Series | Output) else str(model)[:8]


def said(model: FittedModel, row: pl.DataFrame, found: Explanation) -> float:
    """Return what the model itself says, in the terms of the explanation."""
    predictions, scores = model.predict_both(row)
    if found.of is Output.VALUE:
        return float(predictions[0])
    assert scores is not None
    assert found.label == predictions.tolist()[0]
    chosen = model.signature.classes.index(predictions.tolist()[0])
    share = scores[0, chosen]
    if found.of is Output.PROBABILITY:
        return float(share)
    if found.of is Output.LOG_ODDS:
        return math.log(share / (1 - share))
    logarithms = np.log(scores[0])
    return float(logarithms[chosen] - logarithms.mean())


def check(model: FittedModel, of: Output, method: Method) -> None:
    made = explainer(model)
    fresh = table(6, seed=9)
    explained = made.explain(fresh)
    assert made.method is method
    for place, found in enumerate(explained):
        assert (found.of, found.method) == (of, method)
        assert {part.input for part in found.contributions} == set(ROWS.columns)
        total = found.base + math.fsum(part.amount for part in found.contributions)
        # XGBoost adds up, and gives probabilities, in single precision.
        single = type(model.estimator.steps[-1][1]).__module__.startswith("xgboost")
        wanted = said(model, fresh[place], found)
        assert total == pytest.approx(wanted, rel=1e-4 if single else 1e-9, abs=1e-9)
        assert found.output == pytest.approx(total, rel=1e-12)
        sizes = [abs(part.amount) for part in found.contributions]
        assert sizes == sorted(sizes, reverse=True)
    assert explained == explainer(model).explain(fresh)
    # Whatever it was served with: the log gives one row at a time.
    assert explained == [made.explain(fresh[place])[0] for place in range(fresh.height)]


@pytest.mark.parametrize(("model", "target", "of"), LINEAR, ids=name)
def test_linear_models_are_explained_exactly(model: Any, target: pl.Series, of: Output) -> None:
    check(fitted(model, target), of, Method.LINEAR)


@pytest.mark.parametrize(("model", "target", "of"), TREES, ids=name)
def test_trees_are_explained_exactly(model: Any, target: pl.Series, of: Output) -> None:
    check(fitted(model, target, trees=True), of, Method.TREES)


@pytest.mark.parametrize(("model", "target", "of"), FILLED, ids=name)
def test_boosting_is_explained_exactly(model: Any, target: pl.Series, of: Output) -> None:
    check(fitted(model, target), of, Method.TREES)


@pytest.mark.parametrize(("model", "target", "of"), SAMPLED, ids=name)
def test_all_others_are_explained_nearly_and_add_up(
    model: Any, target: pl.Series, of: Output
) -> None:
    made = fitted(model, target)
    check(made, of, Method.APPROXIMATE)
    found = explainer(made).explain(ROWS[:1])[0]
    assert 0 < found.evaluations <= 2_000
    assert found.against == "31 rows of dataset 1234"
    assert all(part.error is not None and part.error >= 0 for part in found.contributions)
    assert " by about " in because(found)[0]


def test_margins_without_probabilities_are_called_so() -> None:
    for target in (TWO, THREE):
        for model in (LinearSVC(), SGDClassifier(random_state=0)):
            found = explainer(fitted(model, target)).explain(ROWS[:5])
            assert {(one.of, one.method) for one in found} == {(Output.MARGIN, Method.LINEAR)}
    two = fitted(LinearSVC(), TWO)
    one = explainer(two).explain(ROWS[:1])[0]
    distance = abs(float(two.estimator.decision_function(ROWS[:1])[0]))
    assert one.output == pytest.approx(distance)


def test_a_linear_contribution_is_weight_times_distance_from_the_mean() -> None:
    rows = ROWS.select("hour")
    model = Ridge(alpha=1e-9).fit(rows, (3.0 * rows["hour"] + 1).to_numpy())

    class Plain:
        def predict(self, frame: pl.DataFrame) -> Any:
            return model.predict(frame)

    signature = infer_signature(rows, VALUES, "regression")
    exact = Explainer(FittedModel(model, signature), Background(frame=rows, name="r"))
    nearly = Explainer(FittedModel(Plain(), signature), Background(frame=rows, name="r"))
    mean = rows["hour"].mean()
    assert isinstance(mean, float)
    found, other = exact.explain(rows[:1])[0], nearly.explain(rows[:1])[0]
    assert (found.method, other.method) == (Method.LINEAR, Method.APPROXIMATE)
    assert found.base == pytest.approx(3 * mean + 1)
    assert found.contributions[0].amount == pytest.approx(3 * (rows["hour"][0] - mean))


def test_sampling_agrees_with_the_closed_form_within_its_error() -> None:
    model = fitted(Ridge(), VALUES)
    exact = Explainer(model, Background(frame=ROWS[:32], name="r")).explain(ROWS[:3])

    class Hidden:
        def predict(self, frame: pl.DataFrame) -> Any:
            return model.predict(frame)

    hidden = FittedModel(Hidden(), model.signature)
    nearly = Explainer(hidden, Background(frame=ROWS[:32], name="r")).explain(ROWS[:3])
    for one, other in zip(exact, nearly, strict=True):
        assert other.base == pytest.approx(one.base)
        amounts = {part.input: part.amount for part in one.contributions}
        for part in other.contributions:
            # Of an additive function every background row counts alike: nothing is left to chance.
            assert part.amount == pytest.approx(amounts[part.input])


def test_clusters_and_bare_labels_are_explained_by_their_share() -> None:
    class Halves:
        def predict(self, frame: pl.DataFrame) -> Any:
            return (frame["hour"] >= 12).to_numpy().astype(np.int64)

    signature = infer_signature(ROWS, None, "clustering")
    found = Explainer(FittedModel(Halves(), signature), Background(frame=ROWS, name="r"))
    late = ROWS.filter(pl.col("hour") >= 12)[:1]
    one = found.explain(late)[0]
    assert (one.of, one.label, one.output) == (Output.LABEL, 1, 1.0)
    assert one.contributions[0].input == "hour"
    assert one.base + one.contributions[0].amount == pytest.approx(1.0)
    points = f"{100 * one.contributions[0].amount:.3g} percentage points"
    assert because(one) == [f"hour = {late['hour'][0]} made '1' more likely by about {points}"]


def test_the_rest_is_what_the_named_ones_leave() -> None:
    found = explainer(fitted(Ridge(), VALUES)).explain(ROWS[:1])[0]
    top = found.top(2)
    assert len(top.contributions) == 2
    total = top.base + sum(part.amount for part in top.contributions) + top.rest
    assert total == pytest.approx(found.output)
    assert found.top(99) == found


def test_a_model_from_outside_is_explained_through_what_adapts_it() -> None:
    rows = ROWS.select("temp", "hour").fill_null(0.5)
    types = {"temp": "double", "hour": "long"}
    for model, matrix, method in (
        (xgboost.XGBRegressor(n_estimators=5), False, Method.TREES),
        (lightgbm.LGBMRegressor(n_estimators=5, verbose=-1), False, Method.TREES),
        (make_pipeline(MinMaxScaler(), Ridge()), True, Method.LINEAR),
    ):
        given = as_matrix(rows, types) if matrix else as_table(rows, types)
        model.fit(given, VALUES.to_numpy())
        signature = infer_signature(rows, VALUES, "regression")
        outside = FittedModel(adapted(model, types, matrix=matrix), signature)
        made = Explainer(outside, Background(frame=rows, name="r"))
        assert made.method is method
        found = made.explain(rows[:1])[0]
        assert found.output == pytest.approx(float(outside.predict(rows[:1])[0]), rel=1e-5)


def test_a_model_that_fails_on_mixed_rows_says_so() -> None:
    class Odd(Exception):
        pass

    class Picky:
        def predict(self, frame: pl.DataFrame) -> Any:
            if frame.height > 1:
                raise Odd("one at a time")
            return np.ones(1)

    signature = infer_signature(ROWS, VALUES, "regression")
    made = Explainer(FittedModel(Picky(), signature), Background(frame=ROWS, name="r"))
    with pytest.raises(PredictionFailed, match="raised Odd while it was explained"):
        made.explain(ROWS[:1])


def test_wide_rows_are_compared_with_fewer_of_the_background(monkeypatch: Any) -> None:
    monkeypatch.setattr("everfit.explaining.explainer.NUMBERS", 1_000)
    found = explainer(fitted(Ridge(), VALUES)).explain(ROWS[:1])[0]
    assert re.fullmatch(r"the mean of \d\d rows of dataset 1234", found.against)


def test_a_server_does_not_load_scikit_learn_to_be_able_to_explain() -> None:
    code = "import sys, everfit.serving, everfit.governance; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
