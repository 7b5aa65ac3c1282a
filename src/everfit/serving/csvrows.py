"""Rows in CSV: a line of names, then one line for each row, all of it text until looked at."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import Any

from everfit.errors import Invalid
from everfit.packages import Field, Kind, Signature
from everfit.serving.columns import Problems, check_count

# What pandas, by which MLflow reads CSV, takes for a missing value.
MISSING = frozenset(
    [
        *(
            "",
            "#N/A",
            "#N/A N/A",
            "#NA",
            "-1.#IND",
            "-1.#QNAN",
            "-NaN",
            "-nan",
            "1.#IND",
            "1.#QNAN",
        ),
        *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    ]
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
TRUTHS = {"true": True, "false": False}
HINT = "Send UTF-8 with a first line of names, as pandas' `to_csv(index=False)` writes it."


def read_csv(
    body: bytes, signature: Signature, problems: Problems, *, max_rows: int
) -> dict[str, list[Any]]:
    """Return the columns by name; lines of another length than the first are noted as problems.

    Raises
    ------
    Invalid
        If the body is no CSV in UTF-8, or has no line of names.
    TooLarge
        If there are more than ``max_rows`` rows.
    """
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        names = next(lines, [])
        rows: list[list[str]] = []
        for line in lines:
            if not line:
                continue
            if len(line) != len(names):
                path = f"rows[{len(rows)}]"
                problems.add(path, f"{len(line)} values", f"write {len(names)}, one for each name")
            rows.append(line)
            check_count(len(rows), max_rows)
    except (csv.Error, UnicodeDecodeError) as error:
        raise Invalid(f"the body is no CSV: {error}", hint=HINT) from error
    if not names:
        raise Invalid("the CSV has no line of names", hint=HINT)
    for name in (name for name, count in Counter(names).items() if count > 1):
        problems.add(f"names.{name}", "the name again", "give every column once")
    # A line that is too short or too long ends the request: nothing is read from its columns.
    problems.raise_any()
    fields = {field.name: field for field in signature.inputs}
    columns = zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True)
    return {name: _values(texts, fields.get(name)) for name, texts in columns}


def _values(texts: tuple[str, ...], field: Field | None) -> list[Any]:
    """Return the texts as JSON would have the values; a text that is none stays one."""
    if field is None:
        return list(texts)
    missing = MISSING - set(field.categories)
    return [None if text in missing else _value(text, field.kind) for text in texts]


def _value(text: str, kind: Kind) -> Any:
    word = text.strip()
    if kind is Kind.BOOLEAN:
        return TRUTHS.get(word.lower(), text)
    if kind in (Kind.NUMBER, Kind.INTEGER) and NUMBER.fullmatch(word):
        # Through a float only what is written as one: it holds no more than 53 bits.
        whole = kind is Kind.INTEGER and word.lstrip("+-").isdigit() and len(word) < 25
        return int(word) if whole else float(word)
    return text
