"""What a closed window says: which columns drifted or broke, and how good its data are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everfit.measures.accumulate import Cusum, accumulate, cusum_threshold
from everfit.measures.drift import AT_ONCE, Scores, p_values
from everfit.measures.multiplicity import benjamini_hochberg
from everfit.measures.serial import studentise
from everfit.monitoring.model import INPUT, AlertKind, Finding, MonitorConfig, Signal
from everfit.monitoring.reference import Counts, Reference, score

Floats = NDArray[np.float64]

DATA_KINDS = frozenset({"missing", "unseen"})
RUN_LENGTH_WINDOWS = 1_500.0
# Sums stop this far above the threshold, so that an alarm ends a few windows after its cause.
HEADROOM = 2.0
# Rows outside the reference's range come in bursts where rows depend on one another: news is a
# share above this, and above so many times what the reference's own windows did.
BURST, BURSTS = 0.1, 2.0
# The reference's own error shifts every window's z alike; this many times it is let go.
REFERENCE_ERRORS = 3.0

WORDS = {
    "location": "its values moved",
    "scale": "its values spread differently",
    "shape": "its distribution changed",
    "cells": "its categories are mixed differently",
    "range": "values lie far outside what the model learned",
    "missing": "the share of missing values changed",
    "unseen": "categories came that the model never saw",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a window's counts say, and the state of accumulation after it."""

    signals: tuple[Signal, ...]
    cusum: Cusum
    drift: Mapping[str, Any]
    data_quality: Mapping[str, float]


def judge(
    reference: Reference, counts: Counts, state: Cusum | None, config: MonitorConfig
) -> Judgement:
    """Return the signals of one closed window against the reference of its version."""
    scores = score(reference, counts)
    state = state or Cusum.start(len(scores.z))
    tolerance = _tolerances(reference, scores, config.drift_tolerance)
    if reference.dependent:
        z, flagged = _calibrated(reference, scores)
    else:
        z, (flagged, state) = scores.z, _independent(scores, state, tolerance, config.q)
    flagged = flagged & (scores.effect >= tolerance)
    signals = tuple(
        Signal(
            column=scores.columns[index],
            kind=scores.kinds[index],
            z=round(float(z[index]), 2),
            effect=round(float(scores.effect[index]), 5),
        )
        for index in sorted(np.flatnonzero(flagged), key=lambda i: -abs(z[i]))
    )
    return Judgement(
        signals=signals,
        cusum=state,
        drift=_summary(scores, z, signals),
        data_quality=data_quality(reference, counts),
    )


def _tolerances(reference: Reference, scores: Scores, tolerance: float) -> Floats:
    shares = np.array([reference.importance.get(name, 1.0) for name in scores.columns])
    allowed: Floats = np.minimum(tolerance / np.maximum(shares, 1e-9), 1.0)
    return allowed


def _calibrated(reference: Reference, scores: Scores) -> tuple[Floats, NDArray[np.bool_]]:
    """Judge by how the reference's own windows varied; normal quantiles would flood."""
    found = reference.dependence
    if found is None:
        return scores.z, np.zeros(scores.z.shape, dtype=np.bool_)
    t = np.where(found.phi > 0, studentise(found, scores.z, rows=scores.rows), 0.0)
    flagged = np.where(scores.one_sided, t, np.abs(t)) > found.limit
    usual = np.array([reference.bursts.get(name, 0.0) for name in scores.columns])
    beyond = (np.array(scores.kinds) == "range") & (scores.effect >= BURST + BURSTS * usual)
    return np.where(beyond, scores.z, t), flagged | beyond


def _independent(
    scores: Scores, state: Cusum, tolerance: Floats, q: float
) -> tuple[NDArray[np.bool_], Cusum]:
    """Judge this window by itself, and together with those before it."""
    at_once = benjamini_hochberg(p_values(scores.z, scores.one_sided), q)
    summed = np.array([kind not in AT_ONCE for kind in scores.kinds])
    threshold = cusum_threshold(max(int(summed.sum()), 1), run_length=RUN_LENGTH_WINDOWS)
    allowance = np.maximum(0.5, REFERENCE_ERRORS * scores.noise + tolerance / scores.error)
    state = accumulate(
        state,
        np.where(summed, scores.z, 0.0),
        allowance=allowance,
        ceiling=threshold + HEADROOM,
        one_sided=scores.one_sided,
    )
    return at_once | (state.highest > threshold), state


def _summary(scores: Scores, z: Floats, signals: Sequence[Signal]) -> dict[str, Any]:
    """Return what is kept of a window: its signals and each column's largest score."""
    largest: dict[str, float] = {}
    for column, value in zip(scores.columns, np.abs(z).tolist(), strict=True):
        name = column.removeprefix(INPUT)
        largest[name] = max(largest.get(name, 0.0), round(value, 2))
    return {
        "signals": [
            [signal.column.removeprefix(INPUT), signal.kind, signal.z, signal.effect]
            for signal in signals
        ],
        "largest": largest,
        "columns": len(largest),
        "drifted": len({signal.column for signal in signals}),
    }


def data_quality(reference: Reference, counts: Counts) -> dict[str, float]:
    """Return the worst column's share of good cells: present ones, and ones in range or known."""
    numeric, category = counts.numeric, counts.category
    rows = max(numeric.rows, *(count.rows for count in category), 1.0)
    missing = [*numeric.missing.tolist(), *(count.missing for count in category)]
    strange = [*numeric.outside.tolist(), *(count.unseen for count in category)]
    return {
        "completeness": round(1.0 - max(missing, default=0.0) / rows, 6),
        "validity": round(1.0 - max(strange, default=0.0) / rows, 6),
    }


def findings(
    signals: Sequence[Signal], *, version: int, window_start: datetime
) -> tuple[Finding, Finding]:
    """Return what a window says about its data and about drift: one finding per cause.

    A column whose values are missing or unknown is broken, not drifted: it counts once.
    """
    broken = {signal.column for signal in signals if signal.kind in DATA_KINDS}
    data = [signal for signal in signals if signal.kind in DATA_KINDS]
    drift = [signal for signal in signals if signal.column not in broken]
    return (
        _finding(AlertKind.DATA, data, version, window_start),
        _finding(AlertKind.DRIFT, drift, version, window_start),
    )


def _finding(
    kind: AlertKind, signals: Sequence[Signal], version: int, window_start: datetime
) -> Finding:
    if not signals:
        return Finding(kind=kind, version=version, window_start=window_start)
    first = {signal.column: signal for signal in reversed(signals)}
    columns = tuple(dict.fromkeys(signal.column.removeprefix(INPUT) for signal in signals))
    worst = signals[0]
    more = f", and {len(columns) - 1} more column(s)" if len(columns) > 1 else ""
    name = columns[0]
    advice = "retrain on fresh rows" if kind is AlertKind.DRIFT else f"look at column {name!r}"
    return Finding(
        kind=kind,
        version=version,
        window_start=window_start,
        columns=columns,
        summary=f"{name}: {WORDS[worst.kind]} (z {worst.z:g}, effect {worst.effect:.3g}){more}",
        action=advice,
        numbers={
            column.removeprefix(INPUT): {"kind": s.kind, "z": s.z, "effect": s.effect}
            for column, s in first.items()
        },
    )
