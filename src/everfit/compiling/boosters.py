"""Converts XGBoost's and LightGBM's trees from their own text formats, exactly.

XGBoost rounds values and sums leaves in float32, and so does the graph; LightGBM does both in
float64. Formats: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html and
LightGBM's ``Tree::ToString``.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from everfit.compiling.graph import Answer, Graph, Table, refuse
from everfit.compiling.trees import DOUBLE, FLOAT, Tree, constant_tree, walk

# A chance at 0 or 1 has no finite logit; XGBoost's own bound.
EDGE = 1e-16


def xgboost(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert a model of XGBoost's trees."""
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    stop = (
        getattr(model, "best_iteration", None)
        if getattr(model, "early_stopping_rounds", None)
        else None
    )
    learner = json.loads(booster.save_raw("json"))["learner"]
    content = learner["gradient_booster"]
    if content.get("name") != "gbtree":
        raise refuse(f"its booster is {content.get('name')!r}, not of plain trees")
    block = graph.numbers(table)
    # XGBoost refuses what is infinite in float32.
    small = graph.cast(block.name, FLOAT)
    graph.refuse_rows(graph.node("IsInf", small))
    width = max(int(learner["learner_model_param"]["num_class"]), 1)
    objective = learner["objective"]["name"]
    found = content["model"]
    last = len(found["trees"])
    if stop is not None:
        last = int(found["iteration_indptr"][stop + 1])
    trees = _starts(learner, objective, width)
    for target, grown in zip(found["tree_info"][:last], found["trees"][:last], strict=True):
        trees.append(_xgboost_tree(grown, target))
    raw = walk(graph, small, trees, width, below=True)
    return _xgboost_answer(graph, raw, objective)


def _starts(learner: dict[str, Any], objective: str, width: int) -> list[Tree]:
    base = np.atleast_1d(np.asarray(json.loads(learner["learner_model_param"]["base_score"])))
    base = np.broadcast_to(base.astype(np.float32), (width,))
    if objective in ("binary:logistic", "reg:logistic"):
        odds = np.float32(1) / base - np.float32(1)
        base = -np.log(odds.astype(np.float32))
    elif objective in _LOGARITHMIC:
        base = np.log(base)
    return [constant_tree(float(v), target, np.float32) for target, v in enumerate(base)]


_LOGARITHMIC = ("count:poisson", "reg:gamma", "reg:tweedie")
_PLAIN = (
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:quantileerror",
    "binary:logitraw",
)


def _xgboost_tree(grown: dict[str, Any], target: int) -> Tree:
    left = np.array(grown["left_children"], dtype=np.int64)
    if any(grown["split_type"]) or len(grown["base_weights"]) != len(left):
        raise refuse("its trees split on categories, or their leaves hold vectors")
    conditions = np.array(grown["split_conditions"], dtype=np.float32)
    return Tree(
        left=left,
        right=np.array(grown["right_children"], dtype=np.int64),
        leaf=left < 0,
        feature=np.array(grown["split_indices"], dtype=np.int64),
        threshold=conditions,
        missing_left=np.array(grown["default_left"]).astype(bool),
        # A leaf keeps its weight where an inner node keeps its condition.
        values=conditions,
        target=target,
    )


def _xgboost_answer(graph: Graph, raw: str, objective: str) -> Answer:
    if objective == "multi:softprob":
        return Answer(scores=graph.cast(graph.node("Softmax", raw, axis=1), DOUBLE))
    if objective == "binary:logistic":
        one = graph.constant(1.0, np.float32)
        # Written out, as XGBoost does it: another form may round a chance of a half elsewhere.
        odds = graph.node("Exp", graph.node("Neg", raw))
        chance = graph.node("Div", one, graph.node("Add", odds, one))
        both = graph.node("Concat", graph.node("Sub", one, chance), chance, axis=1)
        return Answer(scores=graph.cast(both, DOUBLE))
    if objective in _LOGARITHMIC:
        return Answer(values=graph.flat(graph.cast(graph.node("Exp", raw), DOUBLE)))
    if objective not in _PLAIN:
        raise refuse(f"its objective is {objective!r}")
    return Answer(values=graph.flat(graph.cast(raw, DOUBLE)))


def lightgbm(graph: Graph, model: Any, table: Table) -> Answer:
    """Convert a model of LightGBM's trees."""
    booster = getattr(model, "booster_", model)
    header, *parts = booster.model_to_string().split("\nTree=")
    facts = _facts(header)
    if "average_output" in header.split():
        raise refuse("its trees are averaged (boosting='rf')")
    width = int(facts["num_tree_per_iteration"])
    trees = []
    for place, part in enumerate(parts):
        trees.append(_lightgbm_tree(_facts(part.split("\n\n")[0]), place % width))
    raw = walk(graph, graph.numbers(table).name, trees, width)
    return _lightgbm_answer(graph, raw, facts["objective"].split())


def _facts(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _lightgbm_tree(facts: dict[str, str], target: int) -> Tree:
    if int(facts["num_cat"]) or int(facts.get("is_linear", "0")):
        raise refuse("its trees split on categories, or hold linear models")
    weights = np.array(facts["leaf_value"].split(), dtype=np.float64)
    if len(weights) == 1:
        return constant_tree(float(weights[0]), target)
    inner = len(weights) - 1
    children = [_numbers(facts["left_child"]), _numbers(facts["right_child"])]
    # A negative child is a leaf, counted from -1.
    left, right = (np.where(child < 0, inner - 1 - child, child) for child in children)
    kinds, splits = _numbers(facts["decision_type"]), facts["threshold"].split()
    thresholds = np.array(splits, dtype=np.float64)
    leaf = np.arange(2 * inner + 1) >= inner
    whole = np.zeros(2 * inner + 1, dtype=np.int64)
    return Tree(
        left=_padded(left, whole),
        right=_padded(right, whole),
        leaf=leaf,
        feature=_padded(_numbers(facts["split_feature"]), whole),
        threshold=_padded(thresholds, whole.astype(np.float64)),
        missing_left=_padded(_missing_left(kinds, thresholds), leaf & False),
        values=np.concatenate([np.zeros(inner), weights]),
        target=target,
    )


def _missing_left(kinds: Any, thresholds: Any) -> Any:
    """Return where a missing value goes left: by its default, or as the zero it passes for."""
    missing = (kinds >> 2) & 3
    if (missing == 1).any():
        raise refuse("it takes zeros for missing")
    by_default = (kinds & 2) != 0
    return np.where(missing == 2, by_default, thresholds >= 0)


def _padded(values: Any, whole: Any) -> Any:
    return np.concatenate([values, whole[len(values) :]])


def _numbers(text: str) -> Any:
    return np.array(text.split(), dtype=np.int64)


def _lightgbm_answer(graph: Graph, raw: str, objective: list[str]) -> Answer:
    kind = objective[0]
    settings = dict(part.split(":", 1) for part in objective[1:] if ":" in part)
    if kind == "binary":
        steep = graph.constant(-float(settings.get("sigmoid", "1")))
        odds = graph.node("Exp", graph.node("Mul", raw, steep))
        one = graph.constant(1.0)
        chance = graph.node("Div", one, graph.node("Add", one, odds))
        return Answer(scores=graph.pair(chance), margins=raw)
    if kind == "multiclass":
        return Answer(scores=graph.node("Softmax", raw, axis=1), margins=raw)
    if kind in ("poisson", "gamma", "tweedie"):
        return Answer(values=graph.flat(graph.node("Exp", raw)))
    if kind in ("regression", "regression_l1", "huber", "fair", "quantile", "mape"):
        if "sqrt" in objective:
            raise refuse("it learned the square root of its target")
        return Answer(values=graph.flat(raw))
    raise refuse(f"its objective is {kind!r}")
