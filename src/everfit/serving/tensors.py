"""The columns form: requests and answers of the Open Inference Protocol, version 2, as JSON.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import polars as pl

from everfit.packages import Field, Kind, Signature
from everfit.serving.columns import (
    Problems,
    as_json,
    check_count,
    column,
    describe,
    keys_and_times,
)
from everfit.serving.model import Answers, Rows

NUMBERS = {"FP16", "FP32", "FP64"}
INTEGERS = {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
ACCEPTED = {
    Kind.NUMBER: NUMBERS | INTEGERS,
    Kind.INTEGER: INTEGERS,
    Kind.TEXT: {"BYTES"},
    Kind.BOOLEAN: {"BOOL"},
    Kind.TIME: {"BYTES"},
}
DATATYPES = {
    Kind.NUMBER: "FP64",
    Kind.INTEGER: "INT64",
    Kind.TEXT: "BYTES",
    Kind.BOOLEAN: "BOOL",
    Kind.TIME: "BYTES",
}
FORM = "write {name, shape, datatype, data}"


class Tensor(msgspec.Struct):
    """One input as the protocol writes it."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] = {}


def decode_tensors(body: bytes, signature: Signature, *, max_rows: int) -> Rows:
    """Return the rows of a request; its keys and times stand in ``parameters``.

    Raises
    ------
    Invalid
        If the body is no JSON.
    RowsInvalid
        Naming every input, row and value that does not fit the signature.
    TooLarge
        If there are more rows than one request may have.
    """
    problems = Problems()
    given = as_json(body)
    request: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    tensors = _tensors(request.get("inputs"), problems)
    _check_names(tensors, signature, problems)
    count = len(next(iter(tensors.values())).data) if tensors else 1
    check_count(count, max_rows)
    series = [
        _column(field, tensors[field.name], count, problems)
        for field in signature.inputs
        if field.name in tensors
    ]
    parameters = request.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    keys, times = keys_and_times(parameters.get("keys"), parameters.get("times"), count, problems)
    outputs = _outputs(request.get("outputs"), signature, problems)
    problems.raise_any()
    number = request.get("id")
    return Rows(
        frame=pl.DataFrame(series),
        keys=keys,
        times=times,
        outputs=outputs,
        request=number if isinstance(number, str) else None,
    )


def _tensors(inputs: Any, problems: Problems) -> dict[str, Tensor]:
    if not isinstance(inputs, list) or not inputs:
        problems.add("inputs", describe(inputs), f"write a list, for each input {FORM}")
        return {}
    tensors: dict[str, Tensor] = {}
    for i, item in enumerate(inputs):
        try:
            tensor = msgspec.convert(item, Tensor)
        except msgspec.ValidationError as error:
            problems.add(f"inputs[{i}]", str(error), FORM)
            continue
        if tensor.name in tensors:
            problems.add(f"inputs[{i}]", f"{tensor.name!r} again", "give every input once")
        tensors[tensor.name] = tensor
    return tensors


def _check_names(tensors: Mapping[str, Tensor], signature: Signature, problems: Problems) -> None:
    for name in (name for name in signature.names if name not in tensors):
        problems.add(f"inputs.{name}", "nothing", "give every input, null where it is missing")
    for name in sorted(tensors.keys() - set(signature.names)):
        problems.add(f"inputs.{name}", "an unknown input", f"use {', '.join(signature.names)}")


def _column(field: Field, tensor: Tensor, count: int, problems: Problems) -> pl.Series:
    path = f"inputs.{field.name}"
    accepted = ACCEPTED[field.kind]
    if tensor.datatype not in accepted:
        remedy = f"use {', '.join(sorted(accepted))}"
        problems.add(f"{path}.datatype", describe(tensor.datatype), remedy)
        return column(field, [], problems, str)
    values = list(_flat(tensor.data)) if tensor.shape == [count, 1] else tensor.data
    if tensor.shape not in ([count], [count, 1]):
        remedy = f"write [{count}] or [{count}, 1]: as many rows as the first input has"
        problems.add(f"{path}.shape", describe(tensor.shape), remedy)
    if len(values) != count:
        problems.add(f"{path}.data", f"{len(values)} values", f"send {count}")
    return column(field, values, problems, lambda row: f"{path}.data[{row}]")


def _flat(data: Iterable[Any]) -> Iterable[Any]:
    """Yield the values of a column whose rows may each stand in brackets of their own."""
    for item in data:
        if isinstance(item, list):
            yield from item
        else:
            yield item


def _outputs(given: Any, signature: Signature, problems: Problems) -> tuple[str, ...]:
    known = output_names(signature)
    if given is None:
        return known
    chosen: list[str] = []
    for i, item in enumerate(given if isinstance(given, list) else [given]):
        name = item.get("name") if isinstance(item, Mapping) else item
        if name in known:
            chosen.append(name)
        else:
            problems.add(f"outputs[{i}].name", describe(name), f"use {', '.join(known)}")
    return tuple(chosen) or known


def output_names(signature: Signature) -> tuple[str, ...]:
    """Return the outputs a model of that signature gives."""
    score = ("score",) if signature.classes else ()
    return (signature.output.name, *score, "prediction_id", "version")


def describe_model(model: str, version: int, signature: Signature) -> dict[str, Any]:
    """Return the protocol's metadata of a model."""
    inputs = [(field.name, DATATYPES[field.kind]) for field in signature.inputs]
    outputs = [(name, _output_datatype(name, signature)) for name in output_names(signature)]
    return {
        "name": model,
        "versions": [str(version)],
        "platform": "everfit",
        "inputs": [{"name": n, "datatype": kind, "shape": [-1]} for n, kind in inputs],
        "outputs": [{"name": n, "datatype": kind, "shape": [-1]} for n, kind in outputs],
    }


def _output_datatype(name: str, signature: Signature) -> str:
    fixed = {"score": "FP64", "prediction_id": "BYTES", "version": "INT64"}
    if name == signature.output.name:
        return DATATYPES[signature.output.kind]
    return fixed[name]


def encode_tensors(model: str, signature: Signature, rows: Rows, answers: Answers) -> bytes:
    """Return the answers as the protocol writes them."""
    data = {
        "score": answers.scores,
        "prediction_id": answers.ids,
        "version": answers.versions,
        signature.output.name: answers.predictions,
    }
    outputs = [
        {
            "name": name,
            "shape": [len(answers.ids)],
            "datatype": _output_datatype(name, signature),
            "data": data[name],
        }
        for name in rows.outputs
    ]
    # One request can be answered by two versions; the output `version` says which row by which.
    version = str(answers.versions[0]) if len(set(answers.versions)) == 1 else None
    answer = {"model_name": model, "model_version": version, "outputs": outputs}
    if rows.request is not None:
        answer["id"] = rows.request
    return msgspec.json.encode({name: value for name, value in answer.items() if value is not None})
