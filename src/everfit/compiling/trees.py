"""Trees as arrays, and the one node that walks all of them.

Thresholds and leaves stay as exact as the model's own: float64 where it compares and sums in
float64, float32 where it does in float32. The leaves are added in the order of the trees, so that
even the last bit of a sum, and with it a tie between classes, is the native one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from everfit.compiling.graph import TREES, Block, Graph, tensor

LEQ, LT = 0, 1
FLOAT, DOUBLE, INT64 = (
    int(kind) for kind in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64)
)
SUM = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """One tree, each array of shape (nodes,): children, splits, and what the leaves weigh.

    ``left`` is taken if the value of ``feature`` is at most, or below, ``threshold``, and on a
    missing value where ``missing_left``. ``target`` says which sum the weights are added to.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    leaf: NDArray[np.bool_]
    feature: NDArray[np.int64]
    threshold: NDArray[np.floating[Any]]
    missing_left: NDArray[np.bool_]
    values: NDArray[np.floating[Any]]
    target: int = 0


def constant_tree(value: float, target: int = 0, dtype: Any = np.float64) -> Tree:
    """Return a tree of one leaf: what the sum begins with."""
    nothing = np.zeros(1, dtype=np.int64)
    return Tree(
        left=nothing,
        right=nothing,
        leaf=np.ones(1, dtype=bool),
        feature=nothing,
        threshold=np.zeros(1, dtype=dtype),
        missing_left=np.zeros(1, dtype=bool),
        values=np.array([value], dtype=dtype),
        target=target,
    )


def sklearn_tree(model: Any, values: NDArray[np.float64], target: int = 0) -> Tree:
    """Return scikit-learn's ``Tree`` with ``values`` for its nodes."""
    left = np.asarray(model.children_left, dtype=np.int64)
    return Tree(
        left=left,
        right=np.asarray(model.children_right, dtype=np.int64),
        leaf=left < 0,
        feature=np.maximum(np.asarray(model.feature, dtype=np.int64), 0),
        threshold=np.asarray(model.threshold, dtype=np.float64),
        missing_left=np.asarray(model.missing_go_to_left).astype(bool),
        values=values,
        target=target,
    )


def walk(
    graph: Graph, name: str, trees: Sequence[Tree], targets: int, *, below: bool = False
) -> str:
    """Add the node that sums the leaves of all trees, shape (rows, targets).

    ``below`` makes a value equal to a threshold go right. The type of the values in ``name``, of
    thresholds and of weights must be one.
    """
    placed = _placed([tree if not tree.leaf[0] else _stump(tree) for tree in trees])
    return graph.node(
        "TreeEnsemble",
        name,
        domain=TREES,
        aggregate_function=SUM,
        post_transform=0,
        n_targets=targets,
        nodes_modes=tensor(np.full(len(placed["nodes_splits"]), LT if below else LEQ, np.uint8)),
        **{
            key: value if isinstance(value, list) else tensor(value)
            for key, value in placed.items()
        },
    )


def _stump(tree: Tree) -> Tree:
    """Return a tree of one leaf as a node both of whose ways lead to that leaf."""
    ones = np.array([1, 1])
    return Tree(
        left=ones,
        right=ones,
        leaf=np.array([False, True]),
        feature=np.zeros(2, dtype=np.int64),
        threshold=np.zeros(2, dtype=tree.threshold.dtype),
        missing_left=np.zeros(2, dtype=bool),
        values=np.repeat(tree.values, 2),
        target=tree.target,
    )


def _placed(trees: Sequence[Tree]) -> dict[str, Any]:
    """Return the attributes of the node, inner nodes and leaves numbered through all trees."""
    gathered: dict[str, list[Any]] = {name: [] for name in _INTS + _TENSORS}
    roots, inner_before, leaves_before = [], 0, 0
    for tree in trees:
        inner, leaves = np.flatnonzero(~tree.leaf), np.flatnonzero(tree.leaf)
        number = np.where(tree.leaf, np.cumsum(tree.leaf) - 1 + leaves_before, 0)
        number[inner] = np.arange(len(inner)) + inner_before
        left, right = tree.left[inner], tree.right[inner]
        gathered["nodes_featureids"].append(tree.feature[inner])
        gathered["nodes_splits"].append(tree.threshold[inner])
        gathered["nodes_missing_value_tracks_true"].append(tree.missing_left[inner])
        gathered["nodes_truenodeids"].append(number[left])
        gathered["nodes_falsenodeids"].append(number[right])
        gathered["nodes_trueleafs"].append(tree.leaf[left])
        gathered["nodes_falseleafs"].append(tree.leaf[right])
        gathered["leaf_weights"].append(tree.values[leaves])
        gathered["leaf_targetids"].append(np.full(len(leaves), tree.target))
        roots.append(inner_before)
        inner_before, leaves_before = inner_before + len(inner), leaves_before + len(leaves)
    placed: dict[str, Any] = {name: np.concatenate(gathered[name]) for name in _TENSORS}
    placed |= {name: np.concatenate(gathered[name]).astype(int).tolist() for name in _INTS}
    return {**placed, "tree_roots": roots}


_INTS = (
    "nodes_featureids",
    "nodes_missing_value_tracks_true",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_trueleafs",
    "nodes_falseleafs",
    "leaf_targetids",
)
_TENSORS = ("nodes_splits", "leaf_weights")


def walk_rows(graph: Graph, name: str, trees: Sequence[Tree], rows: NDArray[np.float64]) -> str:
    """Return the sum, over the trees, of the row that each one's leaf names, shape (rows, width).

    The weights of the trees are places in ``rows``. A walk finds one weight for each tree, so
    what is summed is looked up after it, and added up in the order of the trees.
    """
    parts = []
    for group in _groups(trees):
        apart = [replace(tree, target=place) for place, tree in enumerate(group)]
        parts.append(walk(graph, name, apart, len(apart)))
    weights = parts[0] if len(parts) == 1 else graph.node("Concat", *parts, axis=1)
    found = graph.node("Gather", graph.constant(rows), graph.cast(weights, INT64), axis=0)
    # Another sum may add in pairs, and so break a tie that the native one leaves.
    sums = graph.node("CumSum", found, graph.constant(1, np.int64))
    return graph.node("Gather", sums, graph.constant(len(trees) - 1, np.int64), axis=1)


# About 1.5 MB: what fits into a core's own cache. One node walks each row through all of its
# trees, so that many rows through larger ones wait for the memory.
GROUP_NODES = 1 << 16


def is_large(trees: Sequence[Tree]) -> bool:
    """Return whether the trees are walked in several groups."""
    return sum(len(tree.leaf) for tree in trees) > GROUP_NODES


def _groups(trees: Sequence[Tree]) -> Iterator[list[Tree]]:
    group: list[Tree] = []
    nodes = 0
    for tree in trees:
        if group and nodes + len(tree.leaf) > GROUP_NODES:
            yield group
            group, nodes = [], 0
        group.append(tree)
        nodes += len(tree.leaf)
    yield group


def rounded(graph: Graph, block: Block, *, infinite: bool = False) -> Block:
    """Return the numbers as float32 rounds them, still in float64; refuses too large ones."""
    small = graph.cast(block.name, FLOAT)
    if not infinite:
        graph.refuse_rows(graph.node("IsInf", small))
    return Block(name=graph.cast(small, DOUBLE), width=block.width)
