"""The bulk form: rows as an Arrow IPC stream, and answers as one."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from everfit.kernel.flatbuffer import malformed
from everfit.packages import Signature, label_text
from everfit.serving.arrow_columns import READ, TEXTS, Raw, Reader, Texts
from everfit.serving.arrow_stream import Batch, Column, read_stream
from everfit.serving.columns import Problems, check_count, keys_and_times
from everfit.serving.model import Answers, Rows
from everfit.serving.plain import Plain, Values
from everfit.serving.typed import typed

KEY, TIME = "everfit.key", "everfit.time"


def decode_arrow(body: bytes, signature: Signature, *, max_rows: int) -> Rows | Plain:
    """Return the rows of a stream; columns `everfit.key` and `everfit.time` are keys and times.

    Numbers may be of any width, texts may be dictionaries, times of any unit.

    Raises
    ------
    Invalid
        If the body is no Arrow stream.
    RowsInvalid
        Naming every column, row and value that does not fit the signature.
    TooLarge
        If there are more rows than one request may have.
    """
    problems = Problems()
    schema, batches = read_stream(body)
    _check_schema(schema, signature, problems)
    problems.raise_any()
    given = _Collected(schema)
    for batch in batches:
        given.add(batch, problems, max_rows)
    check_count(given.rows, max_rows)
    keys, times = given.listed(KEY), given.listed(TIME)
    said = [time.isoformat() if hasattr(time, "isoformat") else time for time in times or ()]
    found = keys_and_times(keys, said if times is not None else None, given.rows, problems)
    cells = given.cells(signature)
    if cells is not None:
        problems.raise_any()
        return Plain.of_columns(signature.inputs, cells, *found)
    series = [
        typed(one, given.column(one.name), problems, _place(one.name), one.name)
        for one in signature.inputs
    ]
    problems.raise_any()
    return Rows(frame=pl.DataFrame(series), keys=found[0], times=found[1])


def encode_arrow(answers: Answers) -> bytes:
    """Return the answers as a stream of id, prediction, score and version."""
    kinds = set(map(type, answers.predictions))
    mixed = len(kinds) > 1
    said = [label_text(one) for one in answers.predictions] if mixed else answers.predictions
    frame = pl.DataFrame(
        [
            pl.Series("id", answers.ids, dtype=pl.String),
            pl.Series("prediction", said),
            pl.Series("score", answers.scores or [None] * len(answers.ids), dtype=pl.Float64),
            pl.Series("version", answers.versions, dtype=pl.Int64),
        ]
    )
    content = io.BytesIO()
    # Texts in the form that every reader knows.
    frame.write_ipc_stream(content, compat_level=pl.CompatLevel.oldest())
    return content.getvalue()


def _place(name: str) -> Callable[[int], str]:
    return lambda row: f"rows[{row}].{name}"


def _check_schema(schema: Sequence[Column], signature: Signature, problems: Problems) -> None:
    given = Counter(column.name for column in schema)
    known = {*signature.names, KEY, TIME}
    for name in (name for name in signature.names if name not in given):
        problems.add(name, "no such column", "send every input, null where it is unknown")
    for name, count in sorted(given.items()):
        if name not in known:
            problems.add(name or "''", "an unknown column", f"use {', '.join(signature.names)}")
        elif count > 1:
            problems.add(name, f"{count} columns of that name", "send every column once")
    for column in (column for column in schema if column.name in known):
        readable = column.kind in (READ if column.dictionary is None else TEXTS)
        if not readable:
            found = f"a column of {column.label}"
            problems.add(column.name, found, "send numbers, texts, booleans or times")


@dataclass(slots=True)
class _Collected:
    """The columns of the batches so far."""

    schema: Sequence[Column]
    rows: int = 0
    parts: list[dict[str, Raw]] = field(default_factory=list)
    dictionaries: dict[int, Texts] = field(default_factory=dict)

    def add(self, batch: Batch, problems: Problems, max_rows: int) -> None:
        """Take one more batch."""
        if batch.dictionary is not None:
            self._learn(batch, batch.dictionary, problems)
            return
        if not batch.rows:
            return
        rows = self.rows + batch.rows
        check_count(rows, max_rows)
        reader = Reader(batch, self.dictionaries, problems, self.rows)
        self.parts.append({column.name: reader.column(column) for column in self.schema})
        self.rows = rows

    def column(self, name: str) -> pl.Series:
        """Return a column, whole."""
        return pl.concat([part[name].series(name) for part in self.parts])

    def listed(self, name: str) -> list[Any] | None:
        """Return the values of a column, or None if it was not sent."""
        return self.column(name).to_list() if name in self.parts[0] else None

    def cells(self, signature: Signature) -> list[Values] | None:
        """Return the inputs as `Plain` has them; None where one does not fit as it is."""
        if len(self.parts) > 1:
            return None
        made = (self.parts[0][one.name].cells(one) for one in signature.inputs)
        found = [cells for cells in made if cells is not None]
        return found if len(found) == len(signature.inputs) else None

    def _learn(self, batch: Batch, number: int, problems: Problems) -> None:
        """Keep the values of a dictionary, or those that are added to it."""
        column = next((one for one in self.schema if one.dictionary == number), None)
        if column is None:
            raise malformed(f"no column has the dictionary {number}")
        made = Reader(batch, {}, problems, 0).texts(column)
        known = self.dictionaries.get(number)
        if batch.delta and known is not None:
            sizes = np.concatenate([known.sizes, made.sizes])
            made = Texts(values=known.values + made.values, sizes=sizes)
        self.dictionaries[number] = made
