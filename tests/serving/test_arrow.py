"""Arrow streams: what Arrow's and Polars' own writers write, and whatever else may come."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import httpx
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.conftest import (
    CLASSIFICATION,
    ENDPOINT,
    INPUTS,
    REGRESSION,
    Shop,
    WarmIsBusy,
)

from everfit.errors import Invalid, RowsInvalid, TooLarge
from everfit.packages import Field, Kind
from everfit.serving import BackgroundServer, Bounds
from everfit.serving.arrow import decode_arrow
from everfit.serving.media import ARROW

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMED = replace(REGRESSION, inputs=(*INPUTS, Field(name="due", kind=Kind.TIME)))
LONG = "a text of more than twelve bytes"
FRAME = pl.DataFrame(
    {
        "temp": [0.5, 1.5, 2.5],
        "hour": [1, 2, 3],
        "sky": ["clear", None, LONG],
        "holiday": [True, False, True],
        "due": pl.Series([NOON] * 3, dtype=pl.Datetime("us", "UTC")),
    }
)
OLDEST, NEWEST = pl.CompatLevel.oldest(), pl.CompatLevel.newest()


def polars(frame: pl.DataFrame, level: Any = OLDEST, compression: Any = "uncompressed") -> bytes:
    content = io.BytesIO()
    frame.write_ipc_stream(content, compression=compression, compat_level=level)
    return content.getvalue()


def arrow(table: pa.Table, *, chunk: int = 2) -> bytes:
    content = io.BytesIO()
    with pa.ipc.new_stream(content, table.schema) as writer:
        writer.write_table(table, max_chunksize=chunk)
    return content.getvalue()


def read(content: bytes, signature: Any = TIMED) -> pl.DataFrame:
    return decode_arrow(content, signature, max_rows=9).frame


def column(values: pa.Array, name: str = "temp") -> bytes:
    """Return a stream of the frame with another column."""
    table = FRAME.to_arrow(compat_level=OLDEST)
    return arrow(table.set_column(table.schema.get_field_index(name), name, values))


@pytest.mark.filterwarnings("ignore:Series.values")
@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_what_arrow_and_polars_write_is_read(chunk: int) -> None:
    assert read(polars(FRAME, OLDEST)).equals(FRAME)
    assert read(polars(FRAME, NEWEST)).equals(FRAME)
    assert read(arrow(FRAME.to_arrow(compat_level=OLDEST), chunk=chunk)).equals(FRAME)
    assert read(arrow(FRAME.to_arrow(compat_level=NEWEST), chunk=chunk)).equals(FRAME)
    coded = FRAME.with_columns(pl.col("sky").cast(pl.Categorical))
    for level in (OLDEST, NEWEST):
        assert read(polars(coded, level)).equals(FRAME)
        assert read(arrow(coded.to_arrow(compat_level=level), chunk=chunk)).equals(FRAME)
    assert read(arrow(pa.Table.from_pandas(FRAME.to_pandas(), preserve_index=False))).equals(FRAME)
    assert read(polars(FRAME[::-1].select(reversed(FRAME.columns)))).equals(FRAME[::-1])


texts = st.lists(st.none() | st.text(max_size=30), min_size=3, max_size=3)
numbers = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3)
whole = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3)


@given(sky=texts, temp=numbers, hour=whole)
def test_every_value_survives(sky: Any, temp: Any, hour: Any) -> None:
    changed = {"sky": sky, "temp": temp, "hour": hour}
    frame = FRAME.with_columns(
        pl.Series(name, values, dtype=FRAME.schema[name]) for name, values in changed.items()
    )
    for level in (OLDEST, NEWEST):
        assert read(polars(frame, level)).equals(frame)


@pytest.mark.parametrize(
    "kind",
    ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float"],
)
def test_numbers_of_every_width_are_read(kind: str) -> None:
    values = pa.array([1.0, 2.0, 3.0]).cast(kind)
    assert read(column(values))["temp"].to_list() == [1.0, 2.0, 3.0]
    assert read(column(values, "hour"))["hour"].to_list() == [1, 2, 3]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_every_unit_are_read(unit: str) -> None:
    naive = pa.array([NOON.replace(tzinfo=None)] * 3, pa.timestamp(unit))
    zoned = pa.array([NOON] * 3, pa.timestamp(unit, "Europe/Berlin"))
    for values in (naive, zoned):
        assert read(column(values, "due")).equals(FRAME)
    for kind in (pa.date32(), pa.date64()):
        days = pa.array([date(2026, 1, 2)] * 3, kind)
        assert read(column(days, "due"))["due"][0] == datetime(2026, 1, 2, tzinfo=UTC)


def test_large_and_empty_columns_are_read() -> None:
    assert read(column(pa.array(["a", "b", None], pa.large_string()), "sky"))["sky"][1] == "b"
    assert read(column(pa.nulls(3), "sky"))["sky"].to_list() == [None] * 3


def test_keys_and_times_come_in_columns_of_their_own() -> None:
    more = FRAME.with_columns(
        pl.Series("everfit.key", ["ann", None, "bob"]), pl.col("due").alias("everfit.time")
    )
    rows = decode_arrow(polars(more), TIMED, max_rows=9)
    assert rows.keys == ["ann", None, "bob"]
    assert rows.times is not None
    assert rows.times.to_list() == [NOON] * 3
    wrong = more.with_columns(pl.lit(7).alias("everfit.key"))
    with pytest.raises(RowsInvalid, match=r"keys\[0\]"):
        decode_arrow(polars(wrong), TIMED, max_rows=9)


@pytest.mark.parametrize(
    ("content", "paths"),
    [
        (column(pa.array([1.0, None, 2.0])), ["rows[1].temp"]),
        (column(pa.array([1.0, float("nan"), float("inf")])), ["rows[1].temp", "rows[2].temp"]),
        (column(pa.array(["1", "2", "3"])), ["temp"]),
        (column(pa.array([True] * 3)), ["temp"]),
        (column(pa.array([1.0, 2.5, 3.0]), "hour"), ["rows[1].hour"]),
        (column(pa.array([1, 2, 2**63], pa.uint64()), "hour"), ["rows[2].hour"]),
        (column(pa.array([1, 2, 3]), "sky"), ["sky"]),
        (column(pa.array([b"a", b"b", b"c"]), "sky"), ["sky"]),
        (column(pa.array([[1], [2], [3]])), ["temp"]),
        (column(pa.array([{"a": 1}] * 3)), ["temp"]),
        (column(pa.array([1, 0, 1]), "holiday"), ["holiday"]),
        (column(pa.array(["now", "2026-01-01", "x"]), "due"), ["rows[0].due", "rows[2].due"]),
        (
            column(pa.array([2**62] * 3, pa.timestamp("s")), "due"),
            [f"rows[{i}].due" for i in range(3)],
        ),
        (column(pa.array([1, 2, 3]).dictionary_encode(), "hour"), ["hour"]),
        (polars(FRAME.drop("temp", "sky")), ["temp", "sky"]),
        (polars(FRAME.with_columns(wind=1, rain=2)), ["rain", "wind"]),
        (polars(FRAME.clear()), []),
    ],
    ids=range(17),
)
def test_every_problem_names_column_and_row(content: bytes, paths: list[str]) -> None:
    with pytest.raises(RowsInvalid) as caught:
        read(content)
    assert [problem.path for problem in caught.value.problems] == paths


def test_too_many_rows_and_too_many_messages_are_refused() -> None:
    with pytest.raises(TooLarge, match="10 rows"):
        read(polars(pl.concat([FRAME] * 3 + [FRAME[:1]])))
    content = io.BytesIO()
    [batch] = FRAME.to_arrow(compat_level=OLDEST).to_batches()
    with pa.ipc.new_stream(content, batch.schema) as writer:
        for _ in range(20_001):
            writer.write_batch(batch[:0])
    with pytest.raises(Invalid, match="larger batches"):
        read(content.getvalue())


def test_a_text_that_many_rows_share_is_not_multiplied() -> None:
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 300), pa.array(["x" * 1_000_000]))
    table = pa.table({"sky": shared})
    only = replace(REGRESSION, inputs=(INPUTS[2],))
    with pytest.raises(TooLarge, match="300,000,000 bytes"):
        decode_arrow(arrow(table, chunk=300), only, max_rows=500)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_batches_are_refused(compression: str) -> None:
    with pytest.raises(Invalid, match="compressed"):
        read(polars(FRAME, OLDEST, compression))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ARROW1",
        b"{}" * 10,
        b"\xff" * 4 + b"\xff\xff\xff\x7f",
        b"\xff" * 4 + b"\0" * 4,
        polars(FRAME)[:-30],
        polars(FRAME)[300:],
    ],
    ids=range(7),
)
def test_what_is_no_stream_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid, match="no Arrow stream"):
        read(content)


SEEDS = [
    polars(FRAME, OLDEST),
    polars(FRAME.with_columns(pl.col("sky").cast(pl.Categorical)), NEWEST),
    arrow(FRAME.to_arrow(compat_level=NEWEST)),
]
LIES = [
    b"\xff" * 8,
    b"\xff" * 7 + b"\x7f",
    b"\xff\xff\xff\x7f",
    bytes(8),
    (2**40).to_bytes(8, "little"),
]


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_that_lies_is_refused_or_read_and_ends_nothing(seed: int) -> None:
    # Polars' own reader aborts the process on some of these.
    chance = random.Random(seed)
    refused = 0
    for _ in range(300):
        content = bytearray(chance.choice(SEEDS))
        for _ in range(chance.choice([1, 1, 2, 4])):
            at = chance.randrange(len(content))
            lie = chance.choice([*LIES, chance.randbytes(1)])
            content[at : at + len(lie)] = lie
        try:
            assert read(bytes(content)).columns == FRAME.columns
        except (Invalid, TooLarge):
            refused += 1
    assert refused


@pytest.fixture
def http(shop: Shop) -> Iterator[httpx.Client]:
    shop.release(shop.add(WarmIsBusy(), CLASSIFICATION))
    with (
        BackgroundServer(
            shop.workspace, [ENDPOINT], durable=False, bounds=Bounds(rows=2_000)
        ) as server,
        httpx.Client(base_url=server.url, timeout=10) as client,
    ):
        yield client


def test_a_stream_is_answered_by_a_stream(shop: Shop, http: httpx.Client) -> None:
    frame = pl.concat([FRAME.drop("due").with_columns(temp=pl.lit(0.75))] * 500)
    headers = {"content-type": ARROW, "accept": ARROW}
    answer = http.post(f"/predict/{ENDPOINT}", content=polars(frame), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == ARROW
    found = pl.read_ipc_stream(answer.content)
    assert found.columns == ["id", "prediction", "score", "version"]
    assert found.drop("id").unique().rows() == [(True, 0.75, 1)]
    assert found["id"].to_list() == shop.logged()["id"].to_list()
    with pa.ipc.open_stream(answer.content) as stream:
        assert stream.read_all().num_rows == 1_500


def test_each_side_may_speak_its_own_form(http: httpx.Client) -> None:
    stream = polars(FRAME[:1].drop("due"))
    by_stream = http.post(
        f"/predict/{ENDPOINT}", content=stream, headers={"content-type": ARROW}
    ).json()
    assert by_stream["predictions"][0]["prediction"] is False
    row = FRAME[:1].drop("due").to_dicts()
    answer = http.post(f"/predict/{ENDPOINT}", json=row, headers={"accept": f"{ARROW};q=1, */*"})
    assert pl.read_ipc_stream(answer.content)["prediction"].to_list() == [False]
    wrong = http.post(f"/predict/{ENDPOINT}", content=stream, headers={"content-type": "text/csv"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (415, "media-unknown")
    broken = http.post(f"/predict/{ENDPOINT}", content=stream[:99], headers={"content-type": ARROW})
    assert (broken.status_code, broken.json()["error"]["code"]) == (422, "invalid")
