"""Collecting: what is read is what the file says, and what cannot be read is said exactly."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everfit.data import Source, collect
from everfit.data.delimited import read_delimited
from everfit.errors import DataInvalid, SourceMissing


def read(content: str | bytes) -> pl.DataFrame:
    raw = content if isinstance(content, bytes) else content.encode()
    return read_delimited(raw, name="t.csv", max_columns=2000)


def refusal(content: str | bytes) -> DataInvalid:
    with pytest.raises(DataInvalid) as caught:
        read(content)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(separator: str) -> None:
    lines = ["a,b,c", "1,x,2.5", "2,y,3.5"]
    frame = read("\n".join(lines).replace(",", separator))
    assert frame.rows() == [(1, "x", 2.5), (2, "y", 3.5)]


def test_commas_inside_texts_do_not_hide_the_separator() -> None:
    assert read("name;price\nA, B;1,50\nC, D;2,25\n").rows() == [("A, B", 1.5), ("C, D", 2.25)]


def test_thousands_are_not_taken_for_decimals() -> None:
    assert read("a;b\nx;1,234\ny;2,500\n").rows() == [("x", "1,234"), ("y", "2,500")]


def test_every_spelling_of_missing_is_null() -> None:
    frame = read("a,b\n1, ?\n,x\nNA,y\nNaN,null\n")
    assert frame["a"].to_list() == [1, None, None, None]
    assert frame["b"].to_list() == [None, "x", "y", None]


def test_one_late_text_decides_the_type_of_its_column() -> None:
    rows = "".join(f"{i}\n" for i in range(5000))
    assert read(f"a\n{rows}x1\n").schema == {"a": pl.String}
    assert read(f"a\n{rows}0.5\n").schema == {"a": pl.Float64}


@pytest.mark.parametrize("code", ["00501", "12345678901234567890"])
def test_codes_keep_every_digit(code: str) -> None:
    assert read(f"zip,n\n{code},1\n10001,2\n")["zip"].to_list() == [code, "10001"]


def test_true_and_false_are_booleans_and_yes_is_a_text() -> None:
    assert read("a,b\nTrue,yes\nfalse,no\n").schema == {"a": pl.Boolean, "b": pl.String}


@pytest.mark.parametrize(
    "content",
    [
        '\ufeffa,b\r\n1,"x, y"\r\n2,"say ""z"""\r\n\r\n',
        '\ufeffa,b\n1,"x, y"\n\n2,"say ""z"""\n',
    ],
    ids=["windows", "blank line inside"],
)
def test_quotes_byte_order_marks_and_blank_lines(content: str) -> None:
    assert read(content).rows() == [(1, "x, y"), (2, 'say "z"')]


def test_a_quotation_mark_inside_a_text_is_a_character() -> None:
    assert read('a,b\n1,5" pipe\n2,x\n').rows() == [(1, '5" pipe'), (2, "x")]


def test_line_breaks_inside_quotes_belong_to_the_text() -> None:
    assert read('a,b\n"x\ny",1\nz,2\n').rows() == [("x\ny", 1), ("z", 2)]


def test_ragged_rows_are_all_named_with_line_and_counts() -> None:
    error = refusal('a,b,c\n1,2,3\n1,2\n"x\ny",2,3\n1,2,3,4\n')
    assert [(p.path, p.found) for p in error.problems] == [
        ("line 3", "2 fields"),
        ("line 6", "4 fields"),
    ]
    assert "the header has 3" in str(error)


def test_only_the_first_ten_ragged_rows_are_named() -> None:
    assert len(refusal("a,b\n" + "1\n" * 50).problems) == 10


def test_short_rows_among_quoted_ones_are_found() -> None:
    assert [p.path for p in refusal('a,b\n"1,2",3\n4\n').problems] == ["line 3"]


def test_a_quote_that_is_never_closed_is_refused() -> None:
    refusal('a,b\n1,"2\n3,4\n')


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,2\n3,caf\xe9\n", "offset 13, line 3"),
        (b"a,b\xe9\n1,2\n", "offset 3, line 1"),
        ("a,b\n1,2\n".encode("utf-16"), "not text"),
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"a,b\n", "no rows"),
        (b"1,2\n3,4\n", "looks like data"),
        (b"M,0.455\nF,0.35\n", "looks like data"),
        (b"a,,b\n1,2,3\n", "column 2: found no name"),
        (b"a,b,a\n1,2,3\n", "column 'a': found 2 columns"),
    ],
)
def test_what_is_no_table_is_refused_with_the_place(content: bytes, said: str) -> None:
    assert said in str(refusal(content))


def test_ten_thousand_columns_are_refused_before_they_are_read(tmp_path: Path) -> None:
    header = ",".join(f"c{i}" for i in range(10_000))
    row = ",".join("1" for _ in range(10_000))
    (tmp_path / "wide.csv").write_text("\n".join([header, *[row] * 200]))
    start = time.process_time()
    with pytest.raises(DataInvalid, match="10,000 columns; the most allowed is 2,000"):
        collect(Source(location="wide.csv"), base=tmp_path)
    assert time.process_time() - start < 1


def test_a_missing_file_names_what_is_near(tmp_path: Path) -> None:
    (tmp_path / "hours.csv").write_text("a\n1\n")
    with pytest.raises(SourceMissing) as caught:
        collect(Source(location="hour.csv"), base=tmp_path)
    assert "hours.csv" in caught.value.hint
    with pytest.raises(SourceMissing) as caught:
        collect(Source(location="zzz"), base=tmp_path)
    assert "hours.csv" in caught.value.hint
    with pytest.raises(SourceMissing, match="is a folder"):
        collect(Source(location="."), base=tmp_path)
    with pytest.raises(SourceMissing):
        collect(Source(location="no/where.csv"), base=tmp_path)


def test_parquet_is_known_by_its_content(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1.0, float("nan")], "b": [" x", "?"]})
    frame.write_parquet(tmp_path / "table[1].data")
    read_back = collect(Source(location="table[1].data"), base=tmp_path)
    assert read_back.rows() == [(1.0, "x"), (None, None)]


def test_parquet_is_refused_when_cut_off_empty_or_too_wide(tmp_path: Path) -> None:
    frame = pl.DataFrame({f"c{i}": [1] for i in range(20)})
    frame.write_parquet(tmp_path / "good.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:200])
    frame.clear().write_parquet(tmp_path / "empty.parquet")
    for name in ("cut.parquet", "empty.parquet"):
        with pytest.raises(DataInvalid, match=name):
            collect(Source(location=name), base=tmp_path)
    with pytest.raises(DataInvalid, match="20 columns"):
        collect(Source(location="good.parquet"), base=tmp_path, max_columns=10)


def test_files_of_other_kinds_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04rest")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a\n1\n"))
    with pytest.raises(DataInvalid, match="Excel"):
        collect(Source(location="t.xlsx"), base=tmp_path)
    with pytest.raises(DataInvalid, match="gzip"):
        collect(Source(location="t.csv.gz"), base=tmp_path)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
def test_what_polars_writes_is_read_as_it_was(rows: list[tuple[str, str]]) -> None:
    # A letter in front keeps the texts from being numbers or missing.
    written = [(f"x{a}x", f"y{b}y") for a, b in rows]
    frame = pl.DataFrame(written, schema=["a", "b"], orient="row")
    assert read(frame.write_csv()).equals(frame)
