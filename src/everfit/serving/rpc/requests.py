"""Requests of the protocol to rows: the same meaning, and the same problems, as over HTTP.

What the protocol has no place for travels in ``parameters`` as JSON text: ``keys`` and ``times``
as over HTTP, and ``nulls``, for each input the rows without a value: ``{"sky": [0, 4]}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.packages import Field, Kind, Signature
from everfit.serving.columns import Problems, check_count, column, describe, keys_and_times
from everfit.serving.explain import asked_reasons
from everfit.serving.model import Rows
from everfit.serving.plain import Plain
from everfit.serving.rpc.messages import CHOICE
from everfit.serving.rpc.wire import DTYPES, MEMBERS, split_texts
from everfit.serving.score import Question
from everfit.serving.tensors import (
    ACCEPTED,
    asked_outputs,
    asked_timeout,
    check_names,
    output_names,
)

# Up to this many rows a column is built faster from values than from an array.
FEW_ROWS = 30
# Typed contents may hold more than the datatype of their tensor says.
WIDEST = {"BOOL": np.bool_, "FP": np.float64, "INT": np.int64, "UINT": np.uint64}
LISTS = {"keys": list, "times": list, "nulls": dict}
# What needs no second look. A whole number among numbers does: it makes no column of floats.
PLAIN: dict[Kind, frozenset[type]] = {
    Kind.NUMBER: frozenset({float}),
    Kind.INTEGER: frozenset({int}),
    Kind.TEXT: frozenset({str}),
    Kind.BOOLEAN: frozenset({bool}),
    Kind.TIME: frozenset(),
}
Column = list[Any] | pl.Series
NUMBER_REMEDY = "write a finite number"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """One input as it came; ``raw`` holds its values where they did not come typed."""

    tensor: Any
    place: int
    raw: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """What a call asks for: rows, the outputs it wants, and its caller's own id of it.

    ``explain`` is how many reasons each row is to have.
    """

    rows: Question
    outputs: tuple[str, ...]
    number: str
    explain: int = 0


def decode_request(request: Any, signature: Signature, *, max_rows: int) -> Request:
    """Return what a ``ModelInferRequest`` asks for.

    Raises
    ------
    RowsInvalid
        Naming every input, row and value that does not fit the signature.
    TooLarge
        If there are more rows than one request may have.
    """
    problems = Problems()
    inputs = _inputs(request, problems)
    check_names({name: given.tensor for name, given in inputs.items()}, signature, problems)
    count = _count(next(iter(inputs.values()), None))
    check_count(count, max_rows)
    parameters = _parameters(request.parameters, problems)
    nulls = _nulls(parameters.get("nulls", {}), signature, count, problems)
    keys, times = keys_and_times(parameters.get("keys"), parameters.get("times"), count, problems)
    wanted = [{"name": output.name} for output in request.outputs]
    explain = asked_reasons(parameter_of(request.parameters, "explain", False), problems)
    known = output_names(signature, explained=bool(explain))
    outputs, _ = asked_outputs(wanted or None, {}, known, problems)
    asked_timeout(timeout_of(request.parameters), problems)
    columns = [
        _column(field, inputs[field.name], count, nulls.get(field.name, ()), problems)
        for field in signature.inputs
        if field.name in inputs
    ]
    rows: Question
    if not problems.found and count <= FEW_ROWS and _are_plain(signature, columns):
        rows = Plain(signature.inputs, list(zip(*columns, strict=True)), keys, times)
    else:
        rows = Rows(frame=_frame(signature, inputs, columns, problems), keys=keys, times=times)
    return Request(rows=rows, outputs=outputs, number=request.id, explain=explain)


def timeout_of(parameters: Any) -> Any:
    """Return the parameter ``timeout`` as it was sent, 0 where it was not."""
    return parameter_of(parameters, "timeout", 0)


def parameter_of(parameters: Any, name: str, usual: object) -> Any:
    """Return the parameter ``name`` as it was sent, ``usual`` where it was not."""
    for item in parameters:
        if item.key == name:
            kind = item.value.WhichOneof(CHOICE)
            return getattr(item.value, kind) if kind else None
    return usual


def _are_plain(signature: Signature, columns: list[Column]) -> bool:
    """Return whether every value is plainly of its kind, and can be logged as it is."""
    for field, values in zip(signature.inputs, columns, strict=True):
        kinds = set(map(type, values))
        if field.nullable:
            kinds.discard(type(None))
        if not kinds <= PLAIN[field.kind]:
            return False
        if field.kind is Kind.INTEGER and any(value and value >= 2**63 for value in values):
            return False
    return True


def _frame(
    signature: Signature, inputs: Mapping[str, Given], columns: list[Column], problems: Problems
) -> pl.DataFrame:
    there = [field for field in signature.inputs if field.name in inputs]
    made = [
        values
        if isinstance(values, pl.Series)
        else column(field, values, problems, f"inputs.{field.name}.data[{{}}]".format)
        for field, values in zip(there, columns, strict=True)
    ]
    problems.raise_any()
    return pl.DataFrame(made)


def _inputs(request: Any, problems: Problems) -> dict[str, Given]:
    raws: Sequence[bytes] = request.raw_input_contents
    tensors = request.inputs
    if not tensors:
        problems.add("inputs", "nothing", "send a tensor for each input")
    if raws and len(raws) != len(tensors):
        remedy = f"send one for each input, {len(tensors)}, or contents in every input"
        problems.add("raw_input_contents", f"{len(raws)} of them", remedy)
        raws = [*raws[: len(tensors)], *[b""] * (len(tensors) - len(raws))]
    found: dict[str, Given] = {}
    for place, tensor in enumerate(tensors):
        name = tensor.name
        if name in found:
            problems.add(f"inputs[{place}]", f"{describe(name)} again", "give every input once")
        if raws and tensor.HasField("contents"):
            remedy = "send values either there or in raw_input_contents"
            problems.add(f"inputs.{name}.contents", "values", remedy)
        found[name] = Given(tensor=tensor, place=place, raw=raws[place] if raws else None)
    return found


def _count(first: Given | None) -> int:
    """Return how many rows the first input announces; one where that cannot be told."""
    shape = [] if first is None else first.tensor.shape
    count: int = math.prod(shape) if 1 <= len(shape) <= 2 else 1
    return max(count, 0)


def _parameters(given: Any, problems: Problems) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in given:
        if item.key not in LISTS:
            continue
        kind = LISTS[item.key]
        try:
            value = json.loads(item.value.string_param)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, kind):
            found[item.key] = value
        else:
            a_form = "an object" if kind is dict else "a list"
            remedy = f"write {a_form} in JSON, as a string parameter"
            problems.add(f"parameters.{item.key}", describe(item.value.string_param), remedy)
    return found


def _nulls(
    given: Mapping[str, Any], signature: Signature, count: int, problems: Problems
) -> dict[str, Sequence[int]]:
    known = set(signature.names)
    rows = range(count)
    for name, wanted in given.items():
        if name not in known:
            remedy = f"use {', '.join(signature.names)}"
            problems.add(f"parameters.nulls.{name}", "an unknown input", remedy)
        elif not isinstance(wanted, list) or not all(
            type(row) is int and row in rows for row in wanted
        ):
            remedy = f"write a list of rows, 0 to {count - 1}"
            problems.add(f"parameters.nulls.{name}", describe(wanted), remedy)
    return {} if problems.found else dict(given)


def _column(
    field: Field, given: Given, count: int, nulls: Sequence[int], problems: Problems
) -> Column:
    """Return the values of an input; every one is still to be looked at, unless it is a series."""
    path = f"inputs.{field.name}"
    tensor = given.tensor
    datatype = tensor.datatype
    if datatype not in ACCEPTED[field.kind]:
        remedy = f"use {', '.join(sorted(ACCEPTED[field.kind]))}"
        problems.add(f"{path}.datatype", describe(datatype), remedy)
        return []
    shape = tensor.shape
    # A repeated field equals a list, but has no hash.
    if shape != [count] and shape != [count, 1]:
        remedy = f"write [{count}] or [{count}, 1]: as many rows as the first input has"
        problems.add(f"{path}.shape", describe(list(shape[:10])), remedy)
    values = _values(given, datatype, count, path, problems)
    if isinstance(values, np.ndarray):
        quick = None if nulls else _array_column(field, values)
        if quick is not None:
            return quick
        values = values.tolist()
    for row in nulls:
        values[row : row + 1] = [None]
    _settle(field, values, path, problems)
    return values


def _values(
    given: Given, datatype: str, count: int, path: str, problems: Problems
) -> list[Any] | npt.NDArray[Any]:
    """Return the values of an input, as an array where there are many numbers."""
    if given.raw is not None:
        return _raw_values(given, datatype, count, path, problems)
    member = MEMBERS.get(datatype)
    if member is None:
        remedy = f"send {datatype} in raw_input_contents"
        problems.add(f"{path}.contents", "a type it has no place for", remedy)
        return []
    values = getattr(given.tensor.contents, member)
    if len(values) != count:
        problems.add(f"{path}.contents.{member}", f"{len(values)} values", f"send {count}")
    if count > FEW_ROWS and datatype != "BYTES":
        return np.array(list(values), dtype=WIDEST[datatype.rstrip("0123456789")])
    return [_text(value) for value in values] if datatype == "BYTES" else list(values)


def _raw_values(
    given: Given, datatype: str, count: int, path: str, problems: Problems
) -> list[Any] | npt.NDArray[Any]:
    raw, where = given.raw or b"", f"raw_input_contents[{given.place}]"
    if datatype == "BYTES":
        texts = split_texts(raw, count)
        if texts is None:
            remedy = f"send {count} texts, each after its length as 4 bytes, in {where}"
            problems.add(path, f"{len(raw)} bytes that break off or go on", remedy)
            return []
        return [_text(text) for text in texts]
    dtype = DTYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        remedy = f"send {count * dtype.itemsize} in {where}: {count} of {datatype}"
        problems.add(path, f"{len(raw)} bytes", remedy)
        return []
    array = np.frombuffer(raw, dtype=dtype)
    return array if count > FEW_ROWS else array.tolist()


def _text(value: bytes) -> str | bytes:
    """Return the text, or the bytes as they are where they are no UTF-8: no column takes them."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _array_column(field: Field, array: npt.NDArray[Any]) -> pl.Series | None:
    """Return the column if every value fits; else the way value by value names those that do not.

    A datatype that the kind accepts is given: whole numbers for INTEGER, say.
    """
    if field.kind is Kind.NUMBER:
        array = array.astype(np.float64)
        fits = np.isfinite(array).all()
    elif field.kind is Kind.INTEGER:
        fits = array.dtype != np.uint64 or (array < 2**63).all()
        array = array.astype(np.int64) if fits else array
    else:
        fits = (array <= 1).all()
        array = array.astype(np.bool_)
    return pl.Series(field.name, array) if fits else None


def _settle(field: Field, values: list[Any], path: str, problems: Problems) -> None:
    """Make truths of ones and zeros, and nulls of NaN; name what is no finite number."""
    if field.kind is Kind.BOOLEAN:
        values[:] = [value == 1 if value in (0, 1) else value for value in values]
    if field.kind is not Kind.NUMBER:
        return
    for row, value in enumerate(values):
        if value is None or math.isfinite(value):
            continue
        if math.isnan(value) and field.nullable:
            values[row] = None
        else:
            values[row] = 0.0  # the request is refused
            problems.add(f"{path}.data[{row}]", describe(value), NUMBER_REMEDY)
