"""Sketch of a reference table, and the counts of a window against it. Counts of parts add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EDGES = 1_023
BINS = 64
CATEGORIES = 1_000
# A new record is no fault; a value beyond the range by this share of its width is out of place.
FAR = 0.5
# Beyond this differences of values are no longer finite.
LARGEST = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericSketch:
    """Distribution of each numeric column of a reference table.

    For column j, ``heights[j]`` is the reference's mid-rank at the values ``knots[j]``: the
    share of rows below plus half the share of rows equal. Arrays have shape ``(columns, ...)``.
    """

    names: tuple[str, ...]
    knots: tuple[Floats, ...]
    heights: tuple[Floats, ...]
    rows: Floats
    missing: Floats
    rank: Floats  # mean, standard deviation, skewness of u on the reference
    spread: Floats  # the same of (u - 1/2)^2
    shares: Floats  # share of the reference's u in each of BINS equal bins


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericCounts:
    """What a window holds per numeric column; shapes ``(columns,)`` and ``(columns, BINS)``."""

    rows: float
    missing: Floats
    outside: Floats  # rows beyond the reference's range by more than FAR of its width
    ranks: Floats  # sum of u
    spreads: Floats  # sum of (u - 1/2)^2
    bins: Floats

    def __add__(self, other: NumericCounts) -> NumericCounts:
        """Return the counts of both parts together."""
        return NumericCounts(
            rows=self.rows + other.rows,
            missing=self.missing + other.missing,
            outside=self.outside + other.outside,
            ranks=self.ranks + other.ranks,
            spreads=self.spreads + other.spreads,
            bins=self.bins + other.bins,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CategorySketch:
    """Known categories of one column, most frequent first, with their counts."""

    name: str
    categories: tuple[str, ...]
    counts: Floats
    rows: float
    missing: float
    novel: float  # expected share of rows with a value never seen, by Good-Turing
    closed: bool  # whether ``categories`` are all that the reference holds


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCounts:
    """What a window holds of one category column."""

    rows: float
    missing: float
    unseen: float
    cells: Floats

    def __add__(self, other: CategoryCounts) -> CategoryCounts:
        """Return the counts of both parts together."""
        return CategoryCounts(
            rows=self.rows + other.rows,
            missing=self.missing + other.missing,
            unseen=self.unseen + other.unseen,
            cells=self.cells + other.cells,
        )


def sketch_numeric(columns: Mapping[str, Floats]) -> NumericSketch:
    """Return the sketch of numeric columns, at most 1,023 quantile edges each.

    Values that are NaN or infinite count as missing. Ties keep their exact mid-rank, so a column
    of few distinct values is described without loss.

    Examples
    --------
    >>> sketch = sketch_numeric({"age": np.array([20.0, 30.0, 30.0, 40.0])})
    >>> ranks(sketch, 0, np.array([10.0, 30.0, 35.0, 99.0])).tolist()
    [0.0, 0.5, 0.75, 1.0]
    """
    names = tuple(columns)
    curves = [_curve(columns[name]) for name in names]
    values = [_sound(columns[name]) for name in names]
    mapped = [
        np.interp(value, curve[0], curve[1]) for value, curve in zip(values, curves, strict=True)
    ]
    rows = np.array([value.size for value in values], dtype=np.float64)
    total = np.array([columns[name].size for name in names], dtype=np.float64)
    return NumericSketch(
        names=names,
        knots=tuple(curve[0] for curve in curves),
        heights=tuple(curve[1] for curve in curves),
        rows=rows,
        missing=total - rows,
        rank=np.array([_moments(u, 0.5) for u in mapped]).reshape(-1, 3),
        spread=np.array([_moments((u - 0.5) ** 2, 0.25) for u in mapped]).reshape(-1, 3),
        shares=np.array([_histogram(u) for u in mapped]).reshape(-1, BINS),
    )


def _sound(column: Floats) -> Floats:
    return np.clip(column[np.isfinite(column)], -LARGEST, LARGEST)


def _curve(column: Floats) -> tuple[Floats, Floats]:
    """Return knots and heights: three knots per edge, so that a tie is a step of its own size."""
    value = np.sort(_sound(column))
    if value.size == 0:
        return np.array([0.0]), np.array([0.5])
    distinct = np.unique(value)
    if distinct.size > EDGES:
        places = np.linspace(0, value.size - 1, EDGES).astype(np.int64)
        distinct = np.unique(value[places])
    below = np.searchsorted(value, distinct, side="left") / value.size
    upto = np.searchsorted(value, distinct, side="right") / value.size
    width = np.maximum(np.abs(distinct) * 1e-12, 1e-300)
    knots = np.column_stack([distinct - width, distinct, distinct + width]).ravel()
    heights = np.column_stack([below, (below + upto) / 2, upto]).ravel()
    # Edges closer than the width of a step must not make the knots go back.
    return np.maximum.accumulate(knots), heights


def _moments(value: Floats, scale: float) -> tuple[float, float, float]:
    if value.size == 0:
        return 0.0, scale, 0.0
    mean = float(value.mean())
    deviation = value - mean
    # A reference without spread is one in which a deviation was seen less than once.
    least = scale / np.sqrt(value.size)
    sd = float(np.sqrt((deviation**2).mean()))
    if sd <= least:
        return mean, float(least), float(np.sqrt(value.size))
    return mean, sd, float((deviation**3).mean() / sd**3)


def _histogram(u: Floats) -> Floats:
    places = np.minimum((u * BINS).astype(np.int64), BINS - 1)
    return np.bincount(places, minlength=BINS) / max(u.size, 1)


def ranks(sketch: NumericSketch, column: int, values: Floats) -> Floats:
    """Return each value's mid-rank in the reference, in [0, 1]; NaN stays NaN."""
    return np.interp(values, sketch.knots[column], sketch.heights[column])


def count_numeric(sketch: NumericSketch, columns: Sequence[Floats]) -> NumericCounts:
    """Return the counts of a window whose numeric columns are given in the sketch's order.

    Examples
    --------
    >>> sketch = sketch_numeric({"age": np.arange(100.0)})
    >>> counts = count_numeric(sketch, [np.array([0.0, 99.0, np.nan, 500.0])])
    >>> counts.missing.tolist(), counts.outside.tolist(), counts.ranks.round(2).tolist()
    ([1.0], [1.0], [2.0])
    """
    width, rows = len(sketch.names), len(columns[0]) if columns else 0
    u = np.empty((width, rows))
    outside = np.zeros(width)
    for index, column in enumerate(columns):
        knots = sketch.knots[index]
        known, value = np.isfinite(column), np.clip(column, -LARGEST, LARGEST)
        u[index] = np.where(known, np.interp(value, knots, sketch.heights[index]), np.nan)
        margin = FAR * (knots[-1] - knots[0])
        outside[index] = np.count_nonzero(
            known & ((value < knots[0] - margin) | (value > knots[-1] + margin))
        )
    absent = np.isnan(u)
    centred = np.where(absent, 0.0, u - 0.5)
    places = np.where(absent, BINS, np.minimum((centred + 0.5) * BINS, BINS - 1)).astype(np.int64)
    places += (BINS + 1) * np.arange(width)[:, None]
    bins = np.bincount(places.ravel(), minlength=width * (BINS + 1)).reshape(width, BINS + 1)
    missing = absent.sum(axis=1).astype(np.float64)
    return NumericCounts(
        rows=float(rows),
        missing=missing,
        outside=outside,
        ranks=centred.sum(axis=1) + 0.5 * (rows - missing),
        spreads=(centred**2).sum(axis=1),
        bins=bins[:, :BINS].astype(np.float64),
    )


def sketch_category(name: str, counts: Mapping[str, int], missing: int) -> CategorySketch:
    """Return the sketch of a category column from the count of each value.

    The 1,000 most frequent values are kept. ``novel`` estimates how often a further row brings a
    value never seen before: the share of rows whose value was seen once.

    Examples
    --------
    >>> sketch = sketch_category("city", {"Rome": 60, "Oslo": 39, "Bern": 1}, missing=0)
    >>> sketch.categories, sketch.novel
    (('Rome', 'Oslo', 'Bern'), 0.01)

    References
    ----------
    Good, I. J. (1953). The population frequencies of species. *Biometrika* 40.
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = ordered[:CATEGORIES]
    rows = float(sum(counts.values()))
    once = sum(count == 1 for count in counts.values())
    return CategorySketch(
        name=name,
        categories=tuple(value for value, _ in kept),
        counts=np.array([count for _, count in kept], dtype=np.float64),
        rows=rows,
        missing=float(missing),
        novel=once / rows if rows else 0.0,
        closed=len(kept) == len(ordered),
    )


def count_category(
    sketch: CategorySketch, counts: Mapping[str, int], missing: int
) -> CategoryCounts:
    """Return the counts of a window of one category column from the count of each value."""
    cells = np.array([counts.get(value, 0) for value in sketch.categories], dtype=np.float64)
    total = float(sum(counts.values()))
    return CategoryCounts(
        rows=total + missing,
        missing=float(missing),
        unseen=total - float(cells.sum()),
        cells=cells,
    )
