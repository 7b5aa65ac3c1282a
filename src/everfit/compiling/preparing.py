"""Converts what prepares columns: imputers, scalers, bins, projections."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
from onnx import TensorProto

from everfit.compiling.graph import Block, Graph, Table, columns_of, refuse
from everfit.compiling.layout import MISSING


def scale(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``StandardScaler`` and ``RobustScaler``: subtract, then divide."""
    block = graph.numbers(table)
    centre = getattr(model, "mean_", None) if hasattr(model, "mean_") else model.center_
    name = block.name
    if centre is not None and getattr(model, "with_mean", getattr(model, "with_centering", True)):
        name = graph.node("Sub", name, graph.constant(centre))
    if model.scale_ is not None:
        name = graph.node("Div", name, graph.constant(model.scale_))
    return columns_of(Block(name=name, width=block.width))


def stretch(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``MinMaxScaler``."""
    block = graph.numbers(table)
    name = graph.node("Mul", block.name, graph.constant(model.scale_))
    name = graph.node("Add", name, graph.constant(model.min_))
    if model.clip:
        low, high = (graph.constant(float(edge)) for edge in model.feature_range)
        name = graph.node("Clip", name, low, high)
    return columns_of(Block(name=name, width=block.width))


def shrink(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``MaxAbsScaler``."""
    block = graph.numbers(table)
    name = graph.node("Div", block.name, graph.constant(model.scale_))
    return columns_of(Block(name=name, width=block.width))


def normalize(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``Normalizer``; rows of zeros stay as they are."""
    block = graph.numbers(table)
    size = graph.node("Abs", block.name)
    axis = graph.constant([1], np.int64)
    if model.norm == "l2":
        squares = graph.node("Mul", block.name, block.name)
        size = graph.node("Sqrt", graph.node("ReduceSum", squares, axis, keepdims=1))
    else:
        kind = {"l1": "ReduceSum", "max": "ReduceMax"}[model.norm]
        size = graph.node(kind, size, axis, keepdims=1)
    is_zero = graph.node("Equal", size, graph.constant(0.0))
    size = graph.node("Where", is_zero, graph.constant(1.0), size)
    return columns_of(Block(name=graph.node("Div", block.name, size), width=block.width))


def impute(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``SimpleImputer`` of numbers or of texts, with its indicators."""
    if len({column.text for column in table}) > 1:
        raise refuse("an imputer takes texts and numbers together")
    block = graph.matrix(table)
    gone = (
        _missing_texts(graph, model, block) if block.text else _missing_numbers(graph, model, block)
    )
    statistics = np.asarray(model.statistics_, dtype=object)
    kept = np.array([not _is_nan(value) for value in statistics], dtype=bool)
    if not kept.all() and not model.keep_empty_features:
        raise refuse("an imputer drops columns without any value")
    fill = graph.constant(statistics, object if block.text else np.float64)
    filled = Block(
        name=graph.node("Where", gone, fill, block.name), width=block.width, text=block.text
    )
    found = columns_of(filled)
    if model.indicator_ is None:
        return found
    if block.text:
        raise refuse("an imputer of texts adds indicators")
    return found + _indicators(graph, model.indicator_, gone)


def _indicators(graph: Graph, indicator: Any, gone: str) -> Table:
    features = np.asarray(indicator.features_)
    if not len(features):
        return ()
    flags = graph.node("Gather", gone, graph.constant(features, np.int64), axis=1)
    return columns_of(Block(name=graph.cast(flags, TensorProto.DOUBLE), width=len(features)))


def _missing_numbers(graph: Graph, model: Any, block: Block) -> str:
    if _is_nan(model.missing_values):
        return graph.node("IsNaN", block.name)
    if isinstance(model.missing_values, int | float):
        # scikit-learn then refuses a NaN.
        graph.refuse_missing(block)
        return graph.node("Equal", block.name, graph.constant(float(model.missing_values)))
    raise refuse(f"an imputer of numbers takes {model.missing_values!r} for missing")


def _missing_texts(graph: Graph, model: Any, block: Block) -> str:
    mark = model.missing_values
    if isinstance(mark, str):
        sought = mark
    elif (mark is None) == (graph.missing is None):
        sought = MISSING
    else:
        raise refuse(f"an imputer takes {mark!r} for missing, and its texts {graph.missing!r}")
    return graph.node("Equal", block.name, graph.constant([sought], object))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def bins(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``KBinsDiscretizer``: a value equal to an edge belongs to the bin above it."""
    block = graph.numbers(table)
    graph.refuse_missing(block)
    edges = [np.asarray(column)[1:-1] for column in model.bin_edges_]
    widest = max((len(column) for column in edges), default=0)
    padded = np.full((block.width, widest), np.inf)
    for place, column in enumerate(edges):
        padded[place, : len(column)] = column
    values = graph.node("Unsqueeze", block.name, graph.constant([2], np.int64))
    above = graph.node("GreaterOrEqual", values, graph.constant(padded))
    numbers = graph.sum(graph.cast(above, TensorProto.DOUBLE), axis=2)
    if model.encode == "ordinal":
        return columns_of(Block(name=numbers, width=block.width))
    return one_hot(graph, numbers, np.asarray(model.n_bins_))


def one_hot(graph: Graph, places: str, widths: Any) -> Table:
    """Return one column of 0 and 1 for each place that a column of ``places`` can hold."""
    owners = np.repeat(np.arange(len(widths)), widths)
    wanted = np.concatenate([np.arange(width) for width in widths])
    spread = graph.node("Gather", places, graph.constant(owners, np.int64), axis=1)
    hit = graph.node("Equal", spread, graph.constant(wanted[np.newaxis]))
    return columns_of(Block(name=graph.cast(hit, TensorProto.DOUBLE), width=len(wanted)))


def project(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``PCA`` and ``TruncatedSVD``."""
    block = graph.numbers(table)
    graph.refuse_missing(block)
    name, turned = block.name, np.asarray(model.components_, dtype=np.float64).T
    if getattr(model, "whiten", False):
        deviations = np.sqrt(model.explained_variance_)
        turned = turned / np.maximum(deviations, np.finfo(np.float64).eps)
    mean = getattr(model, "mean_", None)
    offset = np.zeros(turned.shape[1]) if mean is None else -(np.asarray(mean) @ turned)
    return columns_of(Block(name=graph.affine(name, turned, offset), width=turned.shape[1]))


def polynomials(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``PolynomialFeatures``: products of powers, by its table of them."""
    block = graph.numbers(table)
    graph.refuse_missing(block)
    powers = np.asarray(model.powers_)
    one = graph.node(
        "Add",
        graph.node("Mul", graph.sum(block.name, keep=True), graph.constant(0.0)),
        graph.constant(1.0),
    )
    padded = graph.node("Concat", block.name, one, axis=1)
    degree = int(powers.sum(axis=1).max())
    picks = np.full((len(powers), degree), block.width)
    for row, exponents in enumerate(powers):
        chosen = np.repeat(np.arange(block.width), exponents)
        picks[row, : len(chosen)] = chosen
    factors = graph.node("Gather", padded, graph.constant(picks, np.int64), axis=1)
    name = graph.node("ReduceProd", factors, graph.constant([2], np.int64), keepdims=0)
    return columns_of(Block(name=name, width=len(powers)))


def select(graph: Graph, model: Any, table: Table) -> Table:
    """Convert what keeps some of the columns: ``SelectKBest``, ``VarianceThreshold`` and such."""
    kept = model.get_support()
    return tuple(column for column, keep in zip(table, kept, strict=True) if keep)


def landmarks(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``Nystroem``: likeness to its landmark rows, then a projection."""
    block = graph.numbers(table)
    likeness = attrgetter("kernel")(model)
    settings = {"gamma": model.gamma, "degree": model.degree, "coef0": model.coef0}
    alike = kernel(graph, block, model.components_, likeness, settings)
    turned = np.asarray(model.normalization_).T
    name = graph.affine(alike, turned, np.zeros(turned.shape[1]))
    return columns_of(Block(name=name, width=turned.shape[1]))


def kernel(graph: Graph, block: Block, points: Any, kind: Any, settings: dict[str, Any]) -> str:
    """Return the likeness of rows to ``points``, shape (rows, points)."""
    points = np.asarray(points, dtype=np.float64)
    gamma = settings.get("gamma")
    gamma = 1.0 / points.shape[1] if gamma is None else float(gamma)
    if kind == "rbf":
        far = squared_distances(graph, block, points)
        return graph.node("Exp", graph.node("Mul", far, graph.constant(-gamma)))
    product = graph.affine(block.name, points.T, np.zeros(len(points)))
    if kind == "linear":
        return product
    if kind not in ("poly", "polynomial", "sigmoid"):
        raise refuse(f"it has the kernel {kind!r}")
    shift = settings.get("coef0")
    shift = 1.0 if shift is None else float(shift)
    moved = graph.node("Mul", product, graph.constant(gamma))
    moved = graph.node("Add", moved, graph.constant(shift))
    if kind == "sigmoid":
        return graph.node("Tanh", moved)
    degree = settings.get("degree")
    return graph.node("Pow", moved, graph.constant(3.0 if degree is None else float(degree)))


# 64 MB of differences at once.
MOST_DIFFERENCES = 8_000_000


def differences(graph: Graph, block: Block, points: Any) -> str:
    """Return rows minus points, shape (rows, points, columns), and bound the rows of one run."""
    points = np.asarray(points, dtype=np.float64)
    graph.refuse_missing(block)
    graph.at_once = max(1, min(graph.at_once, MOST_DIFFERENCES // max(points.size, 1)))
    spread = graph.node("Unsqueeze", block.name, graph.constant([1], np.int64))
    return graph.node("Sub", spread, graph.constant(points[np.newaxis]))


def squared_distances(graph: Graph, block: Block, points: Any) -> str:
    """Return squared distances of rows to ``points``: of differences, so that none is lost."""
    apart = differences(graph, block, points)
    return graph.sum(graph.node("Mul", apart, apart), axis=2)
