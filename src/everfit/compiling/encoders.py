"""Converts encoders of categories by asking them: every category, a missing one, an unknown one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everfit.compiling.graph import (
    TREES,
    Block,
    Column,
    Graph,
    Table,
    columns_of,
    tensor,
)
from everfit.compiling.layout import MISSING
from everfit.compiling.preparing import one_hot

UNKNOWN = "\ue000unknown"
REFUSED = float(np.finfo(np.float64).min)
"""The place of a value that the encoder refuses."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoding:
    """What an encoder makes of one column: ``answers`` by key, then of an unknown value."""

    keys: list[Any]
    answers: NDArray[np.float64]


def hot(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``OneHotEncoder``, with infrequent, dropped, missing and unknown categories."""
    widths = np.asarray(attrgetter("_n_features_outs")(model))
    starts = np.concatenate([[0], np.cumsum(widths)])

    def place(row: NDArray[np.float64], column: int) -> float:
        part = row[starts[column] : starts[column + 1]]
        return float(part.argmax()) if part.any() else -1.0

    return one_hot(graph, _encoded(graph, model, table, place), widths)


def ordinal(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``OrdinalEncoder``, with infrequent, missing and unknown categories."""

    def place(row: NDArray[np.float64], column: int) -> float:
        return float(row[column])

    name = _encoded(graph, model, table, place)
    return columns_of(Block(name=name, width=len(table)))


Place = Callable[[NDArray[np.float64], int], float]


def _encoded(graph: Graph, model: Any, table: Table, place: Place) -> str:
    """Return the number of each value, shape (rows, columns); refused ones poison their row."""
    encodings = [_asked(graph, model, table, place, index) for index in range(len(table))]
    parts, order = [], []
    for text in (True, False):
        chosen = [index for index, column in enumerate(table) if column.text is text]
        if chosen:
            block = graph.matrix(tuple(table[index] for index in chosen))
            parts.append(_looked_up(graph, block, [encodings[index] for index in chosen]))
            order += chosen
    name = parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)
    if order != sorted(order):
        back = np.argsort(order)
        name = graph.node("Gather", name, graph.constant(back, np.int64), axis=1)
    if any((encoding.answers == REFUSED).any() for encoding in encodings):
        graph.refuse_rows(graph.node("Equal", name, graph.constant(REFUSED)))
    return name


def _asked(graph: Graph, model: Any, table: Table, place: Place, index: int) -> Encoding:
    text = table[index].text
    known = [value for value in model.categories_[index] if not _is_missing(value)]
    keys = [str(value) if text else float(value) for value in known]
    tried = [*known, graph.missing if text else np.nan, _unknown(known, table[index])]
    answers = [_answer(model, value, place, index) for value in tried]
    missing_key = MISSING if text else np.nan
    return Encoding(keys=[*keys, missing_key], answers=np.array(answers))


def _unknown(known: list[Any], column: Column) -> Any:
    if column.text:
        return UNKNOWN
    return max((float(value) for value in known), default=0.0) + 1.0


def _answer(model: Any, value: Any, place: Place, index: int) -> float:
    """Return what the encoder makes of one value; others in the row are ones it knows."""
    row = [next((v for v in c if not _is_missing(v)), c[0]) for c in model.categories_]
    row[index] = value
    numbers = all(np.asarray(column).dtype.kind in "iuf" for column in model.categories_)
    rows = np.empty((1, len(row)), dtype=np.float64 if numbers else object)
    rows[0] = row
    try:
        with warnings.catch_warnings():
            # They tell of names that an array has not, and of categories it does not know.
            warnings.simplefilter("ignore")
            found = model.transform(rows)
    except (ValueError, TypeError):
        return REFUSED
    dense = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    return place(np.asarray(dense, dtype=np.float64)[0], index)


def _looked_up(graph: Graph, block: Block, encodings: list[Encoding]) -> str:
    """Look up all columns at once: first what the value is, then what its column makes of it."""
    every = list(dict.fromkeys(key for e in encodings for key in e.keys if not _is_missing(key)))
    keys = every if block.text else [*every, np.nan]
    number = {key: place for place, key in enumerate(every)}
    answers = np.empty((len(encodings), len(keys) + 1))
    for row, encoding in zip(answers, encodings, strict=True):
        row[:] = encoding.answers[-1]
        for key, answer in zip(encoding.keys, encoding.answers, strict=False):
            row[number.get(key, len(every))] = answer
    codes = graph.node(
        "LabelEncoder",
        block.name,
        domain=TREES,
        keys_tensor=tensor(np.array(keys, dtype=object if block.text else np.float64)),
        values_tensor=tensor(np.arange(len(keys))),
        default_tensor=tensor(np.array([len(keys)])),
    )
    starts = np.arange(len(encodings)) * (len(keys) + 1)
    if len(encodings) > 1:
        codes = graph.node("Add", codes, graph.constant(starts, np.int64))
    return graph.node("Gather", graph.constant(answers.ravel()), codes, axis=0)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
