"""A fitted model answers in its classes, whatever order and types its rows come in."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from everfit.errors import Invalid, PredictionFailed, RowsInvalid
from everfit.packages import FittedModel, Scalar, infer_signature

ROWS = pl.DataFrame(
    {
        "temp": [0.1, 0.9, 0.2, 0.8, 0.15, 0.85],
        "weather": ["wet", "dry", "wet", "dry", "wet", "dry"],
    }
)


def pipeline(last: Any) -> Any:
    encode = ColumnTransformer(
        [
            ("number", SimpleImputer(), ["temp"]),
            ("category", OneHotEncoder(handle_unknown="ignore"), ["weather"]),
        ]
    )
    return make_pipeline(encode, last)


def classifier(labels: Sequence[Scalar], last: Any = None) -> FittedModel:
    """A model that answers the first label when it is cold and wet, else the second."""
    target = [labels[0], labels[1]] * 3
    estimator = pipeline(last or LogisticRegression()).fit(ROWS, target)
    signature = infer_signature(ROWS, pl.Series("y", target), "classification", labels)
    return FittedModel(estimator, signature)


class Answers:
    """An estimator that answers with one thing, or raises it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(self, rows: pl.DataFrame) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def answering(answer: Any, task: str = "regression") -> FittedModel:
    signature = infer_signature(ROWS, pl.Series("y", [1.0]), task, ())
    return FittedModel(Answers(answer), signature)


@pytest.mark.parametrize("labels", [("no", "yes"), (0, 1), (False, True), (3, 7)])
def test_labels_come_back_as_they_were_given(labels: tuple[Scalar, Scalar]) -> None:
    model = classifier(labels)
    predicted, scores = model.predict_both(ROWS)
    assert predicted.tolist() == [labels[0], labels[1]] * 3
    assert [type(label) for label in predicted.tolist()] == [type(labels[0])] * 6
    assert scores is not None
    assert scores.shape == (6, 2)
    assert np.allclose(scores.sum(axis=1), 1)
    assert np.array_equal(predicted, model.estimator.predict(ROWS))


def test_numbers_may_stand_for_the_labels() -> None:
    estimator = pipeline(LogisticRegression()).fit(ROWS, [0, 1] * 3)
    signature = infer_signature(ROWS, pl.Series("y", ["no"]), "classification", ("no", "yes"))
    assert FittedModel(estimator, signature).predict(ROWS).tolist() == ["no", "yes"] * 3


def test_labels_of_mixed_types_stay_what_they_are() -> None:
    estimator = pipeline(LogisticRegression()).fit(ROWS, [0, 1] * 3)
    signature = infer_signature(ROWS, pl.Series("y", ["x"]), "classification", (7, "other"))
    assert FittedModel(estimator, signature).predict(ROWS[:2]).tolist() == [7, "other"]


@pytest.mark.parametrize("classes", [(), ("yes", "no"), ("no", "yes", "maybe")])
def test_classes_that_are_not_the_estimators_are_refused(classes: tuple[str, ...]) -> None:
    estimator = pipeline(LogisticRegression()).fit(ROWS, ["no", "yes"] * 3)
    signature = infer_signature(ROWS, pl.Series("y", ["no"]), "classification", classes)
    with pytest.raises(Invalid, match=r"classes are \['no', 'yes'\]"):
        FittedModel(estimator, signature)


def test_a_classifier_without_probabilities_has_no_scores() -> None:
    model = classifier(("no", "yes"), RidgeClassifier())
    predicted, scores = model.predict_both(ROWS)
    assert scores is None
    assert model.scores(ROWS) is None
    assert predicted.tolist() == ["no", "yes"] * 3


def test_a_chosen_threshold_decides_the_label() -> None:
    inner = LogisticRegression()
    certain = FixedThresholdClassifier(inner, threshold=0.999, pos_label="yes")
    predicted, scores = classifier(("no", "yes"), certain).predict_both(ROWS)
    assert predicted.tolist() == ["no"] * 6
    assert scores is not None
    assert (scores[1::2].argmax(axis=1) == 1).all()


def test_columns_are_found_in_any_order_and_type() -> None:
    model = classifier(("no", "yes"))
    other = ROWS.select(
        pl.lit(1).alias("more"),
        pl.col("weather").cast(pl.Categorical),
        pl.col("temp").cast(pl.String),
    )
    assert np.array_equal(model.predict(other), model.predict(ROWS))
    with pytest.raises(RowsInvalid, match="temp: found no such column"):
        model.predict(ROWS.drop("temp"))


def test_the_trained_imputer_decides_what_a_missing_value_means() -> None:
    model = classifier(("no", "yes"))
    rows = pl.DataFrame({"temp": [None, float("nan")], "weather": ["dry", None]})
    middle = pl.DataFrame({"temp": [0.5, 0.5], "weather": ["dry", None]})
    assert np.array_equal(model.predict(rows), model.predict(middle))


def test_an_unknown_category_is_no_error() -> None:
    rows = pl.DataFrame({"temp": [0.0], "weather": ["snow"]})
    assert classifier(("no", "yes")).predict(rows).tolist() == ["no"]


def test_a_regression_answers_numbers() -> None:
    target = np.arange(6.0)
    signature = infer_signature(ROWS, pl.Series("y", target), "regression")
    for last in (LinearRegression(), PLSRegression(n_components=1)):
        estimator = pipeline(last).fit(ROWS, target)
        predicted, scores = FittedModel(estimator, signature).predict_both(ROWS)
        assert scores is None
        assert predicted.dtype == np.float64
        assert np.allclose(predicted, estimator.predict(ROWS))


def test_a_clustering_answers_whole_numbers() -> None:
    estimator = pipeline(KMeans(2, random_state=0, n_init=1)).fit(ROWS)
    model = FittedModel(estimator, infer_signature(ROWS, None, "clustering"))
    predicted = model.predict(ROWS)
    assert predicted.dtype == np.int64
    assert len(set(predicted[::2])) == len(set(predicted[1::2])) == 1
    assert predicted[0] != predicted[1]
    with pytest.raises(Invalid, match="of type DBSCAN, has no 'predict'"):
        FittedModel(DBSCAN(), model.signature)


def test_no_rows_have_no_predictions() -> None:
    model = classifier(("no", "yes"))
    predicted, scores = model.predict_both(ROWS[:0])
    assert predicted.shape == (0,)
    assert scores is not None
    assert scores.shape == (0, 2)
    assert classifier(("no", "yes"), RidgeClassifier()).predict_both(ROWS[:0])[1] is None
    assert answering(None).predict(ROWS[:0]).dtype == np.float64
    assert answering(None, "clustering").predict(ROWS[:0]).dtype == np.int64


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([1.0, np.nan, 3.0, 4.0, 5.0, 6.0], "answered nan for row 1"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, np.inf], "answered inf for row 5"),
        ([1.0], r"shape \(1,\) instead of \(6,\)"),
        (["a"] * 6, "raised ValueError on 6 rows"),
        (RuntimeError("no memory on the device"), "raised RuntimeError.*no memory on the device"),
        (KeyError("temp"), "raised KeyError"),
    ],
)
def test_an_answer_that_is_none_is_the_models_fault(answer: Any, said: str) -> None:
    with pytest.raises(PredictionFailed, match=said):
        answering(answer).predict(ROWS)


def test_a_label_nobody_knows_is_the_models_fault() -> None:
    signature = infer_signature(ROWS, pl.Series("y", ["no"]), "classification", ("no", "yes"))
    model = FittedModel(Answers(["no", "perhaps", "yes"] * 2), signature)
    with pytest.raises(PredictionFailed, match="'perhaps', which is none of its classes"):
        model.predict(ROWS)


def test_a_model_can_be_sent_to_another_process() -> None:
    model = classifier(("no", "yes"), DecisionTreeClassifier(random_state=0))
    copy = pickle.loads(pickle.dumps(model))
    assert np.array_equal(copy.predict(ROWS), model.predict(ROWS))
