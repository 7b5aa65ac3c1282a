"""Fitted encodings of feature columns: what must happen in training and at prediction alike.

Built from scikit-learn's own parts, so that a fitted model pickles, compares and converts like
any other scikit-learn pipeline.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from everfit.data import Role, Schema
from everfit.training.model import Encoding

MOST_CATEGORIES = 50
MOST_ORDINALS = 1_000
MOST_WORDS = 200
BINS = 10
BIN_ROWS = 10_000
WORD = r"\w\w"


def encoder(train: pl.DataFrame, schema: Schema, style: Encoding) -> ColumnTransformer:
    """Return an encoder, not yet fitted, for the feature columns of ``schema``.

    ``train`` is looked at only to leave out columns that hold nothing to learn from. The fitted
    encoder takes a frame with these columns and gives a dense array; values it has not seen are
    counted as infrequent, or as nothing where training had no infrequent ones.
    """
    names = _by_role(train, schema)
    parts: list[tuple[str, Any, Any]] = []
    if names[Role.NUMERIC]:
        parts.append(("numbers", _numbers(style), names[Role.NUMERIC]))
    if names[Role.CATEGORY]:
        parts.append(("categories", _categories(style), names[Role.CATEGORY]))
    # A text column is handed over by its bare name: the vectoriser takes a sequence of texts.
    parts += [(f"words in {name}", _words(), name) for name in names[Role.TEXT]]
    return ColumnTransformer(parts, sparse_threshold=0.0, verbose_feature_names_out=False)


def _by_role(train: pl.DataFrame, schema: Schema) -> dict[Role, list[str]]:
    names: dict[Role, list[str]] = {role: [] for role in (Role.NUMERIC, Role.CATEGORY, Role.TEXT)}
    for column in schema.features:
        # True and false are two categories, with a missing value as a third.
        role = Role.CATEGORY if column.role is Role.BOOLEAN else column.role
        if _says_something(train[column.name], role):
            names[role].append(column.name)
    return names


def _says_something(values: pl.Series, role: Role) -> bool:
    if role is Role.TEXT:
        return bool(values.str.contains(WORD).any())
    return values.null_count() < len(values)


def _numbers(style: Encoding) -> Any:
    if style is Encoding.TREES:
        # Trees learn by themselves on which side of a split a missing value belongs.
        return "passthrough"
    fill = SimpleImputer(strategy="median", add_indicator=True)
    if style is Encoding.BINNED:
        return make_pipeline(fill, _bins())
    return make_pipeline(fill, StandardScaler())


def _bins() -> KBinsDiscretizer:
    return KBinsDiscretizer(
        n_bins=BINS, encode="onehot-dense", strategy="quantile", subsample=BIN_ROWS, random_state=0
    )


def _categories(style: Encoding) -> Any:
    if style is Encoding.TREES:
        return OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=MOST_ORDINALS
        )
    return OneHotEncoder(
        max_categories=MOST_CATEGORIES, handle_unknown="infrequent_if_exist", sparse_output=False
    )


def _words() -> TfidfVectorizer:
    return TfidfVectorizer(max_features=MOST_WORDS, preprocessor=plain, dtype=np.float64)


def plain(text: str | None) -> str:
    """Return ``text`` in lower case; a missing text has no words.

    Examples
    --------
    >>> plain("Late AGAIN"), plain(None)
    ('late again', '')
    """
    return "" if text is None else text.lower()
