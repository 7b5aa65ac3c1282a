"""scikit-learn's trees, forests and boosting, read into exact TreeSHAP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everfit.explaining.additive import DOUBLE, by_class, margin
from everfit.explaining.model import Method, Output
from everfit.explaining.trace import kinds
from everfit.measures.tree_shapley import LEAF, Forest, Tree, forest

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SINGLE_TREES = frozenset({"DecisionTreeClassifier", "DecisionTreeRegressor"})
FORESTS = frozenset({"ForestClassifier", "ForestRegressor"})
BOOSTINGS = frozenset({"GradientBoostingClassifier", "GradientBoostingRegressor"})
HISTOGRAMS = frozenset({"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grown:
    """Trees of scikit-learn's; ``offset`` is what a boosting starts from, shape ``(outputs,)``."""

    forest: Forest
    offset: Floats
    output: Output
    single: bool
    method: Method = Method.TREES
    tolerance: float = DOUBLE

    def contributions(self, rows: Floats, chosen: Integers) -> tuple[Floats, Floats]:
        """Return bases and contributions."""
        base = self.forest.base + self.offset
        return base[chosen], self.forest.contributions(_seen(rows, single=self.single), chosen)


def grown(last: Any, rows: Floats, *, classes: int) -> Grown | None:
    """Return exact TreeSHAP for a model of scikit-learn's trees; None for any other.

    ``rows`` are encoded background rows, one at least; ``classes`` is 0 in a regression.
    """
    found = kinds(last)
    for names, build in BUILDERS.items():
        if names & found:
            return build(last, rows, classes)
    return None


def _seen(rows: Floats, *, single: bool) -> Floats:
    """Return rows as the trees see them: most of scikit-learn's compare in single precision."""
    return rows.astype(np.float32).astype(np.float64) if single else rows


def _single(last: Any, rows: Floats, classes: int) -> Grown | None:
    return _averaged([last], rows, classes)


def _forest(last: Any, rows: Floats, classes: int) -> Grown | None:
    return _averaged(last.estimators_, rows, classes)


def _averaged(models: Any, rows: Floats, classes: int) -> Grown | None:
    """Return trees whose answers are averaged: values, or shares of classes."""
    if any(model.tree_.value.shape[1] != 1 for model in models):
        return None  # Several targets at once.
    trees = [_tree(model.tree_, model.tree_.value[:, 0, :] / len(models)) for model in models]
    return Grown(
        forest=forest(trees, columns=rows.shape[1]),
        offset=np.zeros(max(1, classes)),
        output=Output.PROBABILITY if classes else Output.VALUE,
        single=True,
    )


def _boosting(last: Any, rows: Floats, classes: int) -> Grown | None:
    outputs = last.estimators_.shape[1]
    trees = [
        _tree(model.tree_, _one_of(last.learning_rate * model.tree_.value[:, 0, 0], place, outputs))
        for stage in last.estimators_
        for place, model in enumerate(stage)
    ]
    raw = last.decision_function(rows) if classes else last.predict(rows)
    return _boosted(trees, raw, rows, classes, single=True)


def _histograms(last: Any, rows: Floats, classes: int) -> Grown | None:
    # Their trees have no public name; that they are still what we take them for is proved on
    # the background rows before anything rests on it.
    stages = vars(last).get("_predictors")
    if not stages or any(one.nodes["is_categorical"].any() for stage in stages for one in stage):
        return None
    outputs = len(stages[0])
    trees = [
        _histogram_tree(one.nodes, place, outputs)
        for stage in stages
        for place, one in enumerate(stage)
    ]
    raw = last.decision_function(rows) if classes else last.predict(rows)
    return _boosted(trees, raw, rows, classes, single=False)


def _boosted(
    trees: list[Tree], raw: Any, rows: Floats, classes: int, *, single: bool
) -> Grown | None:
    """Return boosted trees; None where they do not start from the same value on every row."""
    raw = np.asarray(raw, dtype=np.float64).reshape(len(rows), -1)
    if classes:
        raw = by_class(raw)
        trees = [_with_value(tree, by_class(tree.value)) for tree in trees]
    made = forest(trees, columns=rows.shape[1])
    offsets = raw - made.answers(_seen(rows, single=single))
    if np.ptp(offsets, axis=0).max() > DOUBLE * (1 + np.abs(raw).max()):
        return None
    return Grown(
        forest=made,
        offset=offsets.mean(axis=0),
        output=margin(classes) if classes else Output.VALUE,
        single=single,
    )


def _one_of(values: Floats, place: int, outputs: int) -> Floats:
    """Return the values of a tree that answers for one of several outputs."""
    table = np.zeros((values.size, outputs))
    table[:, place] = values
    return table


def _tree(tree: Any, value: Floats) -> Tree:
    return Tree(
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        column=np.maximum(tree.feature, 0).astype(np.int64),
        threshold=tree.threshold,
        missing_left=tree.missing_go_to_left.astype(np.bool_),
        cover=tree.weighted_n_node_samples,
        value=value,
    )


def _histogram_tree(nodes: NDArray[Any], place: int, outputs: int) -> Tree:
    leaf = nodes["is_leaf"].astype(np.bool_)
    return Tree(
        left=np.where(leaf, LEAF, nodes["left"].astype(np.int64)),
        right=np.where(leaf, LEAF, nodes["right"].astype(np.int64)),
        column=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"].astype(np.bool_),
        cover=nodes["count"].astype(np.float64),
        value=_one_of(nodes["value"], place, outputs),
    )


def _with_value(tree: Tree, value: Floats) -> Tree:
    return Tree(
        left=tree.left,
        right=tree.right,
        column=tree.column,
        threshold=tree.threshold,
        missing_left=tree.missing_left,
        cover=tree.cover,
        value=value,
    )


BUILDERS: Mapping[frozenset[str], Callable[[Any, Floats, int], Grown | None]] = {
    SINGLE_TREES: _single,
    FORESTS: _forest,
    BOOSTINGS: _boosting,
    HISTOGRAMS: _histograms,
}
