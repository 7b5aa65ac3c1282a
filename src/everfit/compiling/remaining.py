"""Converts a predictor on a matrix of numbers with skl2onnx, and takes its graph over."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import skl2onnx
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType

from everfit.compiling.graph import OPSET, Answer, Graph, Table, refuse

# What skl2onnx raises on models it does not know, or on settings of them.
REASONS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
# Its thresholds are rounded to the nearest float32, which moves some rows to the other side.
_ROUNDED = "TreeEnsemble"


def remaining(graph: Graph, model: Any, table: Table) -> Answer:
    """Return the answers of a model that has no conversion of ours; raises NotConvertible."""
    kind = type(model).__qualname__
    if not type(model).__module__.startswith("sklearn."):
        raise refuse(f"{type(model).__module__}.{kind} has no conversion")
    block = graph.numbers(table)
    graph.refuse_missing(block)
    is_classifier = hasattr(model, "classes_")
    options = {id(model): {"zipmap": False}} if is_classifier else None
    logging.getLogger("skl2onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = skl2onnx.convert_sklearn(
                model,
                initial_types=[("x", DoubleTensorType([None, block.width]))],
                target_opset={"": OPSET, "ai.onnx.ml": 3},
                options=options,
            )
    except REASONS as error:
        raise refuse(f"{kind} has no conversion: {_first_line(error)}") from error
    if any(node.op_type.startswith(_ROUNDED) for node in made.graph.node):
        raise refuse(f"{kind} holds trees whose thresholds would be rounded")
    names = graph.take_over(made.graph, block.name)
    if not is_classifier:
        return Answer(values=graph.flat(graph.cast(names[0], TensorProto.DOUBLE)))
    if not hasattr(model, "predict_proba"):
        return Answer(values=_places(graph, names[0], model.classes_))
    return Answer(scores=graph.cast(names[1], TensorProto.DOUBLE))


def _places(graph: Graph, labels: str, classes: Any) -> str:
    """Return the places of labels among the classes."""
    known = np.asarray(classes)
    text = known.dtype.kind in "OU"
    column = graph.node("Reshape", labels, graph.constant([-1, 1], np.int64))
    wanted = graph.constant(known[np.newaxis], object if text else np.int64)
    hit = graph.cast(graph.node("Equal", column, wanted), TensorProto.DOUBLE)
    return graph.places(hit)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[
        :200
    ]
