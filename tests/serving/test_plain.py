"""Rows are the same rows whether they came one by one or column by column, alone or joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from everfit.data import TableStream
from everfit.packages import Field, Kind
from everfit.serving.columns import DTYPES
from everfit.serving.plain import Plain, Values

FIELDS = (
    Field(name="a", kind=Kind.NUMBER, nullable=True),
    Field(name="b", kind=Kind.INTEGER),
    Field(name="c", kind=Kind.TEXT, nullable=True),
    Field(name="d", kind=Kind.BOOLEAN),
)
SCHEMA = {field.name: DTYPES[field.kind] for field in FIELDS}
ROW = st.tuples(
    st.none() | st.floats(-1e6, 1e6),
    st.integers(-(2**40), 2**40),
    st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
    st.booleans(),
)
PARTS = st.lists(st.tuples(st.lists(ROW, min_size=1, max_size=4), st.booleans()), min_size=1)


def by_column(rows: list[tuple[Any, ...]]) -> Plain:
    a, b, c, d = zip(*rows, strict=True)
    columns: list[Values] = [np.array(a, dtype=np.float64), np.array(b), list(c), np.array(d)]
    return Plain.of_columns(FIELDS, columns)


@given(PARTS)
def test_joined_rows_are_the_rows(parts: list[tuple[list[tuple[Any, ...]], bool]]) -> None:
    made = [by_column(rows) if columns else Plain(FIELDS, rows) for rows, columns in parts]
    rows = [row for part, _ in parts for row in part]
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    joined = Plain.joined(made)
    assert joined.height == len(rows)
    stream = TableStream(SCHEMA)
    before = stream.of_columns(joined.cells, joined.height)
    for name, array in joined.arrays.items():
        assert array.shape == (len(rows),)
        wanted = [float("nan") if one is None and name == "a" else one for one in frame[name]]
        np.testing.assert_array_equal(array, np.array(wanted, dtype=array.dtype))
    after = stream.of_columns(joined.cells, joined.height)
    for message in (before, after):
        assert pl.read_ipc_stream(stream.preamble + message).equals(frame)
    assert joined.frame.equals(frame)
