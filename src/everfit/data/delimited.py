"""Delimited text (CSV): separator found, every row checked, every value read before a type."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import polars as pl

from everfit.data.clean import clean
from everfit.errors import DataInvalid, Problem

SEPARATORS = (",", ";", "\t", "|")
SHOWN = 10
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# A code, not a number: reading it as one would lose the zero or the last digits.
CODE = r"^[+-]?(0\d+|\d{19,})"
DECIMAL_COMMA = r"^[+-]?\d+(,\d+)?$"
THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})*$"


def read_delimited(content: bytes, *, name: str, max_columns: int) -> pl.DataFrame:
    """Return the table in ``content``, whose first line names the columns.

    A column is of whole numbers, decimals or true/false only if every one of its values is;
    numbers with leading zeros are codes and stay texts. Blank lines are left out.

    Raises
    ------
    DataInvalid
        If it is not UTF-8, has no header, no row, too many columns or rows of unequal length.
    """
    content = content.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
    if not content.strip():
        raise DataInvalid(f"{name} is empty", hint="Export the table again, with a header line.")
    separator = find_separator(_beginning(content, name))
    names = _header(content, separator, name=name, max_columns=max_columns)
    frame = _texts(content, names, separator, name=name)
    if frame.height == 0:
        raise DataInvalid(
            f"{name} has a header and no rows", hint="Export the table again, with its rows."
        )
    comma_is_decimal = separator != ","
    return frame.select(typed(frame[column], comma_is_decimal) for column in names)


def find_separator(beginning: str) -> str:
    r"""Return the separator that splits the header, and the rows after it, into most fields.

    Examples
    --------
    >>> find_separator("day;price\n1;2,50\n")
    ';'
    """

    def evidence(separator: str) -> tuple[int, int]:
        lines: list[list[str]] = []
        # A field that is too long for the reader ends the evidence, not the reading.
        with contextlib.suppress(csv.Error):
            lines.extend(islice(csv.reader(io.StringIO(beginning), delimiter=separator), 20))
        fields = len(lines[0]) if lines else 0
        return (fields if fields > 1 else 0, sum(len(line) == fields for line in lines))

    return max(SEPARATORS, key=evidence)


def typed(texts: pl.Series, comma_is_decimal: bool = False) -> pl.Series:
    """Return texts, cleaned, as the narrowest type that holds all of them.

    Examples
    --------
    >>> typed(pl.Series([" 1", "2", "?"])).to_list(), typed(pl.Series(["01", "2"])).to_list()
    ([1, 2, None], ['01', '2'])
    """
    # Most columns are of numbers as they stand: cleaning all their texts would take longest.
    number = _as_number(texts)
    if number is not None:
        return number
    texts = clean(texts.to_frame()).to_series()
    if texts.null_count() == len(texts):
        return texts
    number = _as_number(texts)
    if number is not None:
        return number
    if comma_is_decimal and _all(texts, DECIMAL_COMMA) and not _all(texts, THOUSANDS):
        return texts.str.replace(",", ".", literal=True).cast(pl.Float64)
    lower = texts.str.to_lowercase()
    if lower.is_in(["true", "false"]).fill_null(value=True).all():
        return lower == "true"
    return texts


def _as_number(texts: pl.Series) -> pl.Series | None:
    """Return the texts as numbers if all that are none stand for a missing value."""
    for kind in (pl.Int64, pl.Float64):
        numbers = texts.cast(kind, strict=False)
        if numbers.null_count() == len(texts):
            continue
        others = texts.filter(numbers.is_null() & texts.is_not_null())
        # The first few settle it for a column of texts.
        if all(_all_missing(part) for part in (others.head(SHOWN), others)):
            is_code = texts.str.contains(CODE).any()
            return None if is_code else clean(numbers.to_frame()).to_series()
    return None


def _all_missing(texts: pl.Series) -> bool:
    return clean(texts.to_frame()).to_series().null_count() == len(texts)


def _all(texts: pl.Series, pattern: str) -> bool:
    return bool(texts.str.contains(pattern).fill_null(value=True).all())


def _beginning(content: bytes, name: str) -> str:
    """Return the first lines as text; the cut may fall inside a character, which is left out."""
    cut = content[: 1 << 20]
    if b"\x00" in cut:
        raise DataInvalid(
            f"{name} is not text: byte {cut.index(0)} is zero",
            hint="Export the table as CSV in UTF-8 (not UTF-16), or as Parquet.",
        )
    return cut.decode("utf-8", errors="replace")


def _header(content: bytes, separator: str, *, name: str, max_columns: int) -> list[str]:
    beginning = io.StringIO(_beginning(content, name), newline="")
    names = [cell.strip() for cell in next(csv.reader(beginning, delimiter=separator))]
    refuse_columns(names, name=name, max_columns=max_columns)
    if any("\ufffd" in cell for cell in names):
        _decoded(content, name)
    if NUMBER.fullmatch(names[0]) or any("." in cell and NUMBER.fullmatch(cell) for cell in names):
        raise DataInvalid(
            f"the first line of {name} looks like data, not like column names: {names[:5]}",
            hint="Write a first line that names the columns.",
        )
    return names


def refuse_columns(names: Sequence[str], *, name: str, max_columns: int) -> None:
    """Raise DataInvalid if there are too many columns, or some without a name of their own."""
    if len(names) > max_columns:
        raise DataInvalid(
            f"{name} has {len(names):,} columns; the most allowed is {max_columns:,}",
            hint="Select the columns that matter, or raise `max_columns` in settings.toml.",
        )
    problems = [
        Problem(path=f"column {number}", found="no name", remedy="name it in the header")
        for number, cell in enumerate(names, start=1)
        if not cell
    ]
    problems += [
        Problem(path=f"column {cell!r}", found=f"{times} columns of that name", remedy="rename")
        for cell, times in Counter(names).items()
        if times > 1 and cell
    ]
    if problems:
        raise DataInvalid.of(
            f"the header of {name}",
            problems[:SHOWN],
            hint="The first line must give every column a name of its own.",
        )


def _texts(content: bytes, names: list[str], separator: str, *, name: str) -> pl.DataFrame:
    try:
        frame = pl.read_csv(content, separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError:
        return _row_by_row(content, names, separator, name=name)
    # Polars refuses rows that are too long and fills up those that are too short. So the rows
    # are all of the right length exactly if there are as many separators as they need.
    found = content.count(separator.encode()) - _quoted(frame, content, names, separator)
    if frame.width != len(names) or found != (frame.height + 1) * (len(names) - 1):
        return _row_by_row(content, names, separator, name=name)
    frame.columns = names
    return frame


def _quoted(frame: pl.DataFrame, content: bytes, names: list[str], separator: str) -> int:
    """Return how many separators stand inside quotes."""
    if b'"' not in content:
        return 0
    inside = frame.select(pl.all().str.count_matches(separator, literal=True).sum()).row(0)
    return sum(count or 0 for count in inside) + sum(cell.count(separator) for cell in names)


def _row_by_row(content: bytes, names: list[str], separator: str, *, name: str) -> pl.DataFrame:
    """Read slowly and exactly: finds what is wrong, or takes what the fast reader did not."""
    text = _decoded(content, name)
    rows: list[list[str]] = []
    ragged: list[Problem] = []
    try:
        for line, fields in _numbered(text, separator):
            if len(fields) == len(names):
                rows.append(fields)
            elif len(ragged) < SHOWN:
                found = f"{len(fields)} fields"
                remedy = f"the header has {len(names)}"
                ragged.append(Problem(path=f"line {line}", found=found, remedy=remedy))
    except csv.Error as error:
        raise DataInvalid(
            f"{name} cannot be read as CSV: {error}",
            hint='Look for a quotation mark (") that is opened and never closed.',
        ) from error
    if ragged:
        raise DataInvalid.of(
            name,
            ragged,
            hint=f"Give every line {len(names)} fields (found separator: {separator!r}); "
            "quote texts that hold it.",
        )
    columns = zip(*rows[1:], strict=True) if len(rows) > 1 else iter([()] * len(names))
    return pl.DataFrame(
        [pl.Series(n, values, dtype=pl.String) for n, values in zip(names, columns, strict=True)]
    )


def _numbered(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    for fields in reader:
        if fields:
            yield line, fields
        line = reader.line_num + 1


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataInvalid(
            f"{name} is not UTF-8: byte {content[error.start]:#04x} at offset {error.start:,}, "
            f"line {line:,}",
            hint="Save it as UTF-8 (in a spreadsheet: 'CSV UTF-8'), or convert it with "
            f"`iconv -f WINDOWS-1252 -t UTF-8 {name}`.",
        ) from error
