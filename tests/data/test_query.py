"""Collecting from databases."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from everfit.data import Source, collect
from everfit.errors import DataInvalid, SourceMissing


@pytest.fixture
def base(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE rides (day TEXT, n INTEGER, price REAL, mixed)")
        rows = [("2011-01-01", 1, 2.5, 1), ("2011-01-02 10:00", None, 3.0, "x"), ("?", 3, 1, None)]
        connection.executemany("INSERT INTO rides VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return tmp_path


def test_a_table_and_a_query_give_rows(base: Path) -> None:
    table = collect(Source(location="sqlite:///shop.db#rides"), base=base)
    assert table["n"].to_list() == [1, None, 3]
    assert table["day"].to_list() == ["2011-01-01", "2011-01-02 10:00", None]
    assert table.schema["price"] == pl.Float64
    # SQLite lets types mix in one column: nothing is lost, it becomes a column of texts.
    assert table["mixed"].to_list() == ["1", "x", None]
    query = "SELECT n, '10:00' AS at FROM rides WHERE day LIKE '2011%'"
    some = collect(Source(location="sqlite:///shop.db", query=query), base=base)
    assert some.rows() == [(1, "10:00"), (None, "10:00")]


def test_reading_never_writes(base: Path) -> None:
    query = "DELETE FROM rides RETURNING n"
    collect(Source(location="sqlite:///shop.db", query=query), base=base)
    assert collect(Source(location="sqlite:///shop.db#rides"), base=base).height == 3


@pytest.mark.parametrize(
    ("location", "query", "error", "said"),
    [
        ("sqlite:///shop.db#ride", None, SourceMissing, "rides"),
        ("sqlite:///shpo.db#rides", None, SourceMissing, "shpo.db"),
        ("sqlite:///shop.db", None, DataInvalid, "URL#table"),
        ("sqlite:///shop.db", "SELECT nothing FROM rides", DataInvalid, "nothing"),
        ("sqlite:///shop.db", "SELECT n FROM rides WHERE 0", DataInvalid, "no rows"),
        ("sqlite:///shop.db", "SELECT n, n FROM rides", DataInvalid, "2 columns of that name"),
        ("sqlite:///shop.db", "DELETE FROM rides", DataInvalid, "must return rows"),
        ("nosuch://db#t", None, SourceMissing, "nosuch"),
        ("postgresql://u:secret@localhost:1/db#t", None, SourceMissing, "u:***@localhost"),
    ],
)
def test_what_cannot_be_read_is_said(
    base: Path, location: str, query: str | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        collect(Source(location=location, query=query), base=base)
    shown = f"{caught.value} {getattr(caught.value, 'hint', '')}"
    assert said in shown
    assert "secret" not in shown


def test_a_query_for_a_file_is_refused(base: Path) -> None:
    with pytest.raises(DataInvalid, match="query"):
        collect(Source(location="shop.db", query="SELECT 1"), base=base)


def test_postgres_types_arrive(postgres_url: str, tmp_path: Path) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE sales (at timestamptz, price numeric(8,2), ok boolean)"
        )
        connection.exec_driver_sql("INSERT INTO sales VALUES ('2011-01-01T10:00Z', 1.50, true)")
    engine.dispose()
    frame = collect(Source(location=f"{postgres_url}#public.sales"), base=tmp_path)
    assert frame["at"].item() == datetime(2011, 1, 1, 10, tzinfo=UTC)
    assert frame.select("price", "ok").rows() == [(1.5, True)]
    query = "SELECT price::int AS n, '50%' AS share FROM sales"
    frame = collect(Source(location=postgres_url, query=query), base=tmp_path)
    assert frame.rows() == [(2, "50%")]
