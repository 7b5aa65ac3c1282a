"""Builds an ONNX graph node by node: matrices of rows, and tables of columns out of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from everfit.errors import NotConvertible

OPSET = 21
TREE_OPSET = 5
FORMAT = 10
TREES = "ai.onnx.ml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One matrix in the graph, shape (rows, width): numbers in float64, or texts."""

    name: str
    width: int
    text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a block. ``source`` is the name of the input that it is, if it is one."""

    block: Block
    index: int
    source: str | None = None

    @property
    def text(self) -> bool:
        """Return whether it holds texts."""
        return self.block.text


Table = tuple[Column, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Names of what a model answers in the graph.

    ``scores`` are probabilities, shape (rows, classes); ``values`` numbers, clusters or places
    of classes, shape (rows,); ``margins`` are distances to the decision, where calibration or a
    threshold asks for them.
    """

    scores: str | None = None
    values: str | None = None
    margins: str | None = None


def refuse(what: str) -> NotConvertible:
    """Return the error that says what cannot be converted."""
    return NotConvertible(what, hint="Nothing is lost: the model serves natively.")


def columns_of(block: Block) -> Table:
    """Return a block as a table."""
    return tuple(Column(block=block, index=index) for index in range(block.width))


@dataclass(slots=True, kw_only=True, eq=False)
class Graph:
    """A graph under construction.

    ``poisons`` name vectors, shape (rows,), that are 0 where the native model answers and NaN
    where it refuses; they are added to every answer, so that a refusal stays one. ``missing`` is
    what stands for a missing text in the rows of the native model: None or NaN. ``at_once`` is
    the most rows that one run may hold, for the sake of memory. ``words`` are the counted words
    that are asked for beside the inputs: a column, and how its texts are taken apart.
    """

    missing: float | None = None
    at_once: int = 1 << 20
    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    poisons: list[str] = field(default_factory=list)
    words: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    opset: int = OPSET
    _made: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output; the same node is made once."""
        key = (kind, domain, inputs, str(attributes) if _are_small(attributes) else len(self.nodes))
        if key not in self._made:
            output = f"v{len(self.nodes)}"
            made = helper.make_node(kind, list(inputs), [output], domain=domain, **attributes)
            self.nodes.append(made)
            self._made[key] = output
        return self._made[key]

    def outputs(self, kind: str, *inputs: str, count: int) -> list[str]:
        """Add a node with several outputs and return their names."""
        names = [f"v{len(self.nodes)}_{place}" for place in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names))
        return names

    def constant(self, values: Any, dtype: Any = np.float64) -> str:
        """Add a constant and return its name; the same constant is kept once."""
        array = np.ascontiguousarray(np.asarray(values, dtype=dtype))
        array = array.reshape(np.shape(values))
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        if key not in self._made:
            name = f"c{len(self.tensors)}"
            self.tensors.append(numpy_helper.from_array(array, name))
            self._made[key] = name
        return self._made[key]

    def take_over(self, other: Any, given: str) -> list[str]:
        """Add the nodes of another graph of one input, asked with ``given``; return its outputs."""
        prefix = f"g{len(self.nodes)}_"
        renamed = {other.input[0].name: given}
        for kept in other.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(kept)
            copy.name = renamed[kept.name] = prefix + kept.name
            self.tensors.append(copy)
        for node in other.node:
            made = onnx.NodeProto()
            made.CopyFrom(node)
            for place, name in enumerate(node.input):
                made.input[place] = renamed.get(name, prefix + name) if name else ""
            for place, name in enumerate(node.output):
                made.output[place] = prefix + name if name else ""
            made.name = ""
            self.nodes.append(made)
        return [renamed.get(output.name, prefix + output.name) for output in other.output]

    def matrix(self, table: Table) -> Block:
        """Return the columns of ``table`` as one block; raises NotConvertible on a mixture."""
        if not table:
            raise refuse("a step of it takes no columns")
        kinds = {column.text for column in table}
        if len(kinds) > 1:
            raise refuse("a step of it takes texts and numbers as one matrix")
        parts = [
            self._part(block, [column.index for column in group])
            for block, group in groupby(table, key=lambda column: column.block)
        ]
        name = parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=1)
        return Block(name=name, width=len(table), text=kinds.pop())

    def numbers(self, table: Table) -> Block:
        """Return the columns of ``table`` as one block of numbers; refuses texts."""
        block = self.matrix(table)
        if block.text:
            raise refuse("a step of it takes texts where numbers are wanted")
        return block

    def _part(self, block: Block, places: Sequence[int]) -> str:
        if list(places) == list(range(block.width)):
            return block.name
        return self.node("Gather", block.name, self.constant(places, np.int64), axis=1)

    def affine(self, block: str, factors: Any, offsets: Any) -> str:
        """Return ``block @ factors + offsets``."""
        return self.node("Gemm", block, self.constant(factors), self.constant(offsets))

    def sigmoid(self, name: str) -> str:
        """Return ``1 / (1 + exp(-x))``: ONNX Runtime's own gives 0 for a small chance."""
        odds = self.node("Exp", self.node("Neg", name))
        one = self.constant(1.0)
        return self.node("Div", one, self.node("Add", one, odds))

    def pair(self, chance: str) -> str:
        """Return the scores of both classes from that of the second, shape (rows, 1)."""
        return self.node("Concat", self.node("Sub", self.constant([[1.0]]), chance), chance, axis=1)

    def sum(self, name: str, axis: int = 1, *, keep: bool = False) -> str:
        """Return sums along an axis."""
        return self.node("ReduceSum", name, self.constant([axis], np.int64), keepdims=int(keep))

    def cast(self, name: str, kind: int) -> str:
        """Return the same values in another type."""
        return self.node("Cast", name, to=kind)

    def refuse_rows(self, where: str) -> None:
        """Refuse the rows in which a matrix of booleans holds a true."""
        bad = self.node("Where", where, self.constant(np.nan), self.constant(0.0))
        self.poisons.append(self.sum(bad))

    def refuse_missing(self, block: Block) -> None:
        """Refuse the rows that lack a number."""
        if ("finite", block.name) not in self._made:
            self._made[("finite", block.name)] = ""
            self.poisons.append(self.sum(self.node("Sub", block.name, block.name)))

    def flat(self, name: str) -> str:
        """Return a matrix of one column as a vector."""
        return self.node("Reshape", name, self.constant([-1], np.int64))

    def places(self, name: str, *, least: bool = False) -> str:
        """Return the place of the largest, or least, value in each row, as float64."""
        found = self.node("ArgMin" if least else "ArgMax", name, axis=1, keepdims=0)
        return self.cast(found, TensorProto.DOUBLE)

    def poisoned(self, name: str, *, matrix: bool) -> str:
        """Return an answer that is NaN wherever the native model refuses."""
        for poison in dict.fromkeys(self.poisons):
            shaped = poison
            if matrix:
                shaped = self.node("Unsqueeze", poison, self.constant([1], np.int64))
            name = self.node("Add", name, shaped)
        return name


def _are_small(attributes: dict[str, Any]) -> bool:
    return all(isinstance(value, int | float | str) for value in attributes.values())


def tensor(values: NDArray[Any]) -> Any:
    """Return an array as the value of an attribute."""
    return numpy_helper.from_array(np.ascontiguousarray(values))


def finished(graph: Graph, inputs: Sequence[Block], outputs: dict[str, int]) -> onnx.ModelProto:
    """Return the whole model; ``outputs`` are names with their numbers of dimensions."""
    given = [
        helper.make_tensor_value_info(
            block.name,
            TensorProto.STRING if block.text else TensorProto.DOUBLE,
            [None, block.width],
        )
        for block in inputs
    ]
    answers = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None] * dimensions)
        for name, dimensions in outputs.items()
    ]
    body = helper.make_graph(graph.nodes, "everfit", given, answers, graph.tensors)
    versions = [helper.make_opsetid("", graph.opset), helper.make_opsetid(TREES, TREE_OPSET)]
    return helper.make_model(body, opset_imports=versions, ir_version=FORMAT)
