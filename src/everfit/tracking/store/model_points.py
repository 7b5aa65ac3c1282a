"""Rows of the metrics that measure logged models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from everfit.filters import chunks, listed
from everfit.kernel import Transaction
from everfit.tracking.model import MetricPoint, ModelPoint

# What tells the series of a model apart: model and series of the run by number, dataset, digest.
Series = tuple[int, int, str, str]

# The latest value is that of the last time, then step: MLflow's order for models, not for runs.
_PUT_SERIES = """
INSERT INTO tracking_model_series AS s
    (model, run_series, dataset, digest, run, key, at, step, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (model, run_series, dataset, digest) DO UPDATE SET
    value = CASE WHEN (excluded.at, excluded.step, coalesce(excluded.value, 0.0))
        > (s.at, s.step, coalesce(s.value, 0.0)) THEN excluded.value ELSE s.value END,
    step = CASE WHEN (excluded.at, excluded.step) > (s.at, s.step)
        THEN excluded.step ELSE s.step END,
    at = CASE WHEN excluded.at > s.at THEN excluded.at ELSE s.at END
"""
_PUT_POINT = """
INSERT INTO tracking_model_points (series, at, step, value, missing) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""


def put_model_points(
    tx: Transaction, run: int, found: Mapping[Series, Sequence[MetricPoint]]
) -> None:
    """Add a run's points to models' histories, and to the latest values those that come later."""
    # In one order everywhere: two writers that hold each other's rows would wait for ever.
    tx.execute(_PUT_SERIES, [_series_row(series, run, found[series]) for series in sorted(found)])
    numbers = _numbers(tx, found)
    rows = [_point_row(numbers[series], point) for series in found for point in found[series]]
    tx.execute(_PUT_POINT, rows)


def _series_row(series: Series, run: int, points: Sequence[MetricPoint]) -> tuple[object, ...]:
    latest = max(points, key=lambda point: (point.at_us, point.step, _number(point.value)))
    value = None if math.isnan(latest.value) else latest.value
    return (*series, run, latest.key, latest.at_us, latest.step, value)


def _point_row(series: int, point: MetricPoint) -> tuple[int, int, int, float, int]:
    return series, point.at_us, point.step, _number(point.value), int(math.isnan(point.value))


def _number(value: float) -> float:
    """Return a value that can be ordered: NaN as 0."""
    return 0.0 if math.isnan(value) else value


def _numbers(tx: Transaction, found: Mapping[Series, object]) -> dict[Series, int]:
    models = sorted({model for model, *_ in found})
    query = (
        "SELECT model, run_series, dataset, digest, number FROM tracking_model_series "
        f"WHERE model IN ({listed(models)}) "
        f"AND run_series IN ({listed(sorted({series for _, series, *_ in found}))})"
    )
    return {(row[0], row[1], row[2], row[3]): row[4] for row in tx.execute(query)}


def points_of(tx: Transaction, models: Sequence[int]) -> dict[int, list[ModelPoint]]:
    """Return every point that measures these models, by key, time, step and run."""
    found: dict[int, list[ModelPoint]] = {model: [] for model in models}
    for part in chunks(models):
        query = (
            "SELECT s.model, s.key, p.value, p.missing, p.step, p.at, m.id, s.dataset, s.digest, "
            "r.id FROM tracking_model_series s "
            "JOIN tracking_model_points p ON p.series = s.number "
            "JOIN tracking_logged_models m ON m.number = s.model "
            "JOIN tracking_runs r ON r.number = s.run "
            f"WHERE s.model IN ({listed(part)}) "
            "ORDER BY s.model, s.key, p.at, p.step, s.run, s.dataset, s.digest, p.value"
        )
        for model, key, value, missing, step, at_us, *rest in tx.execute(query):
            point = MetricPoint(key, math.nan if missing else value, step, at_us)
            found[model].append(ModelPoint(point, *rest))
    return found
