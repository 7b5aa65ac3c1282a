"""Rows that hang together: few false alarms, and real drift is found (fixed seeds)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from everfit.measures.drift import Scores, numeric_scores
from everfit.measures.serial import Dependence, dependence, studentise
from everfit.measures.sketch import count_numeric, sketch_numeric

COLUMNS = 10


def series(random: np.random.Generator, rows: int, memory: float) -> np.ndarray:
    """Columns of a first-order autoregression with variance 1."""
    noise = random.normal(size=(rows + 2_000, COLUMNS)) * np.sqrt(1 - memory**2)
    found: np.ndarray = lfilter([1.0], [1.0, -memory], noise, axis=0)[2_000:]
    return found


class Watch:
    """A reference of many windows, and later windows judged by it."""

    def __init__(self, reference: np.ndarray, window: int) -> None:
        columns = {str(i): reference[:, i].copy() for i in range(COLUMNS)}
        self.sketch = sketch_numeric(columns)
        parts = [reference[start : start + window] for start in range(0, len(reference), window)]
        scored = [self.score(part) for part in parts]
        z = np.array([scores.z for scores in scored])
        rows = np.array([len(part) for part in parts], dtype=float)
        found = dependence(z, rows, scored[0].one_sided)
        assert found is not None
        self.found: Dependence = found

    def score(self, rows: np.ndarray) -> Scores:
        return numeric_scores(self.sketch, count_numeric(self.sketch, list(rows.T)))

    def alarms(self, rows: np.ndarray) -> bool:
        scores = self.score(rows)
        t = studentise(self.found, scores.z, rows=len(rows))
        # None of the reference's windows lies outside its own range.
        t = np.where(np.array(scores.kinds) == "range", 0.0, t)
        return bool((np.where(scores.one_sided, t, np.abs(t)) > self.found.limit).any())


def rate(memory: float, *, shift: float) -> float:
    window, hits = 200, []
    for seed in range(4):
        random = np.random.default_rng(seed)
        rows = series(random, window * 120, memory)
        watch = Watch(rows[: window * 40], window)
        assert watch.found.dependent
        later = rows[window * 40 :] + shift * (np.arange(COLUMNS) == 0)
        hits += [watch.alarms(later[i : i + window]) for i in range(0, len(later), window)]
    return float(np.mean(hits))


@pytest.mark.parametrize("memory", [0.5, 0.9, 0.98])
def test_at_most_three_percent_of_windows_alarm_on_nothing(memory: float) -> None:
    assert rate(memory, shift=0.0) <= 0.03


def test_real_drift_is_found_all_the_same() -> None:
    assert rate(0.5, shift=1.0) >= 0.9
    assert rate(0.9, shift=2.0) >= 0.6


def test_independent_rows_are_not_taken_for_dependent() -> None:
    taken = []
    for seed in range(20):
        rows = np.random.default_rng(seed).normal(size=(4_000, COLUMNS))
        taken.append(Watch(rows, 200).found.dependent)
    assert not any(taken)


def test_fewer_than_eight_windows_tell_nothing() -> None:
    assert dependence(np.zeros((7, 3)), np.full(7, 10.0), np.zeros(3, dtype=np.bool_)) is None
