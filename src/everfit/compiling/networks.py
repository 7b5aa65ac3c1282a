"""Converts networks of PyTorch and Keras through torch's own exporter."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from importlib.util import find_spec
from typing import Any

import onnx
from onnx import TensorProto

from everfit.compiling.graph import OPSET, Answer, Graph, Table, refuse
from everfit.packages import ScoreTable


def is_network(model: Any) -> bool:
    """Return whether ``model`` is a network of torch, or of Keras on torch, as MLflow opens it."""
    inner = model.model if isinstance(model, ScoreTable) else model
    return hasattr(inner, "get_raw_model") and _module(inner) is not None


def _module(opened: Any) -> Any:
    torch: Any = sys.modules.get("torch")
    raw = opened.get_raw_model()
    return raw if torch is not None and isinstance(raw, torch.nn.Module) else None


def network(graph: Graph, model: Any, table: Table) -> Answer:
    """Return the answers of a network on its inputs as one matrix in float32."""
    scores = isinstance(model, ScoreTable)
    module = _module(model.model if scores else model)
    block = graph.numbers(table)
    made = _exported(module, block.width)
    names = graph.take_over(made.graph, graph.cast(block.name, TensorProto.FLOAT))
    # Its activations need not carry a NaN on, and native ones do.
    graph.refuse_missing(block)
    answer = graph.cast(names[0], TensorProto.DOUBLE)
    return Answer(scores=answer) if scores else Answer(values=graph.flat(answer))


def _exported(module: Any, width: int) -> onnx.ModelProto:
    torch: Any = sys.modules["torch"]
    if find_spec("onnxscript") is None:
        raise refuse("torch exports networks with a package: pip install 'everfit[networks]'")
    was_training = module.training
    module.eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            # Two rows: a single one passes for a constant of the network.
            program = torch.onnx.export(
                # Keras hides behind any arguments what a sequence of one says: one matrix.
                torch.nn.Sequential(module),
                (torch.zeros(2, width),),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim("rows")},),
                verbose=False,
            )
        content = io.BytesIO()
        program.save(content)
    except torch.onnx.errors.OnnxExporterError as error:
        said = str(error).strip().splitlines()
        raise refuse(f"torch cannot export it: {said[0] if said else error}") from error
    finally:
        module.train(was_training)
    return onnx.load_model_from_string(content.getvalue())
