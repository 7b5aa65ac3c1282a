"""Converts scikit-learn's trees, forests, boosting and isolation forest, exactly."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np

from everfit.compiling.graph import Answer, Block, Graph, Table, refuse
from everfit.compiling.trees import (
    Tree,
    constant_tree,
    is_large,
    rounded,
    sklearn_tree,
    walk,
    walk_rows,
)


def tree(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert a single tree: a forest of one."""
    return _forest(graph, model, [model], table)


def forest(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert random forests and extra trees."""
    return _forest(graph, model, model.estimators_, table)


def _forest(graph: Graph, model: Any, members: list[Any], table: Table) -> Answer:
    if model.n_outputs_ != 1:
        raise refuse(f"it has {model.n_outputs_} outputs")
    # scikit-learn's trees compare the value as float32 rounds it with a threshold in float64.
    rows = rounded(graph, _checked(graph, members[0], graph.numbers(table)))
    count = graph.constant(float(len(members)))
    is_classifier = hasattr(model, "classes_")
    trees, leaves, before = [], [], 0
    for member in members:
        values = member.tree_.value[:, 0, :]
        places = np.arange(len(values), dtype=np.float64) + before
        trees.append(sklearn_tree(member.tree_, places))
        leaves.append(values)
        before += len(values)
    if not is_classifier and not is_large(trees):
        valued = [replace(t, values=v[:, 0]) for t, v in zip(trees, leaves, strict=True)]
        total = graph.flat(walk(graph, rows.name, valued, 1))
        return Answer(values=graph.node("Div", total, count))
    total = walk_rows(graph, rows.name, trees, np.concatenate(leaves))
    mean = graph.node("Div", total, count)
    return Answer(scores=mean) if is_classifier else Answer(values=graph.flat(mean))


def _checked(graph: Graph, member: Any, block: Block) -> Block:
    """Refuse missing values where this kind of tree does; return the same block."""
    if not attrgetter("__sklearn_tags__")(member)().input_tags.allow_nan:
        graph.refuse_missing(block)
    return block


def boosting(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``GradientBoosting``: the first guess, then the trees' steps in their order."""
    block = graph.numbers(table)
    graph.refuse_missing(block)
    rows = rounded(graph, block)
    if model.init_ != "zero" and type(model.init_).__name__ not in (
        "DummyClassifier",
        "DummyRegressor",
    ):
        raise refuse(f"its first guess is a {type(model.init_).__name__}")
    nothing = np.zeros((1, model.n_features_in_))
    start = np.atleast_2d(attrgetter("_raw_predict_init")(model)(nothing))[0]
    width = model.estimators_.shape[1]
    trees = [constant_tree(float(value), target) for target, value in enumerate(start)]
    for stage in model.estimators_:
        for target, member in enumerate(stage):
            steps = model.learning_rate * member.tree_.value[:, 0, 0]
            trees.append(sklearn_tree(member.tree_, steps, target))
    raw = walk(graph, rows.name, trees, width)
    return _linked(graph, model, raw, 2.0 if getattr(model, "loss", "") == "exponential" else 1.0)


def _linked(graph: Graph, model: Any, raw: str, factor: float = 1.0) -> Answer:
    if not hasattr(model, "classes_"):
        return Answer(values=graph.flat(raw))
    if len(model.classes_) > 2:
        return Answer(scores=graph.node("Softmax", raw, axis=1), margins=raw)
    moved = raw if factor == 1.0 else graph.node("Mul", raw, graph.constant(factor))
    return Answer(scores=graph.pair(graph.sigmoid(moved)), margins=raw)


def histograms(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``HistGradientBoosting``: thresholds in float64, missing values by direction."""
    if attrgetter("_preprocessor")(model) is not None:
        raise refuse("its trees split on categories of their own")
    block = graph.numbers(table)
    start = np.asarray(attrgetter("_baseline_prediction")(model), dtype=np.float64).ravel()
    trees = [constant_tree(float(value), target) for target, value in enumerate(start)]
    for stage in attrgetter("_predictors")(model):
        trees += [_histogram_tree(member.nodes, target) for target, member in enumerate(stage)]
    raw = walk(graph, block.name, trees, len(start))
    if getattr(model, "loss", "") in ("poisson", "gamma"):
        return Answer(values=graph.flat(graph.node("Exp", raw)))
    return _linked(graph, model, raw)


def _histogram_tree(nodes: Any, target: int) -> Tree:
    if nodes["is_categorical"].any():
        raise refuse("its trees split on categories of their own")
    return Tree(
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        leaf=nodes["is_leaf"].astype(bool),
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"].astype(np.float64),
        target=target,
    )


def isolation(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert ``IsolationForest``: 1 for a usual row, -1 for an outlier."""
    block = graph.numbers(table)
    rows = rounded(graph, _checked(graph, model.estimators_[0], block))
    depths = attrgetter("_decision_path_lengths")(model)
    beyond = attrgetter("_average_path_length_per_tree")(model)
    trees = []
    for member, chosen, depth, more in zip(
        model.estimators_, model.estimators_features_, depths, beyond, strict=True
    ):
        made = sklearn_tree(member.tree_, depth + more - 1.0)
        trees.append(_of_features(made, np.asarray(chosen)))
    total = graph.flat(walk(graph, rows.name, trees, 1))
    samples = attrgetter("_max_samples")(model)
    power = graph.node("Div", total, graph.constant(len(trees) * _average_path(samples)))
    score = graph.node("Pow", graph.constant(2.0), graph.node("Neg", power))
    decision = graph.node("Sub", graph.node("Neg", score), graph.constant(model.offset_))
    is_outlier = graph.node("Less", decision, graph.constant(0.0))
    return Answer(values=graph.node("Where", is_outlier, graph.constant(-1.0), graph.constant(1.0)))


def _of_features(tree: Tree, chosen: Any) -> Tree:
    """Return a tree that names the features of the forest instead of its own choice of them."""
    return replace(tree, feature=chosen[tree.feature])


def _average_path(samples: int) -> float:
    """Return the mean length of a failed search in a binary tree (Liu et al. 2008, equation 1)."""
    if samples <= 2:
        return float(samples == 2)
    return float(2 * (np.log(samples - 1.0) + np.euler_gamma) - 2 * (samples - 1.0) / samples)
