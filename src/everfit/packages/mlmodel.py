"""What an MLmodel file of MLflow's says: flavors, signature, versions. Reads text, opens nothing.

MLflow's own description of the file: https://mlflow.org/docs/latest/ml/model/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from everfit.errors import Invalid
from everfit.packages.fitted import CLASSIFICATION, REGRESSION
from everfit.packages.model import Field, Kind, Scalar, Signature

FILE = "MLmodel"
MOST_BYTES = 1 << 20
DEEPEST = 50
FUNCTION = "python_function"
# libyaml reads the same twenty times faster, where PyYAML was built with it.
_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KINDS = {
    "double": Kind.NUMBER,
    "float": Kind.NUMBER,
    "long": Kind.INTEGER,
    "integer": Kind.INTEGER,
    "string": Kind.TEXT,
    "boolean": Kind.BOOLEAN,
    "datetime": Kind.TIME,
}
# What a tensor of NumPy's type would be as a column.
_COLUMN_TYPES = {"float64": "double", "float32": "float", "int64": "long", "int32": "integer"}
_COLUMN_TYPES |= {"bool": "boolean", "str": "string", "object": "string"}
MOST_NAMED = 10


class _SignatureText(msgspec.Struct):
    inputs: str | None = None
    outputs: str | None = None


class _File(msgspec.Struct):
    flavors: dict[str, dict[str, Any]]
    signature: _SignatureText | None = None
    metadata: dict[str, Any] | None = None
    mlflow_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MlModel:
    """An MLmodel file, read.

    ``types`` are MLflow's names of the inputs' types: finer than `Kind`, as a model may insist.
    ``matrix`` says that it takes all of them as one matrix.
    ``scores`` says that the model answers one number per class. Whether whole numbers are labels
    only the opened model tells: until then it passes for a regression.
    """

    flavors: Mapping[str, Mapping[str, Any]]
    signature: Signature
    types: Mapping[str, str]
    matrix: bool
    mlflow: str | None
    scores: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """The one output: its name, MLflow's type, and how many numbers it holds for each row."""

    name: str
    type: str
    width: int


def read_mlmodel(content: bytes) -> MlModel:
    """Return what the file says.

    Raises
    ------
    Invalid
        If it cannot be read, or does not say in named columns what the model takes and gives.
    """
    try:
        file = msgspec.convert(_plain(content), _File)
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _refused(f"its {FILE} cannot be read: {reason}") from error
    signature = file.signature
    if signature is None or not signature.inputs:
        raise _refused("it was logged without a signature")
    if not signature.outputs:
        raise _refused("its signature does not say what it gives")
    metadata = file.metadata or {}
    given = _specs(signature.inputs)
    columns = _matrix(given, metadata)
    types, inputs = _inputs(columns or given)
    output = _output(_specs(signature.outputs))
    classes = _classes(metadata, output)
    task = _task(file.flavors, output, classes)
    answer = Field(name=output.name, kind=_output_kind(output, classes))
    return MlModel(
        flavors=file.flavors,
        signature=Signature(inputs=inputs, output=answer, task=task, classes=classes),
        types=types,
        matrix=bool(columns),
        mlflow=file.mlflow_version,
        scores=output.width > 1,
    )


def _plain(content: bytes) -> Any:
    """Return the values of a YAML file, after a look at how they are nested.

    The loader of libyaml calls itself for each level, and ends the process on too many.
    """
    depth = 0
    for event in yaml.parse(content, _SAFE):
        if isinstance(event, yaml.AliasEvent):
            raise _refused(f"its {FILE} cannot be read: it repeats parts by reference")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _refused(f"its {FILE} cannot be read: more than {DEEPEST} levels")
    return yaml.load(content, _SAFE)  # noqa: S506 - a safe loader


def model_class(flavors: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the full name of the class that a flavor names, or nothing."""
    found = (flavor.get("model_class") for flavor in flavors.values())
    return next((name for name in found if isinstance(name, str)), "")


def _specs(text: str) -> list[dict[str, Any]]:
    try:
        return msgspec.convert(json.loads(text), list[dict[str, Any]])
    except (ValueError, RecursionError) as error:
        raise _refused(f"its signature cannot be read: {str(error)[:200]}") from error


def _matrix(specs: list[dict[str, Any]], metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the columns of the one matrix that a model takes, if who logged it named them."""
    names = metadata.get("columns")
    if len(specs) != 1 or specs[0].get("type") != "tensor" or not isinstance(names, list):
        return []
    kind, width = _column(specs[0])
    if width != len(names):
        raise _refused(f"its metadata names {len(names)} columns of a tensor with {width}")
    return [{"name": name, "type": kind} for name in names]


def _inputs(specs: list[dict[str, Any]]) -> tuple[dict[str, str], tuple[Field, ...]]:
    types: dict[str, str] = {}
    fields: list[Field] = []
    problems: list[str] = []
    for spec in specs:
        name, kind, width = spec.get("name"), *_column(spec)
        if not isinstance(name, str):
            problems.append("an input without a name")
        elif kind not in _KINDS or width != 1:
            problems.append(f"the input {name!r} of type {kind!r}")
        elif name in types:
            problems.append(f"two inputs {name!r}")
        else:
            types[name] = kind
            missing = spec.get("required") is False or spec.get("optional") is True
            fields.append(Field(name=name, kind=_KINDS[kind], nullable=missing))
    if problems or not fields:
        listed = ", ".join(problems[:MOST_NAMED]) or "no inputs"
        raise _refused(
            f"its signature has {listed}, where columns of a table are wanted; log what takes one "
            "matrix with metadata={'columns': [...]}"
        )
    return types, tuple(fields)


def _column(spec: Mapping[str, Any]) -> tuple[str, int]:
    """Return the type of a column that the specification means, and how many numbers it holds."""
    if spec.get("type") != "tensor":
        return str(spec.get("type")), 1
    tensor = spec.get("tensor-spec")
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    if not isinstance(tensor, dict) or not isinstance(shape, list) or not 1 <= len(shape) <= 2:
        return f"tensor of {shape}", 0
    dtype = str(tensor.get("dtype"))
    width = shape[1] if len(shape) == 2 else 1
    return _COLUMN_TYPES.get(dtype, dtype), width if isinstance(width, int) else 0


def _output(specs: list[dict[str, Any]]) -> _Output:
    if len(specs) != 1:
        raise _refused(f"its signature has {len(specs)} outputs, where one is the prediction")
    kind, width = _column(specs[0])
    if kind not in _KINDS or kind == "datetime" or width < 1:
        raise _refused(f"its output of type {kind!r} is neither a number nor a label")
    name = specs[0].get("name")
    return _Output(name=name if isinstance(name, str) else "prediction", type=kind, width=width)


def _classes(metadata: Mapping[str, Any], output: _Output) -> tuple[Scalar, ...]:
    """Return the labels that who logged the model named, or those that a truth value has."""
    named = metadata.get("classes")
    if named is None:
        return (False, True) if output.type == "boolean" else ()
    is_list = isinstance(named, list) and all(isinstance(x, str | int | float) for x in named)
    if not is_list or len(set(named)) != len(named) or len(named) < 2:
        raise _refused("the classes in its metadata are no list of different labels")
    if output.width not in (1, len(named)):
        raise _refused(f"it gives {output.width} numbers for {len(named)} classes")
    return tuple(named)


def _task(flavors: Mapping[str, Any], output: _Output, classes: tuple[Scalar, ...]) -> str:
    labels = classes or output.width > 1 or output.type in ("string", "boolean")
    return CLASSIFICATION if labels or model_class(flavors).endswith("Classifier") else REGRESSION


def _output_kind(output: _Output, classes: tuple[Scalar, ...]) -> Kind:
    texts = any(isinstance(label, str) for label in classes)
    return Kind.TEXT if texts else _KINDS[output.type]


def _refused(why: str) -> Invalid:
    return Invalid(
        why,
        hint="Log it again with `signature=infer_signature(X, model.predict(X))`, X being a table "
        "with named columns.",
    )


def versions(model: MlModel) -> Iterator[tuple[str, str]]:
    """Yield the libraries, by the names they are installed under, and their versions."""
    for key, library in _LIBRARIES.items():
        for flavor in model.flavors.values():
            if isinstance(flavor.get(key), str):
                yield library, flavor[key]
    if model.mlflow is not None:
        yield "mlflow", model.mlflow


_LIBRARIES = {
    "sklearn_version": "scikit-learn",
    "xgb_version": "xgboost",
    "lgb_version": "lightgbm",
    "pytorch_version": "torch",
    "keras_version": "keras",
    "cloudpickle_version": "cloudpickle",
}
