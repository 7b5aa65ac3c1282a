"""MLflow's scoring protocol: rows as ``POST /invocations`` takes them, and predictions alone.

The forms are MLflow's ``dataframe_split``, ``dataframe_records``, ``instances`` and ``inputs`` in
JSON, and CSV with a line of names: https://mlflow.org/docs/latest/ml/deployment/
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from everfit.errors import Invalid, MediaUnknown
from everfit.packages import Signature
from everfit.serving.columns import Problems, as_json, check_count, column, describe, keys_and_times
from everfit.serving.csvrows import read_csv
from everfit.serving.media import CSV, JSON, Media
from everfit.serving.model import Answers, Rows

VERSION = "3.17.2"
"""The release of MLflow whose scoring server is answered like."""
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
HINT = f"Write an object with exactly one of {', '.join(FORMS)}."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """Values of one column, and where each of them stands in the request."""

    values: Sequence[Any]
    place: Callable[[int], str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """What a request gives: so many rows, and columns by name."""

    count: int
    columns: Mapping[str, Given] = field(default_factory=dict)


def decode_invocation(body: bytes, media: Media, signature: Signature, *, max_rows: int) -> Rows:
    """Return the rows of a request; ``params`` may hold their keys and times.

    A NaN is a missing value: MLflow's own client writes one for it.

    Raises
    ------
    MediaUnknown
        If the body is neither JSON nor CSV in UTF-8.
    Invalid
        If the body is not what its type says, or of none of MLflow's forms.
    RowsInvalid
        Naming every column, row and value that does not fit the signature.
    TooLarge
        If there are more rows than one request may have.
    """
    media.need(JSON, CSV)
    _check_parameters(media)
    problems = Problems()
    params: Any = None
    if media.name == CSV:
        columns = read_csv(body, signature, problems, max_rows=max_rows)
        table = _lines(columns)
    else:
        form, given, params = _envelope(body)
        table = _READERS[form](given, form, signature, problems)
    if not problems.found or table.count:
        check_count(table.count, max_rows)
    return _typed_rows(table, params, signature, problems)


def _lines(columns: Mapping[str, list[Any]]) -> Table:
    """Return columns of equal length as a table."""
    count = len(next(iter(columns.values())))
    there = range(count)
    given = {
        name: Given(values=values, place=_in_records("rows", name, there))
        for name, values in columns.items()
    }
    return Table(count=count, columns=given)


def encode_predictions(answers: Answers) -> bytes:
    """Return the answers as MLflow writes them."""
    return msgspec.json.encode({"predictions": answers.predictions})


def _check_parameters(media: Media) -> None:
    unknown = media.parameters.keys() - {"charset"}
    if unknown or media.parameters.get("charset", "utf-8").lower() != "utf-8":
        raise MediaUnknown(
            f"{media.text[:100]!r} has parameters that are not known here",
            hint="Send UTF-8, and no parameter but charset.",
        )


def _envelope(body: bytes) -> tuple[str, Any, Any]:
    """Return the name of the form, what it holds, and ``params``."""
    given = _json(body)
    if not isinstance(given, Mapping):
        raise Invalid(f"the body is {describe(given)}", hint=HINT)
    forms = [form for form in FORMS if form in given]
    if len(forms) != 1:
        found = ", ".join(describe(name) for name in forms or list(given)[:10])
        raise Invalid(f"the body has {found or 'nothing'}", hint=HINT)
    return forms[0], given[forms[0]], given.get("params")


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        # Python's own reader takes the NaN and Infinity that Python's own writer writes.
        return json.loads(body.decode(), parse_constant=_constant)
    except (ValueError, RecursionError):
        return as_json(body)


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name)


def _split(given: Any, form: str, _signature: Signature, problems: Problems) -> Table:
    """Read ``{"columns": […], "data": [[…], …]}``; an index says nothing here."""
    parts = given if isinstance(given, Mapping) else {}
    for name in sorted(parts.keys() - {"columns", "data", "index"}):
        problems.add(f"{form}.{name}", "an unknown name", "use columns, data and index")
    names, rows = parts.get("columns"), parts.get("data")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        problems.add(f"{form}.columns", describe(names), "write a list of the columns' names")
        return Table(count=0)
    if not isinstance(rows, list):
        problems.add(f"{form}.data", describe(rows), "write a list of rows, each a list of values")
        return Table(count=0)
    return _matrix(rows, names, f"{form}.data", problems)


def _records(rows: list[Any], form: str, signature: Signature, problems: Problems) -> Table:
    """Read ``[{"temp": 0.3}, …]``."""
    wanted = set(signature.names)
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            problems.add(f"{form}[{i}]", describe(row), "write an object, a value for each input")
        elif row.keys() != wanted:
            for name in (name for name in signature.names if name not in row):
                remedy = "give every input, null where it is unknown"
                problems.add(f"{form}[{i}].{name}", "nothing", remedy)
            for name in sorted(row.keys() - wanted):
                remedy = f"use {', '.join(signature.names)}"
                problems.add(f"{form}[{i}].{name}", "an unknown input", remedy)
    columns: dict[str, Given] = {}
    for name in signature.names:
        # A row without the value has been noted already: look at those that have it.
        there = [i for i, row in enumerate(rows) if isinstance(row, Mapping) and name in row]
        values = [rows[i][name] for i in there]
        columns[name] = Given(values=values, place=_in_records(form, name, there))
    return Table(count=len(rows), columns=columns)


def _in_records(form: str, name: str, there: Sequence[int]) -> Callable[[int], str]:
    return lambda at: f"{form}[{there[at]}].{name}"


def _matrix(rows: list[Any], names: list[str], path: str, problems: Problems) -> Table:
    """Read ``[[0.3, 4], …]``, whose columns have ``names``."""
    for name in (name for name, count in Counter(names).items() if count > 1):
        problems.add(path, f"the column {name!r} again", "give every column once")
    whole = []
    for i, row in enumerate(rows):
        if isinstance(row, list) and len(row) == len(names):
            whole.append(i)
        else:
            found = f"{len(row)} values" if isinstance(row, list) else describe(row)
            problems.add(f"{path}[{i}]", found, f"write a list of {len(names)}: {', '.join(names)}")
    columns = zip(*(rows[i] for i in whole), strict=True) if whole else [()] * len(names)
    by_name = {
        name: Given(values=values, place=_in_records(path, name, whole))
        for name, values in zip(names, columns, strict=True)
    }
    return Table(count=len(rows), columns=by_name)


def _columns(given: Mapping[str, Any], form: str, problems: Problems) -> Table:
    """Read ``{"temp": [0.3, …], …}``, or one row as ``{"temp": 0.3, …}``."""
    single = not any(isinstance(values, list) for values in given.values())
    lists = {name: [value] if single else value for name, value in given.items()}
    count = max((len(values) for values in lists.values() if isinstance(values, list)), default=0)
    columns: dict[str, Given] = {}
    for name, values in lists.items():
        kept = values
        if not isinstance(values, list) or len(values) != count:
            found = f"{len(values)} values" if isinstance(values, list) else describe(values)
            problems.add(f"{form}.{name}", found, f"write a list of {count}, one for each row")
            kept = []
        elif values and all(isinstance(one, list) and len(one) == 1 for one in values):
            # A matrix of one column.
            kept = [one for (one,) in values]
        columns[name] = Given(values=kept, place=_in_column(form, name))
    return Table(count=count, columns=columns)


def _in_column(form: str, name: str) -> Callable[[int], str]:
    return lambda row: f"{form}.{name}[{row}]"


def _tensors(given: Any, form: str, signature: Signature, problems: Problems) -> Table:
    """Read columns, rows with names, rows without, or the values of a single input."""
    if isinstance(given, Mapping):
        return _columns(given, form, problems)
    if not isinstance(given, list):
        problems.add(form, describe(given), "write a list of rows, or an object of columns")
        return Table(count=0)
    if any(isinstance(row, Mapping) for row in given):
        return _records(given, form, signature, problems)
    if len(signature.inputs) == 1 and not any(isinstance(row, list) for row in given):
        return _matrix([[value] for value in given], signature.names, form, problems)
    return _matrix(given, signature.names, form, problems)


def _frame_records(given: Any, form: str, signature: Signature, problems: Problems) -> Table:
    if isinstance(given, list):
        return _records(given, form, signature, problems)
    problems.add(form, describe(given), "write a list of rows, each an object")
    return Table(count=0)


_READERS: dict[str, Callable[[Any, str, Signature, Problems], Table]] = {
    "dataframe_split": _split,
    "dataframe_records": _frame_records,
    "instances": _tensors,
    "inputs": _tensors,
}


def _typed_rows(table: Table, params: Any, signature: Signature, problems: Problems) -> Rows:
    """Return the table by the signature, raising with all that is wrong of it."""
    series: list[pl.Series] = []
    for one in signature.inputs:
        given = table.columns.get(one.name)
        if given is not None:
            series.append(column(one, given.values, problems, given.place))
        elif table.columns or not problems.found:
            problems.add(one.name, "no such column", "give every input, null where it is unknown")
    for name in sorted(table.columns.keys() - set(signature.names)):
        remedy = f"use {', '.join(signature.names)}"
        problems.add(name or "''", "an unknown column", remedy)
    params = params if isinstance(params, Mapping) else {}
    keys, times = keys_and_times(params.get("keys"), params.get("times"), table.count, problems)
    problems.raise_any()
    return Rows(frame=pl.DataFrame(series), keys=keys, times=times)
