r"""Exact Shapley values of what decision trees answer, all nodes of a level at a time.

The game: a tree is asked about a row of which only the columns in S are known; where it asks for
another one, both answers are followed, in proportion to the training rows that went either way
(path-dependent TreeSHAP). A leaf's part in the value of S is a product over the columns on its
path, so its Shapley sum over subsets is the integral

.. math:: \int_0^1 \prod_{i \neq j} (t\, o_i + (1 - t)\, z_i)\, dt,

where ``o`` says whether the row goes the leaf's way and ``z`` which share of training rows does.
The integrand is a polynomial in t of a degree below the number of columns on the path, so that
Gauss-Legendre quadrature gives the integral exactly. What leaves share of their paths is
multiplied once, on the way down, and summed once, on the way up: work in the order of nodes
times depth, where Lundberg's algorithm 2 needs leaves times depth squared.

References
----------
Lundberg, S. M., Erion, G. G. & Lee, S.-I. (2018). Consistent individualized feature attribution
for tree ensembles. arXiv:1802.03888.
Yu, P., Bifet, A., Read, J. & Xu, C. (2022). Linear TreeShap. *NeurIPS* 35.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

LEAF = -1
# Trees are taken together until they have so many nodes: arrays of a level stay in the cache.
NODES = 32_768
# Rows taken together, as numbers in the largest array of a level.
NUMBERS = 131_072
# No training row went that way: far below a share of any, and the sums stay exact.
LEAST = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """One tree as arrays over its nodes, the root first.

    Attributes
    ----------
    left, right
        Numbers of the children, ``LEAF`` (-1) at a leaf.
    column, threshold
        A row goes left where its value in ``column`` is at most ``threshold``.
    missing_left
        Whether a missing value (NaN) goes left.
    cover
        Weight of the training rows that reached the node.
    value
        What the tree answers at a leaf, shape ``(nodes, outputs)``.
    """

    left: Integers
    right: Integers
    column: Integers
    threshold: Floats
    missing_left: Booleans
    cover: Floats
    value: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Level:
    """The nodes of one depth and the edges that lead to them, in pairs of siblings.

    ``share`` is the part of the training rows that passes every question which the path asks of
    the edge's column up to here, ``before`` the edge that asked of it last (0 for none) and
    ``share_before`` its share. ``inner`` are the places of the nodes that ask on, with their
    questions; ``leaves`` those of the others.
    """

    asked: Integers
    share: Floats
    before: Integers
    share_before: Floats
    inner: Integers
    column: Integers
    threshold: Floats
    missing_left: Booleans
    leaves: Integers
    value: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    levels: tuple[_Level, ...]
    points: Floats
    weights: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forest:
    """Trees whose answers are added, ready to be explained.

    ``base`` is what they answer on average over their training rows, shape ``(outputs,)``;
    ``columns`` how many columns a row has.
    """

    base: Floats
    columns: int
    _parts: tuple[_Part, ...]

    def contributions(self, rows: Floats, outputs: Integers) -> Floats:
        """Return what each column contributes to one output of each row.

        Parameters
        ----------
        rows
            Shape ``(rows, columns)``; NaN where a value is missing.
        outputs
            Which output of each row is explained, shape ``(rows,)``.

        Returns
        -------
        array
            Shape ``(rows, columns)``: with ``base[outputs]`` they add up to the output.

        Examples
        --------
        >>> stump = Tree(
        ...     left=np.array([1, -1, -1]), right=np.array([2, -1, -1]),
        ...     column=np.array([0, 0, 0]), threshold=np.array([0.5, 0.0, 0.0]),
        ...     missing_left=np.array([True, True, True]), cover=np.array([4.0, 1.0, 3.0]),
        ...     value=np.array([[0.0], [8.0], [4.0]]),
        ... )
        >>> grown = forest([stump], columns=2)
        >>> grown.base.tolist(), grown.contributions(np.array([[0.0, 9.0]]), np.array([0])).tolist()
        ([5.0], [[3.0, 0.0]])
        """
        found = np.zeros((len(rows), self.columns))
        for part in self._parts:
            widest = max(level.share.size for level in part.levels) * part.points.size
            step = max(1, NUMBERS // max(1, widest))
            for start in range(0, len(rows), step):
                some = slice(start, start + step)
                _explain(part, rows[some], outputs[some], found[some])
        return found

    def answers(self, rows: Floats) -> Floats:
        """Return what the trees answer, shape ``(rows, outputs)``."""
        total = np.zeros((len(rows), self.base.size))
        for part in self._parts:
            for level, passed in zip(part.levels, _passes(part, rows), strict=True):
                total += passed[:, level.leaves].astype(np.float64) @ level.value
        return total


def forest(trees: Sequence[Tree], *, columns: int) -> Forest:
    """Return ``trees``, all with the same number of outputs, as one forest."""
    parts = tuple(_part(some) for some in _batches(trees))
    outputs = trees[0].value.shape[1]
    base = np.zeros(outputs)
    for part in parts:
        base += _base(part)
    return Forest(base=base, columns=columns, _parts=parts)


def _batches(trees: Sequence[Tree]) -> Iterator[list[Tree]]:
    batch: list[Tree] = []
    nodes = 0
    for tree in trees:
        if batch and nodes + tree.left.size > NODES:
            yield batch
            batch, nodes = [], 0
        batch.append(tree)
        nodes += tree.left.size
    yield batch


def _part(trees: Sequence[Tree]) -> _Part:
    """Return the trees level by level."""
    joined, roots = _joined(trees)
    levels: list[_Level] = []
    # Of every node of the level: its edge's number, and by edge the column, share and parent.
    nodes = roots
    edges = np.zeros(nodes.size, dtype=np.int64)
    asked, parents = np.array([-1]), np.array([0])
    shares = np.array([1.0])
    before, share = np.zeros(nodes.size, dtype=np.int64), np.ones(nodes.size)
    questions = np.full(nodes.size, -1, dtype=np.int64)
    while nodes.size:
        inner = np.flatnonzero(joined.left[nodes] != LEAF)
        levels.append(_level(joined, nodes, inner, (questions, share, before, shares[before])))
        above = nodes[inner]
        nodes = np.stack([joined.left[above], joined.right[above]], axis=1).ravel()
        up = np.repeat(edges[inner], 2)
        questions = np.repeat(joined.column[above], 2)
        before = _asked_before(questions, up, asked, parents)
        # A root that is a leaf has nothing to divide by.
        passed = joined.cover[nodes] / np.maximum(np.repeat(joined.cover[above], 2), LEAST)
        share = np.maximum(passed, LEAST) * shares[before]
        edges = asked.size + np.arange(nodes.size)
        asked, parents = np.append(asked, questions), np.append(parents, up)
        shares = np.append(shares, share)
    points, weights = np.polynomial.legendre.leggauss(
        max(1, (_most_columns(asked, parents) + 1) // 2)
    )
    return _Part(levels=tuple(levels), points=(points + 1) / 2, weights=weights / 2)


def _joined(trees: Sequence[Tree]) -> tuple[Tree, Integers]:
    """Return all trees as one, and its roots."""
    starts = np.cumsum([0, *(tree.left.size for tree in trees)])[:-1]

    def moved(children: Integers, start: int) -> Integers:
        return np.where(children == LEAF, LEAF, children + start)

    pairs = list(zip(trees, starts.tolist(), strict=True))
    joined = Tree(
        left=np.concatenate([moved(tree.left, start) for tree, start in pairs]),
        right=np.concatenate([moved(tree.right, start) for tree, start in pairs]),
        column=np.concatenate([tree.column for tree in trees]),
        threshold=np.concatenate([tree.threshold for tree in trees]),
        missing_left=np.concatenate([tree.missing_left for tree in trees]),
        cover=np.concatenate([tree.cover for tree in trees]),
        value=np.concatenate([tree.value for tree in trees]),
    )
    return joined, starts


def _level(
    joined: Tree,
    nodes: Integers,
    inner: Integers,
    edges: tuple[Integers, Floats, Integers, Floats],
) -> _Level:
    asked, share, before, share_before = edges
    above = nodes[inner]
    leaves = np.flatnonzero(joined.left[nodes] == LEAF)
    return _Level(
        asked=asked,
        share=share,
        before=before,
        share_before=share_before,
        inner=inner,
        column=joined.column[above],
        threshold=joined.threshold[above],
        missing_left=joined.missing_left[above],
        leaves=leaves,
        value=joined.value[nodes[leaves]],
    )


def _asked_before(
    questions: Integers, up: Integers, asked: Integers, parents: Integers
) -> Integers:
    """Return for every edge the nearest one above that asks of the same column, 0 for none."""
    found = np.zeros_like(up)
    at = up.copy()
    while at.any():
        same = (found == 0) & (asked[at] == questions)
        found[same] = at[same]
        at = np.where(found == 0, parents[at], 0)
    return found


def _most_columns(asked: Integers, parents: Integers) -> int:
    """Return how many distinct columns a path asks of at most."""
    distinct = np.zeros(asked.size, dtype=np.int64)
    before = _asked_before(asked, parents, asked, parents)
    # Edges stand after those above them, level by level.
    depth = np.zeros(asked.size, dtype=np.int64)
    at = parents.copy()
    while at.any():
        depth += at != 0
        at = parents[at]
    for level in range(int(depth.max(initial=0)) + 1):
        here = np.flatnonzero(depth == level)
        distinct[here] = distinct[parents[here]] + (before[here] == 0)
    return int(distinct.max(initial=1))


def _base(part: _Part) -> Floats:
    """Return the mean answer: every leaf by the share of training rows that reach it."""
    total = np.zeros(part.levels[0].value.shape[1])
    reach = np.ones(part.levels[0].share.size)
    for number, level in enumerate(part.levels):
        if number:
            above = part.levels[number - 1].inner
            reach = np.repeat(reach[above], 2) * level.share / level.share_before
        total += reach[level.leaves] @ level.value
    return total


def _answered(level: _Level, rows: Floats) -> Booleans:
    """Return for each pair of edges below the level which way rows go, ``(rows, edges)``."""
    values = rows[:, level.column]
    left = np.where(np.isnan(values), level.missing_left, values <= level.threshold)
    return np.stack([left, ~left], axis=2).reshape(len(rows), -1)


def _passes(part: _Part, rows: Floats) -> Iterator[Booleans]:
    """Yield of each level which nodes the rows reach."""
    reached = np.ones((len(rows), part.levels[0].share.size), dtype=np.bool_)
    for level in part.levels:
        yield reached
        reached = np.repeat(reached[:, level.inner], 2, axis=1) & _answered(level, rows)


def _explain(part: _Part, rows: Floats, outputs: Integers, found: Floats) -> None:
    """Add the contributions of every column to ``found``."""
    count, points = len(rows), part.points
    rest = 1.0 - points
    known = [np.ones((count, 1), dtype=np.bool_)]
    product = np.ones((count, part.levels[0].share.size, points.size))
    products, divisors, signs = [product], [product], [np.zeros(product.shape[:2])]
    for above, level in zip(part.levels[:-1], part.levels[1:], strict=True):
        passed = np.concatenate(known, axis=1)[:, level.before]
        now = _answered(above, rows) & passed
        known.append(now)
        own = now[:, :, None] * points + rest * level.share[:, None]
        last = passed[:, :, None] * points + rest * level.share_before[:, None]
        product = np.repeat(product[:, above.inner], 2, axis=1) * (own / last)
        products.append(product)
        divisors.append(own * last)
        signs.append(passed * (now * level.share_before - level.share))
    below: Floats | None = None
    for level, product, divisor, sign in zip(
        part.levels[::-1], products[::-1], divisors[::-1], signs[::-1], strict=True
    ):
        total = np.empty_like(product)
        total[:, level.leaves] = product[:, level.leaves] * level.value.T[outputs][:, :, None]
        if below is not None:
            total[:, level.inner] = below[:, 0::2] + below[:, 1::2]
        below = total
        if level.asked.size and level.asked[0] >= 0:
            parts = sign * ((total / divisor) @ part.weights)
            for row in range(count):
                found[row] += np.bincount(level.asked, parts[row], found.shape[1])
