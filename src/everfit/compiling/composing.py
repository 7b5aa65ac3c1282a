"""Converts what is made of other estimators, and finds the conversion of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
from onnx import TensorProto

from everfit.compiling import boosters, encoders, forests, models, preparing, words
from everfit.compiling.graph import Answer, Graph, Table, refuse
from everfit.compiling.remaining import remaining

Transform = Callable[[Graph, Any, Table], Table]
Predict = Callable[[Graph, Any, Table], Answer]


def transformed(graph: Graph, model: Any, table: Table) -> Table:
    """Return what a fitted transformer makes of ``table``; raises NotConvertible."""
    if model is None or model == "passthrough":
        return table
    known = TRANSFORMS.get(_kind(model))
    if known is None:
        raise refuse(f"{_kind(model)} has no conversion")
    return known(graph, model, table)


def answered(graph: Graph, model: Any, table: Table) -> Answer:
    """Return what a fitted predictor answers on ``table``; raises NotConvertible."""
    known = PREDICTS.get(_kind(model))
    return remaining(graph, model, table) if known is None else known(graph, model, table)


def _kind(model: Any) -> str:
    """Return library and name of the class itself: a subclass may predict something else."""
    kind = type(model)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"


def _pipeline(graph: Graph, model: Any, table: Table) -> Answer:
    for _, step in model.steps[:-1]:
        table = transformed(graph, step, table)
    return answered(graph, model.steps[-1][1], table)


def _steps(graph: Graph, model: Any, table: Table) -> Table:
    for _, step in model.steps:
        table = transformed(graph, step, table)
    return table


def _columns(graph: Graph, model: Any, table: Table) -> Table:
    found: list[Any] = []
    for name, step, chosen in model.transformers_:
        if step == "drop":
            continue
        part = _chosen(table, chosen, f"{name!r}")
        if part:
            found += transformed(graph, step, part)
    weights = model.transformer_weights
    if weights:
        raise refuse("its column transformer weighs its parts")
    return tuple(found)


def _chosen(table: Table, chosen: Any, name: str) -> Table:
    if isinstance(chosen, str | int):
        chosen = [chosen]
    if isinstance(chosen, slice):
        return table[chosen]
    places = np.asarray(chosen)
    if places.dtype == bool:
        places = np.flatnonzero(places)
    sources = {column.source: column for column in table}
    try:
        return tuple(
            sources[place] if isinstance(place, str) else table[place] for place in places.tolist()
        )
    except (KeyError, IndexError, TypeError) as error:
        raise refuse(f"the part {name} of its column transformer takes {error}") from error


def _union(graph: Graph, model: Any, table: Table) -> Table:
    if model.transformer_weights:
        raise refuse("its feature union weighs its parts")
    found: list[Any] = []
    for _, step in model.transformer_list:
        if step != "drop":
            found += transformed(graph, step, table)
    return tuple(found)


def _thresholded(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert a classifier whose label a threshold decides."""
    inner = answered(graph, model.estimator_, table)
    threshold = getattr(model, "best_threshold_", getattr(model, "threshold", 0.5))
    positive = 1
    label = getattr(model, "pos_label", None)
    if label is not None:
        positive = model.classes_.tolist().index(label)
    by_margin = model.response_method == "decision_function" or inner.scores is None
    if by_margin:
        if inner.margins is None or positive != 1:
            raise refuse("its threshold is of margins that have no conversion")
        sought, threshold = graph.flat(inner.margins), 0.0 if threshold == "auto" else threshold
    else:
        place = graph.constant(positive, np.int64)
        sought = graph.node("Gather", str(inner.scores), place, axis=1)
        threshold = 0.5 if threshold == "auto" else threshold
    above = graph.node("GreaterOrEqual", sought, graph.constant(float(threshold)))
    values = [graph.constant(float(place)) for place in (positive, 1 - positive)]
    return Answer(scores=inner.scores, values=graph.node("Where", above, *values))


def _calibrated(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``CalibratedClassifierCV`` of sigmoids: the mean of what its members say."""
    members = [_member(graph, member, table) for member in model.calibrated_classifiers_]
    total = members[0]
    for scores in members[1:]:
        total = graph.node("Add", total, scores)
    return Answer(scores=graph.node("Div", total, graph.constant(float(len(members)))))


def _member(graph: Graph, member: Any, table: Table) -> str:
    inner = answered(graph, member.estimator, table)
    classes = len(member.classes)
    raw = inner.margins
    if raw is None:
        if inner.scores is None:
            raise refuse("what it calibrates gives labels only")
        wanted = [1] if classes == 2 else list(range(classes))
        raw = graph.node("Gather", inner.scores, graph.constant(wanted, np.int64), axis=1)
    kinds = {type(calibrator).__name__ for calibrator in member.calibrators}
    if kinds != {"_SigmoidCalibration"}:
        raise refuse(f"it calibrates by {', '.join(sorted(kinds))}")
    slopes = np.array([-calibrator.a_ for calibrator in member.calibrators], dtype=np.float64)
    shifts = np.array([-calibrator.b_ for calibrator in member.calibrators], dtype=np.float64)
    moved = graph.node("Mul", raw, graph.constant(slopes))
    chances = graph.sigmoid(graph.node("Add", moved, graph.constant(shifts)))
    if classes == 2:
        return graph.pair(chances)
    return graph.node("Div", chances, graph.sum(chances, keep=True))


def _votes(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert voting: the mean of scores or values, or the most named class."""
    answers = [answered(graph, member, table) for member in model.estimators_]
    weights = attrgetter("_weights_not_none")(model) or [1.0] * len(answers)
    hard = getattr(model, "voting", "soft") == "hard"
    classes = len(model.classes_) if hasattr(model, "classes_") else 0
    total = ""
    for answer, weight in zip(answers, weights, strict=True):
        found = _ballot(graph, answer, classes) if hard else answer.scores or answer.values
        if not found or (classes and not hard and answer.scores is None):
            raise refuse("what votes gives labels only")
        part = graph.node("Mul", found, graph.constant(float(weight)))
        total = graph.node("Add", total, part) if total else part
    if hard:
        return Answer(values=graph.places(total))
    mean = graph.node("Div", total, graph.constant(float(sum(weights))))
    return Answer(scores=mean) if classes else Answer(values=mean)


def _ballot(graph: Graph, answer: Answer, classes: int) -> str:
    place = answer.values or graph.places(str(answer.scores))
    wide = graph.node("Unsqueeze", place, graph.constant([1], np.int64))
    hit = graph.node("Equal", wide, graph.constant(np.arange(classes, dtype=np.float64)))
    return graph.cast(hit, TensorProto.DOUBLE)


def _of_target(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``TransformedTargetRegressor``: the answer, scaled back."""
    inner = answered(graph, model.regressor_, table)
    back = model.transformer_
    if inner.values is None or type(back).__name__ not in ("StandardScaler", "MinMaxScaler"):
        raise refuse(f"its target is transformed by {type(back).__name__}")
    if type(back).__name__ == "MinMaxScaler":
        moved = graph.node("Sub", inner.values, graph.constant(float(back.min_[0])))
        return Answer(values=graph.node("Div", moved, graph.constant(float(back.scale_[0]))))
    value = inner.values
    if back.scale_ is not None:
        value = graph.node("Mul", value, graph.constant(float(back.scale_[0])))
    if back.mean_ is not None and back.with_mean:
        value = graph.node("Add", value, graph.constant(float(back.mean_[0])))
    return Answer(values=value)


def _searched(graph: Graph, model: Any, table: Table) -> Answer:
    return answered(graph, model.best_estimator_, table)


def _bagged(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert bagging: the mean of the members, each on its own columns."""
    total = ""
    for member, chosen in zip(model.estimators_, model.estimators_features_, strict=True):
        part = tuple(table[place] for place in np.asarray(chosen).tolist())
        inner = answered(graph, member, part)
        found = inner.scores if hasattr(model, "classes_") else inner.values
        if found is None:
            raise refuse("what it bags gives labels only")
        total = graph.node("Add", total, found) if total else found
    mean = graph.node("Div", total, graph.constant(float(len(model.estimators_))))
    return Answer(scores=mean) if hasattr(model, "classes_") else Answer(values=mean)


def _as_numbers(graph: Graph, model: Any, table: Table) -> Table:
    """Convert a function that changes nothing."""
    if model.func is not None:
        raise refuse(f"it calls a function of its own ({getattr(model.func, '__qualname__', '')})")
    return table


def _named(library: str, names: str, convert: Any) -> dict[str, Any]:
    return {f"{library}.{name}": convert for name in names.split()}


TRANSFORMS: Mapping[str, Transform] = {
    **_named("sklearn", "Pipeline", _steps),
    **_named("sklearn", "ColumnTransformer", _columns),
    **_named("sklearn", "FeatureUnion", _union),
    **_named("sklearn", "FunctionTransformer", _as_numbers),
    **_named("sklearn", "StandardScaler RobustScaler", preparing.scale),
    **_named("sklearn", "MinMaxScaler", preparing.stretch),
    **_named("sklearn", "MaxAbsScaler", preparing.shrink),
    **_named("sklearn", "Normalizer", preparing.normalize),
    **_named("sklearn", "SimpleImputer", preparing.impute),
    **_named("sklearn", "KBinsDiscretizer", preparing.bins),
    **_named("sklearn", "PCA TruncatedSVD", preparing.project),
    **_named("sklearn", "PolynomialFeatures", preparing.polynomials),
    **_named("sklearn", "SelectKBest SelectPercentile VarianceThreshold", preparing.select),
    **_named("sklearn", "SelectFromModel RFE RFECV", preparing.select),
    **_named("sklearn", "Nystroem", preparing.landmarks),
    **_named("sklearn", "OneHotEncoder", encoders.hot),
    **_named("sklearn", "OrdinalEncoder", encoders.ordinal),
    **_named("sklearn", "CountVectorizer TfidfVectorizer", words.words),
    **_named("sklearn", "TfidfTransformer", words.tfidf),
}
_LINEAR = (
    "LinearRegression Ridge RidgeCV Lasso LassoCV ElasticNet ElasticNetCV Lars LassoLars "
    "BayesianRidge ARDRegression HuberRegressor SGDRegressor LinearSVR TheilSenRegressor "
    "OrthogonalMatchingPursuit QuantileRegressor PassiveAggressiveRegressor"
)
_SIDES = "LinearSVC RidgeClassifier RidgeClassifierCV Perceptron PassiveAggressiveClassifier"
PREDICTS: Mapping[str, Predict] = {
    **_named("sklearn", "Pipeline", _pipeline),
    **_named("sklearn", "FixedThresholdClassifier TunedThresholdClassifierCV", _thresholded),
    **_named("sklearn", "CalibratedClassifierCV", _calibrated),
    **_named("sklearn", "VotingClassifier VotingRegressor", _votes),
    **_named("sklearn", "BaggingClassifier BaggingRegressor", _bagged),
    **_named("sklearn", "TransformedTargetRegressor", _of_target),
    **_named("sklearn", "GridSearchCV RandomizedSearchCV", _searched),
    **_named("sklearn", _LINEAR, models.linear),
    **_named("sklearn", _SIDES, models.linear_classes),
    **_named("sklearn", "PoissonRegressor GammaRegressor TweedieRegressor", models.generalized),
    **_named("sklearn", "LogisticRegression LogisticRegressionCV", models.logistic),
    **_named("sklearn", "LinearDiscriminantAnalysis", models.logistic),
    **_named("sklearn", "SGDClassifier", models.gradient_classes),
    **_named("sklearn", "SVR NuSVR", models.support),
    **_named("sklearn", "SVC NuSVC", models.support_classes),
    **_named("sklearn", "GaussianNB", models.gaussian_bayes),
    **_named("sklearn", "MultinomialNB ComplementNB", models.counted_bayes),
    **_named("sklearn", "BernoulliNB", models.bernoulli_bayes),
    **_named("sklearn", "KMeans MiniBatchKMeans", models.clusters),
    **_named("sklearn", "KNeighborsClassifier KNeighborsRegressor", models.neighbours),
    **_named("sklearn", "MLPClassifier MLPRegressor", models.perceptron),
    **_named("sklearn", "DummyClassifier DummyRegressor", models.constant),
    **_named("sklearn", "DecisionTreeClassifier DecisionTreeRegressor", forests.tree),
    **_named("sklearn", "ExtraTreeClassifier ExtraTreeRegressor", forests.tree),
    **_named("sklearn", "RandomForestClassifier RandomForestRegressor", forests.forest),
    **_named("sklearn", "ExtraTreesClassifier ExtraTreesRegressor", forests.forest),
    **_named("sklearn", "GradientBoostingClassifier GradientBoostingRegressor", forests.boosting),
    **_named("sklearn", "HistGradientBoostingClassifier", forests.histograms),
    **_named("sklearn", "HistGradientBoostingRegressor", forests.histograms),
    **_named("sklearn", "IsolationForest", forests.isolation),
    **_named("xgboost", "XGBClassifier XGBRegressor", boosters.xgboost),
    **_named("lightgbm", "LGBMClassifier LGBMRegressor Booster", boosters.lightgbm),
}
