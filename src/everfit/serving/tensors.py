"""The columns form: requests and answers of the Open Inference Protocol, version 2, over REST.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Values stand in the JSON, or behind it as bytes (see ``binary``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import polars as pl

from everfit.packages import Field, Kind, Signature
from everfit.serving.binary import RawTensor, behind, raw_series, raw_values, split_body
from everfit.serving.columns import (
    Problems,
    as_json,
    check_count,
    column,
    describe,
    keys_and_times,
)
from everfit.serving.explain import asked_reasons
from everfit.serving.model import Answers, Rows
from everfit.serving.typed import typed

NUMBERS = {"BF16", "FP16", "FP32", "FP64"}
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
# The output that holds the reasons of each row.
BECAUSE = "because"
# Parameters of other servers that would change the answer: to ignore one would be to lie.
UNKNOWN_WAYS = ("classification", "shared_memory_region")


class Tensor(msgspec.Struct):
    """One input as the protocol writes it; without ``data`` it stands behind the JSON, as bytes."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}

    @property
    def count(self) -> int:
        """Return how many rows it has, as far as it says."""
        if self.data is not None:
            return len(self.data)
        return max(self.shape[0], 0) if self.shape else 1


def decode_tensors(
    body: bytes, signature: Signature, *, max_rows: int, head: bytes | None = None
) -> Rows:
    """Return the rows of a request; its keys and times stand in ``parameters``.

    ``head`` is the header Inference-Header-Content-Length: how many bytes of ``body`` are JSON.

    Raises
    ------
    Invalid
        If the body is no JSON, or ``head`` no length of it.
    RowsInvalid
        Naming every input, row and value that does not fit the signature.
    TooLarge
        If there are more rows than one request may have.
    """
    problems = Problems()
    json, rest = split_body(body, head)
    given = as_json(json)
    request: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    tensors = _tensors(request.get("inputs"), problems)
    raw = behind(_sizes(tensors, problems), rest, problems)
    check_names(tensors, signature, problems)
    count = next(iter(tensors.values())).count if tensors else 1
    check_count(count, max_rows)
    series = [
        _column(field, tensors[field.name], count, problems)
        if field.name not in raw
        else _raw_column(field, tensors[field.name], RawTensor(raw[field.name], count), problems)
        for field in signature.inputs
        if field.name in tensors
    ]
    parameters = request.get("parameters", {})
    if not isinstance(parameters, Mapping):
        problems.add("parameters", describe(parameters), "write an object")
        parameters = {}
    keys, times = keys_and_times(parameters.get("keys"), parameters.get("times"), count, problems)
    explain = asked_reasons(parameters.get("explain", False), problems)
    known = output_names(signature, explained=bool(explain))
    outputs, binary = asked_outputs(request.get("outputs"), parameters, known, problems)
    timeout = asked_timeout(parameters.get("timeout", 0), problems)
    problems.raise_any()
    number = request.get("id")
    return Rows(
        frame=pl.DataFrame(series),
        keys=keys,
        times=times,
        outputs=outputs,
        binary=binary,
        request=number if isinstance(number, str) else None,
        timeout_us=timeout,
        explain=explain,
    )


def asked_timeout(given: Any, problems: Problems) -> int:
    """Return the parameter ``timeout``, microseconds as Triton has them; 0 stands for no end."""
    if type(given) is int and 0 <= given < 2**63:
        return given
    problems.add("parameters.timeout", describe(given), "write a whole number of microseconds")
    return 0


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
        elif (tensor.data is None) == ("binary_data_size" not in tensor.parameters):
            found = "neither" if tensor.data is None else "both"
            remedy = "write data, or parameters.binary_data_size for bytes behind the JSON"
            problems.add(f"inputs.{tensor.name}", found, remedy)
        tensors[tensor.name] = tensor
    return tensors


def _sizes(tensors: Mapping[str, Tensor], problems: Problems) -> dict[str, int]:
    """Return the sizes in bytes of the inputs that stand behind the JSON, in their order."""
    sizes: dict[str, int] = {}
    for name, tensor in tensors.items():
        if tensor.data is not None or "binary_data_size" not in tensor.parameters:
            continue
        size = tensor.parameters["binary_data_size"]
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            path = f"inputs.{name}.parameters.binary_data_size"
            problems.add(path, describe(size), "write a number of bytes")
            size = 0
        sizes[name] = size
    return sizes


def check_names(tensors: Mapping[str, Tensor], signature: Signature, problems: Problems) -> None:
    """Note the inputs that are missing, and those that the model does not know."""
    for name in (name for name in signature.names if name not in tensors):
        problems.add(f"inputs.{name}", "nothing", "give every input, null where it is missing")
    for name in sorted(tensors.keys() - set(signature.names)):
        problems.add(f"inputs.{name}", "an unknown input", f"use {', '.join(signature.names)}")


def _column(field: Field, tensor: Tensor, count: int, problems: Problems) -> pl.Series:
    path = f"inputs.{field.name}"
    data = tensor.data or []
    if not _fits(field, tensor, count, problems):
        return column(field, [], problems, str)
    values = list(_flat(data)) if tensor.shape == [count, 1] else data
    if len(values) != count and tensor.data is not None:
        problems.add(f"{path}.data", f"{len(values)} values", f"send {count}")
    return column(field, values, problems, lambda row: f"{path}.data[{row}]")


def _raw_column(field: Field, tensor: Tensor, raw: RawTensor, problems: Problems) -> pl.Series:
    path = f"inputs.{field.name}"
    if not _fits(field, tensor, raw.count, problems):
        return column(field, [], problems, str)
    series = raw_series(tensor.datatype, raw, problems, path)
    return typed(field, series, problems, lambda row: f"{path}.data[{row}]", f"{path}.data")


def _fits(field: Field, tensor: Tensor, count: int, problems: Problems) -> bool:
    """Return whether the input's type can be that of the field, noting what is wrong with both."""
    path = f"inputs.{field.name}"
    accepted = ACCEPTED[field.kind]
    if tensor.datatype not in accepted:
        remedy = f"use {', '.join(sorted(accepted))}"
        problems.add(f"{path}.datatype", describe(tensor.datatype), remedy)
        return False
    if tensor.shape not in ([count], [count, 1]):
        remedy = f"write [{count}] or [{count}, 1]: as many rows as the first input has"
        problems.add(f"{path}.shape", describe(tensor.shape), remedy)
    return True


def _flat(data: Iterable[Any]) -> Iterable[Any]:
    """Yield the values of a column whose rows may each stand in brackets of their own."""
    for item in data:
        if isinstance(item, list):
            yield from item
        else:
            yield item


def asked_outputs(
    given: Any, parameters: Mapping[str, Any], known: tuple[str, ...], problems: Problems
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the outputs asked for, and those of them that are to come as bytes.

    Who asks for reasons gets them, whether or not it names their output.
    """
    everything = parameters.get("binary_data_output") is True
    if given is None:
        return known, frozenset(known if everything else ())
    ways: dict[str, Mapping[str, Any]] = {}
    for i, item in enumerate(given if isinstance(given, list) else [given]):
        name = item.get("name") if isinstance(item, Mapping) else item
        if name not in known:
            problems.add(f"outputs[{i}].name", describe(name), f"use {', '.join(known)}")
            continue
        way = item.get("parameters", {}) if isinstance(item, Mapping) else {}
        if not isinstance(way, Mapping):
            problems.add(f"outputs[{i}].parameters", describe(way), "write an object")
            way = {}
        for unknown in (unknown for unknown in UNKNOWN_WAYS if unknown in way):
            path = f"outputs[{i}].parameters.{unknown}"
            problems.add(path, describe(way[unknown]), "leave it out: it is not done here")
        ways[name] = way
    for name in known if not ways else {BECAUSE} & set(known):
        ways.setdefault(name, {})
    binary = [name for name, way in ways.items() if way.get("binary_data", everything) is True]
    return tuple(ways), frozenset(binary)


def output_names(signature: Signature, *, explained: bool = False) -> tuple[str, ...]:
    """Return the outputs a model of that signature gives, with reasons where it is explained."""
    score = ("score",) if signature.classes else ()
    because = (BECAUSE,) if explained else ()
    return (signature.output.name, *score, "prediction_id", "version", *because)


def reason_texts(answers: Answers) -> list[str]:
    """Return the reasons of each row as a JSON text, none where they were not asked for."""
    return [msgspec.json.encode(reasons).decode() for reasons in answers.reasons]


def describe_model(model: str, versions: Iterable[int], signature: Signature) -> dict[str, Any]:
    """Return the protocol's metadata of a model."""
    inputs = [(field.name, DATATYPES[field.kind]) for field in signature.inputs]
    outputs = [(name, output_datatype(name, signature)) for name in output_names(signature)]
    return {
        "name": model,
        "versions": [str(version) for version in versions],
        "platform": "everfit",
        "inputs": [{"name": n, "datatype": kind, "shape": [-1]} for n, kind in inputs],
        "outputs": [{"name": n, "datatype": kind, "shape": [-1]} for n, kind in outputs],
    }


def output_datatype(name: str, signature: Signature) -> str:
    """Return the datatype of an output."""
    fixed = {"score": "FP64", "prediction_id": "BYTES", "version": "INT64", BECAUSE: "BYTES"}
    if name == signature.output.name:
        return DATATYPES[signature.output.kind]
    return fixed[name]


def encode_tensors(
    model: str, signature: Signature, rows: Rows, answers: Answers
) -> tuple[bytes, int | None]:
    """Return the answers as the protocol writes them.

    The number is how many bytes of them are JSON, None where all are.
    """
    data = {
        "score": answers.scores,
        "prediction_id": answers.ids,
        "version": answers.versions,
        BECAUSE: reason_texts(answers),
        signature.output.name: answers.predictions,
    }
    outputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name in rows.outputs:
        datatype = output_datatype(name, signature)
        output: dict[str, Any] = {"name": name, "shape": [len(answers.ids)], "datatype": datatype}
        if name in rows.binary:
            raw.append(raw_values(datatype, data[name] or []))
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = data[name]
        outputs.append(output)
    # One request can be answered by two versions; the output `version` says which row by which.
    version = str(answers.versions[0]) if len(set(answers.versions)) == 1 else None
    answer = {"model_name": model, "model_version": version, "outputs": outputs}
    if rows.request is not None:
        answer["id"] = rows.request
    said = {name: value for name, value in answer.items() if value is not None}
    json = msgspec.json.encode(said)
    return (b"".join((json, *raw)), len(json)) if raw else (json, None)
