"""The OpenAPI description of this server: from its routes, and the signatures of its models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from everfit import __version__
from everfit.packages import Field, Kind, Signature
from everfit.serving.binary import HEADER
from everfit.serving.media import ARROW, CSV, JSON, OCTETS
from everfit.serving.refusals import words_of
from everfit.serving.tensors import ACCEPTED, output_names

Schema = dict[str, Any]
NAME = re.compile(r"{(\w+)}")
STATUSES = {
    "400": "The request cannot be accepted as it is (in MLflow's words).",
    "403": "The Host or Origin is not this machine.",
    "404": "There is no such endpoint, version or path.",
    "409": "The version asked for is rolling out.",
    "413": "The body or its rows are more than one request may have.",
    "415": "The body is of a type, or in an encoding, that is not read here.",
    "422": "Columns, rows or values do not fit; every problem is named.",
    "429": "More is asked at once than can be answered; come again after Retry-After.",
    "503": "There is no model to answer with; come again after Retry-After.",
}
KINDS: dict[Kind, Schema] = {
    Kind.NUMBER: {"type": "number"},
    Kind.INTEGER: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    Kind.TEXT: {"type": "string"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.TIME: {"type": "string", "format": "date-time"},
}
TEXT: Schema = {"type": "string"}
BYTES: Schema = {"type": "string", "format": "binary"}
INFER = {
    JSON: {"schema": {"$ref": "#/components/schemas/InferRequest"}},
    OCTETS: {"schema": BYTES},
}
INFERRED = {
    JSON: {"schema": {"$ref": "#/components/schemas/InferResponse"}},
    OCTETS: {"schema": BYTES},
}
INVOCATION = {
    JSON: {"schema": {"$ref": "#/components/schemas/Invocation"}},
    CSV: {"schema": TEXT},
}
INVOKED = {JSON: {"schema": {"$ref": "#/components/schemas/Invoked"}}}
BODIES: dict[str, Schema] = {
    "/predict/{name}": {
        JSON: {"schema": {"$ref": "#/components/schemas/RowsRequest"}},
        ARROW: {"schema": BYTES},
    },
    "/v2/models/{name}/infer": INFER,
    "/v2/models/{name}/versions/{version}/infer": INFER,
    "/invocations": INVOCATION,
    "/endpoints/{name}/invocations": INVOCATION,
    "/labels/{name}": {JSON: {"schema": {"$ref": "#/components/schemas/Labels"}}},
}
ANSWERS: dict[str, Schema] = {
    "/predict/{name}": {
        JSON: {"schema": {"$ref": "#/components/schemas/RowsResponse"}},
        ARROW: {"schema": BYTES},
    },
    "/v2/models/{name}/infer": INFERRED,
    "/v2/models/{name}/versions/{version}/infer": INFERRED,
    "/invocations": INVOKED,
    "/endpoints/{name}/invocations": INVOKED,
    "/metrics": {"text/plain": {"schema": TEXT}},
}
"""What is sent and answered by path; where nothing stands, any JSON."""


def describe_api(
    table: Mapping[str, Mapping[str, Callable[..., Any]]],
    signatures: Mapping[str, Signature | None],
) -> dict[str, Any]:
    """Return the description of ``table``, path -> method -> handler, whose docstrings it quotes.

    ``signatures`` are those of the endpoints, None where one has no model yet.
    """
    known = {name: one for name, one in signatures.items() if one is not None}
    paths = {
        path: {
            method.lower(): _operation(path, method, handler, list(signatures))
            for method, handler in handlers.items()
        }
        for path, handlers in table.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Everfit model server", "version": __version__},
        "paths": paths,
        "components": {"schemas": {**_fixed(), **_of_models(known)}},
    }


EXPLAIN: Schema = {"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0}]}
QUERIES: Mapping[str, Sequence[Schema]] = {
    "/predict/{name}": [
        {
            "name": "explain",
            "in": "query",
            "description": "Whether to say why: true, or how many reasons each row is to have.",
            "schema": EXPLAIN,
        }
    ]
}


def _operation(path: str, method: str, handler: Callable[..., Any], endpoints: list[str]) -> Schema:
    said = (handler.__doc__ or "").strip().partition("\n")[0].partition(": ")[2].rstrip(".")
    names = NAME.findall(path)
    codes = {"403", "503"} | ({"404"} if names or path in BODIES else set())
    codes |= {"400", "413", "415", "422", "429"} if method != "GET" else set()
    codes |= {"409"} if "version" in names else set()
    error = {JSON: {"schema": {"$ref": f"#/components/schemas/{_error(path)}"}}}
    refusals = {code: {"description": STATUSES[code], "content": error} for code in sorted(codes)}
    answer = {"description": "The answer.", "content": ANSWERS.get(path, {JSON: {"schema": {}}})}
    operation: Schema = {
        "operationId": re.sub(r"[^a-z0-9]+", "_", f"{method}{path}".lower()).strip("_"),
        "summary": said[:1].upper() + said[1:],
        "parameters": [*(_parameter(name, endpoints) for name in names), *QUERIES.get(path, ())],
        "responses": {"200": answer, **refusals},
    }
    if method != "GET":
        any_json: Schema = {JSON: {"schema": {}}}
        operation["requestBody"] = {"required": True, "content": BODIES.get(path, any_json)}
    if BODIES.get(path) is INFER:
        operation["parameters"].append(
            {
                "name": HEADER,
                "in": "header",
                "description": "How many bytes of the body are JSON; the tensors' bytes follow.",
                "schema": {"type": "integer", "minimum": 0},
            }
        )
    return operation


def _parameter(name: str, endpoints: list[str]) -> Schema:
    schema = {"type": "string", "enum": endpoints} if name == "name" else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _error(path: str) -> str:
    words = words_of(path)
    return "Error" if words is None else words


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(required: list[str], **members: Schema) -> Schema:
    return {"type": "object", "properties": members, "required": required}


def _fixed() -> dict[str, Schema]:
    """Return the schemas that no model changes."""
    label = _object(
        ["label"], id=TEXT, key=TEXT, label={"type": ["string", "number", "boolean"]}, at=TEXT
    )
    tensor = _object(
        ["name", "shape", "datatype"],
        name=TEXT,
        shape=_list({"type": "integer"}),
        datatype={"enum": sorted(set().union(*ACCEPTED.values()))},
        data=_list({}),
        parameters={"type": "object"},
    )
    answered = _object(
        ["id", "prediction", "score", "version"],
        id=TEXT,
        prediction={},
        score={"type": ["number", "null"]},
        version={"type": "integer"},
    )
    return {
        **_errors(),
        "Labels": {"anyOf": [_list(label), _object(["labels"], labels=_list(label))]},
        "RowsResponse": _object(["model", "predictions"], model=TEXT, predictions=_list(answered)),
        "Tensor": tensor,
        "InferResponse": _object(
            ["model_name", "outputs"],
            model_name=TEXT,
            model_version=TEXT,
            id=TEXT,
            outputs=_list({"$ref": "#/components/schemas/Tensor"}),
        ),
        "Invoked": _object(["predictions"], predictions=_list({})),
    }


def _errors() -> dict[str, Schema]:
    """Return the schemas of refusals, by the protocol that tells them."""
    problem = _object(["path", "found", "remedy"], path=TEXT, found=TEXT, remedy=TEXT)
    more = {
        "code": TEXT,
        "hint": TEXT,
        "problems": _list(problem),
        "context": {"type": "object"},
    }
    error = _object(["code", "message", "hint", "problems", "context"], message=TEXT, **more)
    return {
        "Error": _object(["error"], error=error),
        "InferError": _object(["error"], error=TEXT, **more),
        "InvocationError": _object(["error_code", "message"], error_code=TEXT, message=TEXT),
    }


def _of_models(signatures: Mapping[str, Signature]) -> dict[str, Schema]:
    """Return the schemas that the signatures decide; the rows of one endpoint by its name."""
    own = {f"Row.{name}": _row(one) for name, one in signatures.items()}
    rows: Schema = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in own]}
    row = rows if own else {"type": "object"}
    given = _list({"$ref": "#/components/schemas/Row"})
    keys, times = _list({"type": ["string", "null"]}), _list(KINDS[Kind.TIME])
    request = _object(["rows"], rows=given, keys=keys, times=times)
    inputs = sorted({name for one in signatures.values() for name in one.names})
    outputs = sorted({name for one in signatures.values() for name in output_names(one)})
    named = {"type": "string", "enum": inputs} if inputs else TEXT
    asked = _object(["name"], name={"enum": outputs} if outputs else TEXT)
    infer = _object(
        ["inputs"],
        id=TEXT,
        parameters=_object(
            [], keys=keys, times=times, binary_data_output={"type": "boolean"}, explain=EXPLAIN
        ),
        inputs=_list({"$ref": "#/components/schemas/Tensor", "properties": {"name": named}}),
        outputs=_list(asked),
    )
    columns = _object(["columns", "data"], columns=_list(named), data=_list(_list({})))
    anything: Schema = {"anyOf": [given, _list({}), {"type": "object"}]}
    params = _object([], keys=keys, times=times)
    forms: dict[str, Schema] = {
        "dataframe_split": columns,
        "dataframe_records": given,
        "instances": anything,
        "inputs": anything,
    }
    return {
        **own,
        "Row": row,
        "RowsRequest": {"anyOf": [request, given, {"$ref": "#/components/schemas/Row"}]},
        "InferRequest": infer,
        "Invocation": {
            "oneOf": [_object([n], **{n: form, "params": params}) for n, form in forms.items()]
        },
    }


def _row(signature: Signature) -> Schema:
    members = {field.name: _value(field) for field in signature.inputs}
    return {**_object(signature.names, **members), "additionalProperties": False}


def _value(field: Field) -> Schema:
    kind = KINDS[field.kind]
    schema = {**kind, "type": [kind["type"], "null"]} if field.nullable else dict(kind)
    return {**schema, "examples": list(field.categories[:3])} if field.categories else schema
