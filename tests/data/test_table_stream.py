"""Tables of one schema as messages of one Arrow stream, written from frames or from columns."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everfit.data import Cells, Constant, Encoded, TableStream
from everfit.errors import Invalid
from everfit.kernel.messages import checksum, is_whole

TIME = pl.Datetime("us", "UTC")
NUMBERS = st.floats(allow_nan=False, width=64)
INTEGERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
MOMENTS = st.integers(min_value=-(2**54), max_value=2**54)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
VALUES: dict[pl.DataType, st.SearchStrategy[Any]] = {
    pl.Float64(): NUMBERS,
    pl.Int64(): INTEGERS,
    TIME: MOMENTS,
    pl.Boolean(): st.booleans(),
    pl.String(): TEXTS | st.text("ab", max_size=3),
}
ARRAYS = {pl.Float64(): np.float64, pl.Int64(): np.int64, TIME: np.int64, pl.Boolean(): np.bool_}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pl.DataFrame, list[Cells]]:
    """Draw a frame, and the same rows as columns in one of the forms that each may have."""
    rows = draw(st.integers(0, 20) | st.integers(0, 300))
    series, columns = [], []
    for number in range(draw(st.integers(1, 7))):
        dtype = draw(st.sampled_from(list(VALUES)))
        values, cells = draw(_cells(dtype, rows))
        series.append(pl.Series(f"{number}", values, dtype=dtype))
        columns.append(cells)
    return pl.DataFrame(series), columns


@st.composite
def _cells(draw: st.DrawFn, dtype: pl.DataType, rows: int) -> tuple[list[Any], Cells]:
    forms = ["list", "tuple", "constant", "array" if dtype in ARRAYS else "encoded"]
    form = draw(st.sampled_from(forms))
    nulls = draw(st.sampled_from(["none", "some", "all"]))
    one = st.none() if nulls == "all" else VALUES[dtype]
    if form == "constant":
        value = draw(one)
        return [value] * rows, Constant(value)
    if form == "encoded":
        nulls, one = "none", VALUES[dtype]
    few = draw(st.lists(one | st.none() if nulls == "some" else one, min_size=1, max_size=12))
    values = [few[row % len(few)] for row in range(rows)]
    if form == "encoded":
        found = [str(value) for value in values]
        pieces = [text.encode() for text in found]
        ends = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
        return values, Encoded(found, b"".join(pieces), ends)
    if form == "array":
        if dtype == pl.Float64():
            gaps = [np.nan if value is None else value for value in values]
            # A column of a matrix, whose values lie apart.
            return values, np.array([gaps, gaps], dtype=np.float64).T[:, 1]
        values = [draw(VALUES[dtype]) if value is None else value for value in values]
        return values, np.array(values, dtype=ARRAYS[dtype])
    return values, tuple(values) if form == "tuple" else values


@settings(max_examples=150, deadline=None)
@given(table=tables())
def test_columns_and_frames_are_read_as_the_same_table(
    table: tuple[pl.DataFrame, list[Cells]],
) -> None:
    frame, columns = table
    stream = TableStream(frame.schema)
    message = stream.of_columns(columns, frame.height)
    assert is_whole(message, checksum(stream.preamble))
    assert _read(stream.preamble + message).equals(frame)
    if frame.height:
        again = stream.of_frame(frame)
        assert is_whole(again, checksum(stream.preamble))
        assert _read(stream.preamble + again).equals(frame)
        both = stream.preamble + message + again + message
        assert _read(both).equals(pl.concat([frame] * 3))
        _check_with_arrow(both, frame)


def _read(content: bytes) -> pl.DataFrame:
    return pl.read_ipc_stream(io.BytesIO(content))


def _check_with_arrow(content: bytes, frame: pl.DataFrame) -> None:
    """Arrow's own library finds nothing wrong in it, and the same values."""
    found = pa.ipc.open_stream(content).read_all()
    found.validate(full=True)
    assert pl.DataFrame(found).equals(pl.concat([frame] * 3))


def test_a_frame_of_any_type_is_a_message() -> None:
    frame = pl.DataFrame({"day": ["2026-11-23"], "small": [1], "none": [None]}).with_columns(
        pl.col("day").str.to_date(), pl.col("small").cast(pl.UInt8)
    )
    stream = TableStream(frame.schema)
    assert _read(stream.preamble + stream.of_frame(frame)).equals(frame)
    with pytest.raises(Invalid, match="'day' of Date can be written from a frame only"):
        stream.of_columns([[0], [1], [None]], 1)


def test_rows_of_another_schema_are_refused() -> None:
    stream = TableStream({"a": pl.Float64(), "b": pl.String()})
    with pytest.raises(Invalid, match="1 rows of b: String, a: Float64 are no part"):
        stream.of_frame(pl.DataFrame({"b": ["x"], "a": [1.0]}))
    with pytest.raises(Invalid, match="0 rows"):
        stream.of_frame(pl.DataFrame(schema=stream.schema))


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([[1.0]], "1 columns of 1 rows for 2"),
        ([[1.0], ["x", "y"]], "'b' has 2 values for 1 rows"),
        ([np.ones(3), ["x"]], "'a' has 3 values for 1 rows"),
    ],
)
def test_columns_that_are_too_many_or_too_long_are_refused(
    columns: list[Cells], words: str
) -> None:
    stream = TableStream({"a": pl.Float64(), "b": pl.String()})
    with pytest.raises(Invalid, match=words):
        stream.of_columns(columns, 1)


def test_a_batch_of_many_columns_has_its_nulls_where_they_are() -> None:
    """NumPy 2.4 noted some of them in other columns, from ten columns on."""
    stream = TableStream({f"{number}": pl.Float64() for number in range(40)})
    columns: list[Cells] = [Constant(None if number % 3 else 1.0) for number in range(40)]
    found = _read(stream.preamble + stream.of_columns(columns, 1))
    assert found.null_count().row(0) == tuple(int(number % 3 > 0) for number in range(40))
