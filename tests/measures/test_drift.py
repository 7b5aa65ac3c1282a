"""P3 scores alarm on nothing where nothing drifts, and find what does (fixed seeds)."""

from __future__ import annotations

import numpy as np
import pytest

from everfit.measures.accumulate import Cusum, accumulate, cusum_threshold
from everfit.measures.drift import (
    AT_ONCE,
    Scores,
    category_scores,
    join,
    normal_score,
    numeric_scores,
    p_values,
)
from everfit.measures.multiplicity import benjamini_hochberg
from everfit.measures.sketch import (
    CategorySketch,
    NumericSketch,
    count_category,
    count_numeric,
    sketch_category,
    sketch_numeric,
)

SHARES = [np.array([0.5, 0.3, 0.2]), np.array([0.9, 0.09, 0.009, 0.001])]
SHARES += [1 / np.arange(1, 41) / (1 / np.arange(1, 41)).sum(), np.full(100, 0.01)]
Columns = dict[str, np.ndarray]


def numbers(random: np.random.Generator, n: int) -> Columns:
    """Sixteen columns: bell-shaped, skewed, heavy, whole, rare, mostly zero, with gaps."""
    found: Columns = {f"n{i}": random.normal(size=n) for i in range(8)}
    found |= {
        "skewed": random.exponential(size=n),
        "heavy": random.lognormal(0.0, 2.0, n),
        "hour": random.integers(0, 24, n).astype(float),
        "binary": (random.random(n) < 0.3) * 1.0,
        "rare": (random.random(n) < 0.002) * 1.0,
        "zeros": np.where(random.random(n) < 0.93, 0.0, random.lognormal(8.0, 1.0, n)),
        "gaps": np.where(random.random(n) < 0.05, np.nan, random.normal(size=n)),
        "few gaps": np.where(random.random(n) < 0.0005, np.nan, random.normal(size=n)),
    }
    return found


def texts(random: np.random.Generator, n: int) -> list[dict[str, int]]:
    drawn = [random.multinomial(n, shares) for shares in SHARES]
    return [{str(i): int(c) for i, c in enumerate(counts) if c} for counts in drawn]


class Reference:
    """Twenty columns of which 20,000 rows are known."""

    def __init__(self, random: np.random.Generator, rows: int = 20_000) -> None:
        self.numeric: NumericSketch = sketch_numeric(numbers(random, rows))
        counted = texts(random, rows)
        self.category: list[CategorySketch] = [
            sketch_category(f"c{i}", counts, 0) for i, counts in enumerate(counted)
        ]

    def scores(self, columns: Columns, counted: list[dict[str, int]]) -> Scores:
        pairs = zip(self.category, counted, strict=True)
        return join(
            [
                numeric_scores(self.numeric, count_numeric(self.numeric, list(columns.values()))),
                category_scores(self.category, [count_category(s, c, 0) for s, c in pairs]),
            ]
        )


def flagged(scores: Scores) -> list[tuple[str, str]]:
    rejected = benjamini_hochberg(p_values(scores.z, scores.one_sided), q=0.001)
    pairs = zip(scores.columns, scores.kinds, rejected.tolist(), strict=True)
    return [(column, kind) for column, kind, hit in pairs if hit]


@pytest.mark.parametrize(("n", "windows"), [(200, 1_500), (2_000, 500)])
def test_at_most_three_of_a_thousand_windows_alarm_on_nothing(n: int, windows: int) -> None:
    random = np.random.default_rng(11)
    reference = Reference(random)
    alarms = [
        bool(flagged(reference.scores(numbers(random, n), texts(random, n))))
        for _ in range(windows)
    ]
    assert sum(alarms) <= 3 * windows / 1_000


def test_scores_are_standard_normal_where_nothing_drifts() -> None:
    random = np.random.default_rng(12)
    reference = Reference(random, 100_000)
    z = np.array([reference.scores(numbers(random, 500), texts(random, 500)).z for _ in range(300)])
    kinds = np.array(reference.scores(numbers(random, 500), texts(random, 500)).kinds)
    for kind in ("location", "scale", "cells"):
        of = z[:, kinds == kind]
        assert np.abs(of.mean(axis=0)).max() < 0.35, kind
        assert of.var(axis=0).max() < 1.5, kind


def moved(random: np.random.Generator, n: int, change: str) -> tuple[Columns, list[dict[str, int]]]:
    columns, counted = numbers(random, n), texts(random, n)
    if change == "location":
        columns["n0"] = columns["n0"] + 0.1
    elif change == "scale":
        columns["n0"] = columns["n0"] * 1.1
    elif change == "missing":
        columns["gaps"] = np.where(random.random(n) < 0.07, np.nan, random.normal(size=n))
    else:
        counted[0]["new"] = max(round(0.005 * n), 1)
    return columns, counted


def delay(reference: Reference, random: np.random.Generator, n: int, change: str) -> int:
    """Return the window in which a change that came with the first one is found."""
    state, threshold = None, 0.0
    for window in range(1, 60):
        scores = reference.scores(*moved(random, n, change))
        summed = np.array([kind not in AT_ONCE for kind in scores.kinds])
        if state is None:
            state = Cusum.start(len(summed))
            threshold = cusum_threshold(int(summed.sum()), run_length=1_500)
        z = np.where(summed, scores.z, 0.0)
        allowance = np.maximum(0.5, 3 * scores.noise)
        state = accumulate(
            state, z, allowance=allowance, ceiling=threshold + 2, one_sided=scores.one_sided
        )
        if flagged(scores) or (state.highest > threshold).any():
            return window
    return 60


@pytest.mark.parametrize(
    ("change", "n", "windows"),
    [
        ("location", 2_000, 2),
        ("scale", 2_000, 1),
        ("missing", 2_000, 3),
        ("unseen", 2_000, 1),
        ("location", 200, 12),
        ("unseen", 200, 4),
    ],
)
def test_small_changes_are_found_soon(change: str, n: int, windows: int) -> None:
    random = np.random.default_rng(13)
    reference = Reference(random, 100_000)
    delays = [delay(reference, random, n, change) for _ in range(25)]
    assert np.median(delays) <= windows


def test_rare_events_do_not_alarm_where_the_plain_z_does() -> None:
    # Two events where 0.1 were expected: once in two hundred windows, but z is 6.
    z, skewness = np.array([6.0]), np.array([1 / np.sqrt(0.1)])
    assert p_values(z, np.array([True]))[0] < 1e-8
    corrected = p_values(normal_score(z, skewness), np.array([True]))[0]
    assert 0.001 < corrected < 0.02


def test_an_empty_window_and_an_empty_reference_say_nothing() -> None:
    sketch = sketch_numeric({"x": np.arange(100.0), "void": np.full(100, np.nan)})
    scores = numeric_scores(sketch, count_numeric(sketch, [np.empty(0), np.empty(0)]))
    assert scores.z.tolist() == [0.0] * 10
    gone = count_numeric(sketch, [np.full(50, np.nan), np.full(50, np.nan)])
    assert ("x", "missing") in flagged(numeric_scores(sketch, gone))
    assert ("void", "missing") not in flagged(numeric_scores(sketch, gone))
