"""Rows with numbers that are missing, categories and words, and estimators fitted on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from everfit.explaining import Background, Explainer
from everfit.packages import FittedModel, infer_signature

COUNT = 400


def table(rows: int = COUNT, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    temp = np.where(rng.random(rows) < 0.1, np.nan, rng.uniform(0, 1, rows))
    return pl.DataFrame(
        {
            "temp": pl.Series(temp).fill_nan(None),
            "hour": rng.integers(0, 24, rows),
            "sky": rng.choice(["clear", "rain", "mist"], rows),
            "note": rng.choice(["late again", "very good", "good late", "bad"], rows),
        }
    )


ROWS = table()
VALUES = (
    60 * ROWS["temp"].fill_null(0.2)
    + 5 * ROWS["hour"]
    + pl.Series((ROWS["sky"] == "rain").to_numpy() * 20.0)
).alias("cnt")
TWO = pl.Series("busy", np.where(VALUES.to_numpy() > 90, "yes", "no"))
THREE = pl.Series("level", np.digitize(VALUES.to_numpy(), [60, 110]))


def encoder(*, trees: bool) -> ColumnTransformer:
    numbers = (
        "passthrough"
        if trees
        else make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    )
    categories = OrdinalEncoder() if trees else OneHotEncoder(sparse_output=False)
    return ColumnTransformer(
        [
            ("words", TfidfVectorizer(), "note"),
            ("numbers", numbers, ["temp", "hour"]),
            ("categories", categories, ["sky"]),
        ],
        sparse_threshold=0.0,
    )


def fitted(model: Any, target: pl.Series, *, trees: bool = False) -> FittedModel:
    pipeline = Pipeline([("encode", encoder(trees=trees)), ("model", model)])
    pipeline.fit(ROWS, target.to_numpy())
    classes = getattr(pipeline, "classes_", None)
    task = "regression" if classes is None else "classification"
    names = () if classes is None else classes.tolist()
    return FittedModel(pipeline, infer_signature(ROWS, target, task, names))


def explainer(model: FittedModel) -> Explainer:
    return Explainer(model, Background(frame=ROWS, name="dataset 1234"))
