"""TreeSHAP against Shapley's own formula, summed over all subsets of columns."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from everfit.measures import tree_shapley
from everfit.measures.tree_shapley import LEAF, Tree, forest

Floats = NDArray[np.float64]
COLUMNS = 4


def random_tree(rng: np.random.Generator, *, depth: int, outputs: int) -> Tree:
    """Return a tree that asks of the same columns again and again, on any side of a value."""
    left: list[int] = []
    right: list[int] = []
    column: list[int] = []
    threshold: list[float] = []
    missing: list[bool] = []
    cover: list[float] = []

    def grow(level: int, weight: float) -> int:
        number = len(left)
        left.append(LEAF)
        right.append(LEAF)
        column.append(int(rng.integers(COLUMNS)))
        threshold.append(float(rng.integers(-2, 3)))
        missing.append(bool(rng.integers(2)))
        cover.append(weight)
        if level and rng.random() < 0.8:
            share = float(rng.uniform(0.05, 0.95))
            left[number] = grow(level - 1, weight * share)
            right[number] = grow(level - 1, weight * (1 - share))
        return number

    grow(depth, 100.0)
    return Tree(
        left=np.array(left),
        right=np.array(right),
        column=np.array(column),
        threshold=np.array(threshold),
        missing_left=np.array(missing),
        cover=np.array(cover),
        value=rng.normal(size=(len(left), outputs)) * 10,
    )


def value(tree: Tree, row: Floats, known: frozenset[int], node: int = 0) -> Floats:
    """Return what a tree answers to a row of which some columns are known."""
    if tree.left[node] == LEAF:
        return np.asarray(tree.value[node])
    left, right = int(tree.left[node]), int(tree.right[node])
    column = int(tree.column[node])
    if column in known:
        missing = math.isnan(row[column])
        goes = bool(tree.missing_left[node]) if missing else row[column] <= tree.threshold[node]
        return value(tree, row, known, left if goes else right)
    share = tree.cover[left] / tree.cover[node]
    answers = share * value(tree, row, known, left) + (1 - share) * value(tree, row, known, right)
    return np.asarray(answers)


def by_definition(trees: list[Tree], row: Floats, output: int) -> Floats:
    def game(known: tuple[int, ...]) -> float:
        return float(sum(value(tree, row, frozenset(known))[output] for tree in trees))

    found = np.zeros(COLUMNS)
    for column in range(COLUMNS):
        others = [other for other in range(COLUMNS) if other != column]
        for size in range(COLUMNS):
            weight = (
                math.factorial(size) * math.factorial(COLUMNS - 1 - size) / math.factorial(COLUMNS)
            )
            for known in combinations(others, size):
                found[column] += weight * (game((*known, column)) - game(known))
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 4),
    depth=st.integers(0, 6),
    outputs=st.integers(1, 3),
)
def test_contributions_are_shapley_values(seed: int, count: int, depth: int, outputs: int) -> None:
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, depth=depth, outputs=outputs) for _ in range(count)]
    grown = forest(trees, columns=COLUMNS)
    rows = rng.integers(-3, 4, size=(3, COLUMNS)).astype(np.float64)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    chosen = rng.integers(outputs, size=3)
    found = grown.contributions(rows, chosen)
    everything = frozenset(range(COLUMNS))
    for row in range(3):
        assert found[row] == pytest.approx(by_definition(trees, rows[row], chosen[row]), abs=1e-9)
        answer = sum(value(tree, rows[row], everything) for tree in trees)
        assert grown.answers(rows)[row] == pytest.approx(answer)
        total = grown.base[chosen[row]] + found[row].sum()
        assert total == pytest.approx(np.asarray(answer)[chosen[row]], abs=1e-9)


def test_many_trees_in_parts_and_rows_in_turns_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    trees = [random_tree(rng, depth=6, outputs=2) for _ in range(20)]
    rows, chosen = rng.normal(size=(9, COLUMNS)), rng.integers(2, size=9)
    at_once = forest(trees, columns=COLUMNS).contributions(rows, chosen)
    monkeypatch.setattr(tree_shapley, "NODES", 50)
    monkeypatch.setattr(tree_shapley, "NUMBERS", 100)
    in_parts = forest(trees, columns=COLUMNS).contributions(rows, chosen)
    assert in_parts == pytest.approx(at_once, abs=1e-12)


def test_a_column_that_no_tree_asks_of_contributes_nothing() -> None:
    rng = np.random.default_rng(1)
    grown = forest([random_tree(rng, depth=5, outputs=1)], columns=COLUMNS + 2)
    found = grown.contributions(rng.normal(size=(4, COLUMNS + 2)), np.zeros(4, dtype=np.int64))
    assert not found[:, COLUMNS:].any()


def test_a_way_that_no_training_row_went_is_followed_all_the_same() -> None:
    tree = Tree(
        left=np.array([1, LEAF, LEAF]),
        right=np.array([2, LEAF, LEAF]),
        column=np.array([0, 0, 0]),
        threshold=np.zeros(3),
        missing_left=np.ones(3, dtype=np.bool_),
        cover=np.array([10.0, 10.0, 0.0]),
        value=np.array([[0.0], [1.0], [5.0]]),
    )
    grown = forest([tree], columns=1)
    found = grown.contributions(np.array([[1.0], [-1.0]]), np.zeros(2, dtype=np.int64))
    assert grown.base[0] + found[:, 0] == pytest.approx([5.0, 1.0])
