"""What a proof counts, what it refuses to call equal, and what is not converted."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from everfit.compiling import CompiledModel, Tolerance, attempt, compile_model, prove
from everfit.errors import Invalid, NotConvertible, PredictionFailed, RowsInvalid
from everfit.packages import FittedModel, infer_signature

RANDOM = np.random.default_rng(0)
FRAME = pl.DataFrame(
    {
        "x": RANDOM.normal(size=60),
        "n": RANDOM.integers(0, 5, 60),
        "city": RANDOM.choice(["Bern", "Zug"], 60),
    }
)
TRUTH = 2 * FRAME["x"] + FRAME["n"]
LABELS = pl.Series("y", np.where(TRUTH > 2, "yes", "no"))
NUMBERS = FRAME.select("x", "n")
pytestmark = pytest.mark.filterwarnings("ignore")


def regression(model: Any = None, frame: pl.DataFrame = NUMBERS) -> FittedModel:
    made = (model or LinearRegression()).fit(frame, TRUTH.to_numpy())
    return FittedModel(made, infer_signature(frame, TRUTH.rename("y"), "regression"))


def classification() -> FittedModel:
    encode = ColumnTransformer([("c", OneHotEncoder(), ["city"]), ("n", "passthrough", ["x", "n"])])
    made = make_pipeline(encode, LogisticRegression()).fit(FRAME, LABELS.to_numpy())
    return FittedModel(made, infer_signature(FRAME, LABELS, "classification", ("no", "yes")))


def opened(native: FittedModel) -> CompiledModel:
    return CompiledModel(compile_model(native), native.signature)


def test_every_disagreement_is_counted_and_the_first_are_shown() -> None:
    native = regression()
    other = regression(DecisionTreeRegressor(max_depth=2))
    found = prove(native, opened(other), NUMBERS)
    assert not found.equal
    assert found.disagreements > 50
    assert len(found.shown) == 5
    assert found.shown[0].native != found.shown[0].compiled
    assert set(found.shown[0].values) == {"x", "n"}
    assert f"{found.disagreements:,} of {found.rows:,} rows differ" in str(found)


def test_no_rows_prove_nothing() -> None:
    native = regression()
    found = prove(native, opened(native), NUMBERS[:0])
    assert not found.equal
    assert "not shown equal" in str(found)


def test_rows_that_both_refuse_prove_nothing() -> None:
    native = regression()
    empty = NUMBERS[:3].with_columns(x=pl.lit(None, dtype=pl.Float64))
    found = prove(native, opened(native), empty)
    assert found.refused >= 3
    nothing = prove(native, opened(native), empty, Tolerance(values=float("nan")))
    assert not nothing.equal


def test_a_difference_beyond_the_tolerance_or_of_nan_never_passes() -> None:
    native = regression()
    exact = prove(native, opened(native), NUMBERS, Tolerance(values=0.0))
    assert exact.largest < 1e-12
    assert not prove(native, opened(native), NUMBERS, Tolerance(values=float("nan"))).equal


def test_a_missing_value_that_the_native_model_refuses_is_refused() -> None:
    compiled = opened(regression())
    with pytest.raises(PredictionFailed):
        compiled.predict(pl.DataFrame({"x": [1.0, None], "n": [1, 2]}))


def test_an_unknown_category_that_the_encoder_refuses_is_refused() -> None:
    native = classification()
    compiled = opened(native)
    with pytest.raises(PredictionFailed):
        compiled.predict(FRAME[:1].with_columns(city=pl.lit("Rom")))
    assert prove(native, compiled, FRAME).equal


def test_columns_are_checked_as_the_native_model_checks_them() -> None:
    with pytest.raises(RowsInvalid, match="city"):
        opened(classification()).predict(FRAME.drop("city"))


def test_arrays_give_what_a_frame_gives() -> None:
    compiled = opened(classification())
    columns = {
        "n": FRAME["n"].to_numpy(),
        "x": FRAME["x"].to_numpy(),
        "city": np.array(FRAME["city"].to_list()),
    }
    predictions, scores = compiled.ask(columns)
    expected, same = compiled.predict_both(FRAME)
    assert predictions.tolist() == expected.tolist()
    assert np.array_equal(np.asarray(scores), np.asarray(same))
    objects = compiled.ask({**columns, "city": columns["city"].astype(object)})
    assert objects[0].tolist() == expected.tolist()


def test_no_rows_give_no_answers_of_the_right_types() -> None:
    native = classification()
    (first, scores), (second, others) = (
        model.predict_both(FRAME[:0]) for model in (native, opened(native))
    )
    assert first.dtype == second.dtype
    assert scores is not None
    assert others is not None
    assert scores.shape == others.shape == (0, 2)


REFUSED: dict[str, tuple[Any, str]] = {
    "an own function": (
        make_pipeline(FunctionTransformer(np.abs), LinearRegression()),
        "function of its own",
    ),
    "an own class": (make_pipeline(type("Own", (LinearRegression,), {})()), "Own"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_convert_is_refused_with_its_reason(case: str) -> None:
    model, reason = REFUSED[case]
    with pytest.raises(NotConvertible, match=reason):
        compile_model(regression(model))


def test_trees_whose_thresholds_would_be_rounded_are_refused() -> None:
    model = AdaBoostClassifier(n_estimators=5).fit(NUMBERS, LABELS.to_numpy())
    native = FittedModel(model, infer_signature(NUMBERS, LABELS, "classification", ("no", "yes")))
    with pytest.raises(NotConvertible, match="AdaBoostClassifier"):
        compile_model(native)


def test_trees_on_categories_of_their_own_are_refused() -> None:
    with pytest.raises(NotConvertible, match="categories"):
        compile_model(regression(HistGradientBoostingRegressor(categorical_features=[1])))


def test_a_vectoriser_with_a_function_of_its_own_is_refused() -> None:
    words = ColumnTransformer([("w", TfidfVectorizer(preprocessor=str.upper), "city")])
    with pytest.raises(NotConvertible, match="function of its own"):
        compile_model(regression(make_pipeline(words, LinearRegression()), FRAME))


def test_a_file_that_is_no_compiled_model_is_refused() -> None:
    with pytest.raises(Invalid, match="compiled model"):
        CompiledModel(b"nonsense", regression().signature)


def test_an_attempt_gives_the_model_and_what_was_shown() -> None:
    native = classification()
    found = attempt(native, FRAME)
    assert found.content is not None
    assert found.parity is not None
    assert found.parity.equal
    assert found.reason.startswith("equal on ")
    compiled = CompiledModel(found.content, native.signature)
    assert compiled.predict(FRAME).tolist() == native.predict(FRAME).tolist()


def test_an_attempt_says_why_the_native_model_serves() -> None:
    found = attempt(regression(make_pipeline(FunctionTransformer(np.abs), Ridge())), NUMBERS)
    assert found.content is None
    assert "function of its own" in found.reason
    nothing = attempt(regression(), NUMBERS[:0])
    assert nothing.content is None
    assert "not shown equal" in nothing.reason
    rows = attempt(regression(), FRAME.select("city"))
    assert rows.content is None
    assert "x" in rows.reason


def test_opening_a_compiled_model_loads_no_converter_and_no_estimator() -> None:
    heavy = ["onnx", "skl2onnx", "sklearn", "torch", "pandas"]
    code = (
        "import sys\nfrom everfit.compiling import CompiledModel\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
