"""Compiled models answer what native ones do: estimators and pipelines, with odd rows."""

from __future__ import annotations

import warnings
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
import xgboost
from sklearn import (
    cluster,
    discriminant_analysis,
    ensemble,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    svm,
    tree,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

from everfit.compiling import CompiledModel, compile_model, prove
from everfit.packages import FittedModel, infer_signature

ROWS = 160
NUMBERS = ["a", "b", "c", "d"]


def table() -> pl.DataFrame:
    """Rows with numbers, whole numbers, truths, texts, words, and gaps in some columns."""
    random = np.random.default_rng(7)
    words = np.array(["late", "early", "Zürich", "bus", "train", "again", "straße", "I"])
    gap = random.random(ROWS) < 0.1
    return pl.DataFrame(
        {
            "a": random.normal(size=ROWS).round(2),
            "b": random.integers(0, 9, ROWS) / 4,
            "c": random.exponential(size=ROWS).round(2),
            "d": random.normal(3, 5, ROWS),
            "gaps": gappy(random.normal(size=ROWS), gap),
            "whole": random.integers(0, 5, ROWS),
            "flag": random.random(ROWS) < 0.4,
            "city": gappy(random.choice(["Bern", "Genf", "Zug", "Ort"], ROWS), gap),
            "rare": random.choice(["x", "y", "z", "w"], ROWS, p=[0.5, 0.45, 0.03, 0.02]),
            "said": [" ".join(random.choice(words, 4)) for _ in range(ROWS)],
        }
    )


def gappy(values: Any, gap: Any) -> pl.Series:
    return pl.Series([None if gone else value for value, gone in zip(values, gap, strict=True)])


TABLE = table()
TARGET = (TABLE["a"] * TABLE["b"] + TABLE["c"] - (TABLE["rare"] == "x").cast(pl.Float64)).rename(
    "y"
)
KINDS: dict[str, pl.Series] = {
    "regression": TARGET,
    "two": (TARGET > 0.7).replace_strict({True: "yes", False: "no"}, return_dtype=pl.String),
    "three": pl.Series("y", np.digitize(TARGET.to_numpy(), [0.0, 1.5]) * 10),
}


def fitted(estimator: Any, kind: str, columns: list[str] | None = None) -> FittedModel:
    frame = TABLE.select(columns or NUMBERS)
    truth = KINDS.get(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(frame, None if truth is None else labels(estimator, truth))
    task = "classification" if kind in ("two", "three") else kind
    classes = np.unique(truth).tolist() if task == "classification" and truth is not None else ()
    signature = infer_signature(frame, truth, task, classes)
    return FittedModel(estimator, signature)


def labels(estimator: Any, truth: pl.Series) -> Any:
    """XGBoost wants the places of the classes, and gives them back."""
    codes = isinstance(estimator, xgboost.XGBClassifier)
    return np.unique(truth, return_inverse=True)[1] if codes else truth.to_numpy()


def mixed(*, scale: bool = True, style: str = "hot") -> ColumnTransformer:
    numbers: Any = SimpleImputer(strategy="median", add_indicator=True)
    encode: Any = OneHotEncoder(max_categories=3, handle_unknown="infrequent_if_exist")
    if style == "ordinal":
        encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    steps = make_pipeline(numbers, StandardScaler()) if scale else numbers
    return ColumnTransformer(
        [
            ("numbers", steps, ["d", "gaps", "a", "whole"]),
            ("categories", encode, ["flag", "city", "rare"]),
        ],
        sparse_threshold=0.0,
    )


MIXED = ["a", "d", "gaps", "whole", "flag", "city", "rare"]
TEXT = ["said", "a"]


def of_texts(vectoriser: Any) -> ColumnTransformer:
    return ColumnTransformer([("words", vectoriser, "said"), ("rest", StandardScaler(), ["a"])])


def forest(**settings: Any) -> RandomForestClassifier:
    return RandomForestClassifier(20, random_state=0, **settings)


CASES: dict[str, tuple[Any, str, list[str]]] = {
    "linear": (linear_model.LinearRegression(), "regression", NUMBERS),
    "ridge": (Ridge(), "regression", NUMBERS),
    "lasso": (linear_model.Lasso(0.1), "regression", NUMBERS),
    "elastic net": (linear_model.ElasticNet(0.1), "regression", NUMBERS),
    "bayesian ridge": (linear_model.BayesianRidge(), "regression", NUMBERS),
    "huber": (linear_model.HuberRegressor(), "regression", NUMBERS),
    "scaled target": (
        TransformedTargetRegressor(linear_model.LinearRegression(), transformer=StandardScaler()),
        "regression",
        NUMBERS,
    ),
    "logistic of two": (LogisticRegression(), "two", NUMBERS),
    "logistic of three": (LogisticRegression(max_iter=1000), "three", NUMBERS),
    "gradient descent": (
        linear_model.SGDClassifier(loss="log_loss", random_state=0),
        "three",
        NUMBERS,
    ),
    "perceptron": (linear_model.Perceptron(), "two", NUMBERS),
    "ridge classifier": (linear_model.RidgeClassifier(), "three", NUMBERS),
    "discriminant": (discriminant_analysis.LinearDiscriminantAnalysis(), "three", NUMBERS),
    "quadratic": (discriminant_analysis.QuadraticDiscriminantAnalysis(), "three", NUMBERS),
    "linear svm": (svm.LinearSVC(random_state=0), "three", NUMBERS),
    "svm of two": (svm.SVC(), "two", NUMBERS),
    "svm of three": (svm.SVC(kernel="poly", degree=2), "three", NUMBERS),
    "svm of values": (svm.SVR(), "regression", NUMBERS),
    "calibrated svm": (
        CalibratedClassifierCV(svm.LinearSVC(random_state=0), cv=3, ensemble=False),
        "two",
        NUMBERS,
    ),
    "calibrated bayes": (CalibratedClassifierCV(naive_bayes.GaussianNB(), cv=3), "three", NUMBERS),
    "landmarks": (
        make_pipeline(StandardScaler(), Nystroem(n_components=20, random_state=0), Ridge()),
        "regression",
        NUMBERS,
    ),
    "gaussian bayes": (naive_bayes.GaussianNB(), "three", NUMBERS),
    "bernoulli bayes": (naive_bayes.BernoulliNB(binarize=0.5), "two", NUMBERS),
    "multinomial bayes": (
        make_pipeline(KBinsDiscretizer(5, encode="onehot-dense"), naive_bayes.MultinomialNB()),
        "three",
        NUMBERS,
    ),
    "complement bayes": (
        make_pipeline(MinMaxScaler(clip=True), naive_bayes.ComplementNB()),
        "two",
        NUMBERS,
    ),
    "neighbours": (neighbors.KNeighborsClassifier(3), "three", ["a", "d"]),
    "weighted neighbours": (
        make_pipeline(StandardScaler(), neighbors.KNeighborsRegressor(4, weights="distance")),
        "regression",
        ["a", "d"],
    ),
    "k-means": (cluster.KMeans(4, n_init=2, random_state=0), "clustering", NUMBERS),
    "tree": (tree.DecisionTreeClassifier(random_state=0), "three", NUMBERS),
    "tree of values": (tree.DecisionTreeRegressor(random_state=0), "regression", ["a", "gaps"]),
    "forest of two": (forest(), "two", [*NUMBERS, "gaps"]),
    "forest of three": (forest(max_depth=4), "three", NUMBERS),
    "forest of values": (RandomForestRegressor(20, random_state=0), "regression", NUMBERS),
    "extra trees": (ensemble.ExtraTreesClassifier(20, random_state=0), "three", NUMBERS),
    "extra trees of values": (
        ensemble.ExtraTreesRegressor(20, random_state=0),
        "regression",
        NUMBERS,
    ),
    "boosting of two": (ensemble.GradientBoostingClassifier(n_estimators=20), "two", NUMBERS),
    "boosting of three": (ensemble.GradientBoostingClassifier(n_estimators=10), "three", NUMBERS),
    "boosting of values": (
        ensemble.GradientBoostingRegressor(n_estimators=20),
        "regression",
        NUMBERS,
    ),
    "histograms of two": (HistGradientBoostingClassifier(max_iter=20), "two", ["a", "gaps", "d"]),
    "histograms of three": (HistGradientBoostingClassifier(max_iter=9), "three", ["a", "gaps"]),
    "histograms of values": (
        HistGradientBoostingRegressor(max_iter=20),
        "regression",
        ["a", "gaps", "d", "whole"],
    ),
    "isolation forest": (IsolationForest(n_estimators=20, random_state=0), "regression", NUMBERS),
    "xgboost of two": (xgboost.XGBClassifier(n_estimators=20), "two", ["a", "gaps", "d"]),
    "xgboost of three": (xgboost.XGBClassifier(n_estimators=8), "three", ["a", "gaps", "b"]),
    "xgboost of values": (
        xgboost.XGBRegressor(n_estimators=20),
        "regression",
        ["a", "gaps", "d"],
    ),
    "lightgbm of two": (lightgbm.LGBMClassifier(n_estimators=20), "two", ["a", "gaps", "d"]),
    "lightgbm of three": (lightgbm.LGBMClassifier(n_estimators=8), "three", ["a", "gaps", "d"]),
    "lightgbm of values": (
        lightgbm.LGBMRegressor(n_estimators=20),
        "regression",
        ["a", "gaps", "d"],
    ),
    "perceptrons": (
        make_pipeline(
            StandardScaler(), neural_network.MLPClassifier((8,), max_iter=50, random_state=0)
        ),
        "three",
        NUMBERS,
    ),
    "perceptrons of values": (
        neural_network.MLPRegressor(
            hidden_layer_sizes=(8, 4), activation="tanh", max_iter=50, random_state=0
        ),
        "regression",
        NUMBERS,
    ),
    "components": (
        make_pipeline(RobustScaler(), PCA(2, whiten=True), LogisticRegression()),
        "two",
        NUMBERS,
    ),
    "polynomials": (make_pipeline(PolynomialFeatures(3), Ridge()), "regression", NUMBERS),
    "selection": (
        make_pipeline(
            FeatureUnion([("most", MaxAbsScaler()), ("rows", Normalizer())]),
            SelectKBest(k=3),
            LogisticRegression(),
        ),
        "two",
        NUMBERS,
    ),
    "mixed logistic": (make_pipeline(mixed(), LogisticRegression()), "two", MIXED),
    "mixed ridge": (make_pipeline(mixed(), Ridge()), "regression", MIXED),
    "mixed forest": (make_pipeline(mixed(scale=False), forest()), "three", MIXED),
    "mixed histograms": (
        make_pipeline(mixed(style="ordinal"), HistGradientBoostingClassifier(max_iter=15)),
        "three",
        MIXED,
    ),
    "mixed xgboost": (
        make_pipeline(mixed(style="ordinal"), xgboost.XGBRegressor(n_estimators=15)),
        "regression",
        MIXED,
    ),
    "filled texts": (
        make_pipeline(
            ColumnTransformer(
                [
                    (
                        "city",
                        make_pipeline(
                            SimpleImputer(missing_values=None, strategy="most_frequent"),
                            OneHotEncoder(handle_unknown="ignore", drop="first"),
                        ),
                        ["city"],
                    ),
                    ("rest", "passthrough", ["a", "whole"]),
                ]
            ),
            LogisticRegression(),
        ),
        "three",
        MIXED,
    ),
    "words": (make_pipeline(of_texts(TfidfVectorizer()), LogisticRegression()), "two", TEXT),
    "runs of words": (
        make_pipeline(
            of_texts(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
            TruncatedSVD(5, random_state=0),
            Ridge(),
        ),
        "regression",
        TEXT,
    ),
    "letters": (
        make_pipeline(
            ColumnTransformer(
                [("said", CountVectorizer(analyzer="char_wb", ngram_range=(2, 3)), "said")]
            ),
            naive_bayes.MultinomialNB(),
        ),
        "three",
        TEXT,
    ),
    "threshold": (FixedThresholdClassifier(LogisticRegression(), threshold=0.3), "two", NUMBERS),
    "votes": (
        ensemble.VotingClassifier(
            [("l", LogisticRegression()), ("t", tree.DecisionTreeClassifier(max_depth=3))],
            voting="soft",
        ),
        "two",
        NUMBERS,
    ),
    "bags": (
        ensemble.BaggingRegressor(
            tree.DecisionTreeRegressor(max_depth=4), 5, max_features=0.5, random_state=0
        ),
        "regression",
        NUMBERS,
    ),
    "prior": (DummyClassifier(), "three", NUMBERS),
    "mean": (DummyRegressor(), "regression", NUMBERS),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_a_compiled_model_answers_what_the_native_one_does(case: str) -> None:
    estimator, kind, columns = CASES[case]
    native = fitted(estimator, kind, columns)
    compiled = CompiledModel(compile_model(native), native.signature)
    found = prove(native, compiled, TABLE)
    assert found.equal, f"{found}: {found.shown}"
    assert found.rows > ROWS
    for mine, others in zip(native.predict_both(TABLE), compiled.predict_both(TABLE), strict=True):
        assert (mine is None) == (others is None)
        assert mine is None or others is None or mine.dtype == others.dtype
