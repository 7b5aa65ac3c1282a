"""Cleaning that looks at one value at a time, so it is the same for a table and for one row."""

from __future__ import annotations

import polars as pl
from polars import selectors

NULL_TEXTS = ("", "?", "NA", "N/A", "NaN", "nan", "null", "NULL")


def clean(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``frame`` with texts trimmed and one kind of missing value: null.

    Null are the texts of ``NULL_TEXTS``, NaN and the infinities, which no model can use.
    Categoricals become texts and decimals floats. Nothing depends on other rows, and doing it
    twice changes nothing, so a model may do it again at prediction time.

    Examples
    --------
    >>> clean(pl.DataFrame({"a": [" x", "?"], "b": [1.0, float("inf")]})).rows()
    [('x', 1.0), (None, None)]
    """
    texts = (selectors.categorical() | selectors.enum() | selectors.string()).cast(pl.String)
    trimmed = texts.str.strip_chars()
    frame = frame.with_columns(
        pl.when(trimmed.is_in(NULL_TEXTS)).then(None).otherwise(trimmed).name.keep(),
        selectors.decimal().cast(pl.Float64),
    )
    # A separate pass: decimals are floats only now.
    floats = selectors.float()
    return frame.with_columns(pl.when(floats.is_finite()).then(floats).name.keep())
