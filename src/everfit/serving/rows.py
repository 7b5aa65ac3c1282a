"""The rows form: ``{"rows": [{"temp": 0.3}, …], "keys": […], "times": […]}`` and its answer.

One row alone, or a bare list of rows, is taken as well. Decoding is by the model's signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import polars as pl

from everfit.packages import Field, Kind, Signature
from everfit.serving.columns import (
    DTYPES,
    Problems,
    as_json,
    check_count,
    column,
    describe,
    keys_and_times,
)
from everfit.serving.model import Answers, Rows
from everfit.serving.plain import Plain

TYPES: dict[Kind, Any] = {
    Kind.NUMBER: float,
    Kind.INTEGER: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    Kind.TEXT: str,
    Kind.BOOLEAN: bool,
}


class RowsDecoder:
    """Decodes requests for one signature."""

    def __init__(self, signature: Signature, *, max_rows: int) -> None:
        self._fields = signature.inputs
        self._schema = {field.name: DTYPES[field.kind] for field in signature.inputs}
        self._max_rows = max_rows
        self._quick = _quick_decoder(signature)

    def decode(self, body: bytes) -> Rows:
        """Return the rows of a request.

        Raises
        ------
        Invalid
            If the body is no JSON.
        RowsInvalid
            Naming every column, row and value that does not fit the signature.
        TooLarge
            If there are more rows than one request may have.
        """
        rows = self.read(body)
        if isinstance(rows, Rows):
            return rows
        return Rows(frame=rows.frame, keys=rows.keys, times=rows.times)

    def read(self, body: bytes) -> Rows | Plain:
        """Return the rows of a request, not made into a frame where they need no closer look.

        Raises as ``decode`` does.
        """
        return self._plain(body) or self._from_json(as_json(body))

    def _plain(self, body: bytes) -> Plain | None:
        if self._quick is None:
            return None
        try:
            request = self._quick.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # It stops at the first thing it does not like; `_from_json` names them all.
            return None
        check_count(len(request.rows), self._max_rows)
        values = [msgspec.structs.astuple(row) for row in request.rows]
        if request.keys is None and request.times is None:
            return Plain(self._fields, values)
        problems = Problems()
        keys, times = keys_and_times(request.keys, request.times, len(values), problems)
        problems.raise_any()
        return Plain(self._fields, values, keys, times)

    def _from_json(self, given: Any) -> Rows:
        problems = Problems()
        envelope = given if isinstance(given, Mapping) and "rows" in given else {"rows": given}
        for name in sorted(envelope.keys() - {"rows", "keys", "times"}):
            problems.add(name, "an unknown name", "use rows, keys and times")
        rows = envelope["rows"]
        rows = [rows] if isinstance(rows, Mapping) else rows
        if not isinstance(rows, list):
            problems.add("rows", describe(rows), "write a list of rows, each an object")
            problems.raise_any()
        check_count(len(rows), self._max_rows)
        rows = [self._checked(row, f"rows[{i}]", problems) for i, row in enumerate(rows)]
        series = [_column(rows, field, problems) for field in self._fields]
        keys, times = keys_and_times(
            envelope.get("keys"), envelope.get("times"), len(rows), problems
        )
        problems.raise_any()
        return Rows(frame=pl.DataFrame(series), keys=keys, times=times)

    def _checked(self, row: Any, path: str, problems: Problems) -> Mapping[str, Any]:
        if not isinstance(row, Mapping):
            problems.add(path, describe(row), "write an object with a value for each input")
            return {}
        for field in (field for field in self._fields if field.name not in row):
            remedy = "give every input, null where it is unknown"
            remedy = remedy if field.nullable else "give every input; this one is never null"
            problems.add(f"{path}.{field.name}", "nothing", remedy)
        for name in sorted(row.keys() - self._schema.keys()):
            problems.add(f"{path}.{name}", "an unknown input", f"use {', '.join(self._schema)}")
        return row


def _column(rows: list[Mapping[str, Any]], field: Field, problems: Problems) -> pl.Series:
    # A row without the value has been noted already: look at those that have it.
    there = [i for i, row in enumerate(rows) if field.name in row]
    values = [rows[i][field.name] for i in there]
    return column(field, values, problems, lambda at: f"rows[{there[at]}].{field.name}")


def _quick_decoder(signature: Signature) -> msgspec.json.Decoder[Any] | None:
    """Return a decoder compiled for the signature, or None where a kind or name does not allow."""
    strict = all(field.kind in TYPES for field in signature.inputs)
    # What msgspec takes for the name of a member.
    plain = all(not set('"\\') & set(name) and name.isprintable() for name in signature.names)
    if not (strict and plain):
        return None
    row = msgspec.defstruct(
        "Row",
        [
            (
                f"f{i}",
                TYPES[field.kind] | None if field.nullable else TYPES[field.kind],
                msgspec.field(name=field.name),
            )
            for i, field in enumerate(signature.inputs)
        ],
        forbid_unknown_fields=True,
        gc=False,
    )
    request = msgspec.defstruct(
        "Request",
        [("rows", list[row]), ("keys", Any, None), ("times", Any, None)],  # type: ignore[valid-type]
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(request)


def encode_rows(model: str, answers: Answers) -> bytes:
    """Return the answers as JSON, one object per row, in which its reasons stand as well."""
    scores: Sequence[float | None] = answers.scores or [None] * len(answers.ids)
    rows = zip(answers.ids, answers.predictions, scores, answers.versions, strict=True)
    predictions = [
        {"id": number, "prediction": prediction, "score": score, "version": version}
        for number, prediction, score, version in rows
    ]
    if answers.reasons:
        pairs = zip(predictions, answers.reasons, strict=True)
        predictions = [{**said, **reasons} for said, reasons in pairs]
    return msgspec.json.encode({"model": model, "predictions": predictions})
