"""Class labels as texts: 1, 1.0 and "1" are one class, whichever program or file they came from."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache

import polars as pl

WHOLE = r"^(-?\d+)\.0+$"
TRUTHS = {"True": "true", "False": "false"}


@lru_cache(maxsize=10_000, typed=True)
def label_text(label: Hashable) -> str:
    """Return the text by which one class label is known.

    Examples
    --------
    >>> label_text("yes"), label_text(1), label_text(1.0), label_text("1.0"), label_text(True)
    ('yes', '1', '1', '1', 'true')
    """
    text = str(label)
    return TRUTHS.get(text) or re.sub(WHOLE, r"\1", text)


def label_texts(labels: pl.Series) -> pl.Series:
    """Return class labels as `label_text` does, null where there is none.

    Examples
    --------
    >>> label_texts(pl.Series([1.0, 2.0])).to_list(), label_texts(pl.Series([True])).to_list()
    (['1', '2'], ['true'])
    """
    text = labels.cast(pl.String)
    if labels.dtype == pl.String:
        text = text.replace(TRUTHS)
    return text.str.replace(WHOLE, "$1")
