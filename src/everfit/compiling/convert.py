"""Turns a fitted model into an ONNX model, or says why it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto

from everfit.compiling.composing import answered
from everfit.compiling.graph import (
    Answer,
    Block,
    Column,
    Graph,
    Table,
    finished,
    refuse,
)
from everfit.compiling.layout import KEY, NUMBERS, TEXTS, Layout
from everfit.compiling.networks import is_network, network
from everfit.compiling.remaining import REASONS
from everfit.errors import NotConvertible
from everfit.packages import Adapted, FittedModel, Kind, Signature

# Protobuf's own bound.
MOST_BYTES = (1 << 31) - 1


def compile_model(fitted: FittedModel) -> bytes:
    """Return the model as ONNX, for `CompiledModel`; it answers what ``fitted`` does.

    That is a claim until `prove` has compared the two on rows.

    Raises
    ------
    NotConvertible
        Saying which part of the model has no equal in ONNX.
    """
    try:
        return _compiled(fitted)
    except NotConvertible:
        raise
    except REASONS as error:
        kind = type(fitted.estimator).__qualname__
        raise refuse(f"the {kind} cannot be read: {type(error).__name__}: {error}") from error


def _compiled(fitted: FittedModel) -> bytes:
    estimator, signature = fitted.estimator, fitted.signature
    model, types = _inside(estimator)
    # What pandas hands over for a missing text is NaN, and what Polars does is None.
    graph = Graph(missing=np.nan if isinstance(estimator, Adapted) else None)
    inputs, table = _inputs(signature)
    given = _as_asked(graph, table, types)
    answer = network(graph, model, given) if is_network(model) else answered(graph, model, given)
    outputs = _outputs(graph, answer, fitted)
    dimensions = {name: 2 if kind == "scores" else 1 for kind, name in outputs.items()}
    content = finished(graph, _used(graph, inputs), dimensions)
    layout = Layout(
        numbers=[field.name for field in signature.inputs if field.kind is not Kind.TEXT],
        texts=[field.name for field in signature.inputs if field.kind is Kind.TEXT],
        words=graph.words,
        at_once=graph.at_once,
        **outputs,
    )
    entry = content.metadata_props.add()
    entry.key, entry.value = KEY, msgspec.json.encode(layout).decode()
    return _written(content)


def _written(content: onnx.ModelProto) -> bytes:
    size = content.ByteSize()
    if size > MOST_BYTES:
        raise refuse(f"it would have {size:,} bytes, more than a file of ONNX holds")
    written: bytes = content.SerializeToString(deterministic=True)
    return written


def _inside(estimator: Any) -> tuple[Any, Mapping[str, str]]:
    """Return the model itself, and MLflow's types of its inputs where they are narrower."""
    if isinstance(estimator, Adapted):
        return estimator.model, estimator.types
    return estimator, {}


def _inputs(signature: Signature) -> tuple[list[Block], Table]:
    kinds = [field.kind for field in signature.inputs]
    if Kind.TIME in kinds:
        raise refuse("it takes times")
    texts = sum(kind is Kind.TEXT for kind in kinds)
    numbers = Block(name=NUMBERS, width=len(kinds) - texts)
    words = Block(name=TEXTS, width=texts, text=True)
    places = {False: 0, True: 0}
    table = []
    for field in signature.inputs:
        text = field.kind is Kind.TEXT
        block = words if text else numbers
        table.append(Column(block=block, index=places[text], source=field.name))
        places[text] += 1
    return [block for block in (numbers, words) if block.width], tuple(table)


def _as_asked(graph: Graph, table: Table, types: Mapping[str, str]) -> Table:
    """Round the columns that the model is given in float32."""
    narrow = [column for column in table if types.get(str(column.source)) == "float"]
    if not narrow:
        return table
    small = graph.cast(graph.numbers(tuple(narrow)).name, TensorProto.FLOAT)
    block = Block(name=graph.cast(small, TensorProto.DOUBLE), width=len(narrow))
    found = {
        column.source: Column(block=block, index=place, source=column.source)
        for place, column in enumerate(narrow)
    }
    return tuple(found.get(column.source, column) for column in table)


def _used(graph: Graph, inputs: list[Block]) -> list[Block]:
    taken = {name for node in graph.nodes for name in node.input}
    counted = [Block(name=name, width=len(how["words"])) for _, name, how in graph.words]
    return [block for block in [*inputs, *counted] if block.name in taken]


def _outputs(graph: Graph, answer: Answer, fitted: FittedModel) -> dict[str, str]:
    """Return the names of what is asked for, by field of `Layout`."""
    found: dict[str, str] = {}
    has_scores = fitted.signature.task == "classification" and hasattr(
        fitted.estimator, "predict_proba"
    )
    if has_scores:
        if answer.scores is None:
            raise refuse("its probabilities have no conversion")
        found["scores"] = graph.poisoned(answer.scores, matrix=True)
    values = answer.values
    if values is not None:
        if fitted.signature.task == "classification" and not hasattr(fitted.estimator, "classes_"):
            values = _places(graph, values, fitted.signature)
        found["values"] = graph.poisoned(values, matrix=False)
    elif not has_scores:
        if fitted.signature.task != "classification" or answer.scores is None:
            raise refuse("it answers scores where values are asked for")
        found["values"] = graph.poisoned(graph.places(answer.scores), matrix=False)
    return found


def _places(graph: Graph, values: str, signature: Signature) -> str:
    """Return the places among the classes of answers that are the labels themselves."""
    if not all(isinstance(label, int | float) for label in signature.classes):
        raise refuse("it answers numbers for labels that are texts")
    wide = graph.node("Unsqueeze", values, graph.constant([1], np.int64))
    hit = graph.node("Equal", wide, graph.constant([signature.classes]))
    return graph.places(graph.cast(hit, TensorProto.DOUBLE))
