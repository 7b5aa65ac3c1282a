"""True quality: what the labels that came say about each version, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.measures.detection import ErrorWatch, watch_error
from everfit.measures.figures import figure
from everfit.measures.scores import REGRESSION as REGRESSION_METRICS
from everfit.measures.scores import losses, score
from everfit.monitoring.model import AlertKind, Finding, MonitorConfig, Quality, Window
from everfit.monitoring.reference import Reference
from everfit.packages import label_texts

Floats = NDArray[np.float64]

REGRESSION, CLASSIFICATION = "regression", "classification"
# A loss is cut off at so many times the signed-off mean: a bound is what makes the test exact.
CUT = 4.0
# Mean windows between false alarms, per row of `run_length`.
ROWS_PER_WINDOW = 30.0
MATURED = 0.9
Z90 = 1.2816


def task_of(config: MonitorConfig) -> str:
    """Return the task: as configured, or the one that has the metric."""
    if config.task is not None:
        return str(config.task)
    return REGRESSION if config.metric in REGRESSION_METRICS else CLASSIFICATION


def with_losses(rows: pl.DataFrame, task: str) -> pl.DataFrame:
    """Return the labelled rows with ``loss`` and ``other_loss`` (null where none other scored).

    Rows whose label or prediction is no finite number are left out of a regression.
    """
    if task == REGRESSION:
        numbers = pl.col("label", "prediction", "other_prediction").cast(pl.Float64, strict=False)
        rows = rows.with_columns(numbers)
        sound = np.isfinite(rows["label"].to_numpy()) & np.isfinite(rows["prediction"].to_numpy())
        rows = rows if sound.all() else rows.filter(pl.Series(sound))
        mask = np.isfinite(rows["other_prediction"].to_numpy())
    else:
        rows = rows.with_columns(
            label_texts(rows["prediction"]), label_texts(rows["other_prediction"])
        )
        mask = rows["other_prediction"].is_not_null().to_numpy()
    second = np.full(rows.height, np.nan)
    if mask.any():
        picked = rows.filter(pl.Series(mask))
        second[mask] = losses(
            task, picked["label"].to_numpy(), picked["other_prediction"].to_numpy()
        )
    first = (
        losses(task, rows["label"].to_numpy(), rows["prediction"].to_numpy())
        if rows.height
        else np.empty(0)
    )
    return rows.with_columns(
        pl.Series("loss", first, pl.Float64),
        pl.Series("other_loss", second, pl.Float64).fill_nan(None),
    )


def window_quality(window: Window, rows: pl.DataFrame, task: str, metric: str) -> Quality | None:
    """Return the quality of a window's version on its labelled ``rows``, losses included."""
    if not rows.height:
        return window.quality
    loss = rows["loss"].to_numpy()
    paired = rows.filter(pl.col("other_loss").is_not_null())
    other = paired["other_version"].mode().max() if paired.height else None
    paired = paired.filter(pl.col("other_version") == other) if other is not None else paired
    return Quality(
        metric=metric,
        value=_metric(rows, loss, task, metric),
        loss=float(loss.mean()),
        rows=rows.height,
        coverage=min(rows.height / max(window.rows, 1), 1.0),
        other_version=other if isinstance(other, int) else None,
        other_loss=_mean(paired["other_loss"]),
        paired_loss=_mean(paired["loss"]),
        other_rows=paired.height,
        watched=window.quality is not None and window.quality.watched,
    )


def _mean(values: pl.Series) -> float | None:
    found = values.mean()
    return float(found) if isinstance(found, float) else None


def _metric(rows: pl.DataFrame, loss: Floats, task: str, metric: str) -> float | None:
    """Return the metric, or None where it has no value on these rows."""
    if metric == "mae":
        return float(loss.mean())
    if metric == "accuracy":
        return 1.0 - float(loss.mean())
    truth, guess = rows["label"].to_numpy(), rows["prediction"].to_numpy()
    try:
        if task == REGRESSION:
            return score(metric, truth, guess)
        return score(metric, truth, guess, *_chances(rows))
    except ValueError:
        return None


def _chances(rows: pl.DataFrame) -> tuple[Floats | None, Sequence[str]]:
    """Return probabilities of both classes from that of the predicted one; None for more."""
    classes = sorted({*rows["label"].to_list(), *rows["prediction"].to_list()})
    if len(classes) != 2 or rows["score"].null_count():
        return None, classes
    chance = rows["score"].to_numpy()
    second = np.where(rows["prediction"].to_numpy() == classes[1], chance, 1.0 - chance)
    return np.column_stack([1.0 - second, second]), classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard:
    """The loss that was signed off for a version, and the most that is still all right."""

    loss: float
    limit: float


def standard(version: int, reference: Reference | None, config: MonitorConfig) -> Standard | None:
    """Return what a version's loss is held against, or None where nobody signed one off.

    The limit is the upper end of the signed-off mean's 90% interval plus the tolerance.
    """
    given = config.signed_off.get(version)
    if given is not None:
        return Standard(loss=given, limit=given * (1.0 + config.tolerance))
    if reference is None or reference.losses is None:
        return None
    mean, deviation, rows = reference.losses
    upper = mean + Z90 * max(deviation, mean / rows**0.5) / rows**0.5
    return Standard(loss=mean, limit=upper * (1.0 + config.tolerance))


def watch(
    state: ErrorWatch, values: Floats, held: Standard, task: str, *, run_length: float
) -> ErrorWatch:
    """Return the watch on a version's loss after more losses (or means of windows)."""
    bound = 1.0 if task == CLASSIFICATION else CUT * max(held.limit, 1e-12)
    limit = min(max(held.limit / bound, 1e-3), 0.999)
    cut = np.clip(values / bound, 0.0, 1.0)
    return watch_error(cut, limit, since=state, run_length=run_length)


def is_matured(window: Window, now: datetime, delay: timedelta) -> bool:
    """Return whether a window's labels are in: nearly all, or as long after as they can take."""
    if window.quality is None or not window.closed:
        return False
    return window.quality.coverage >= MATURED or now >= window.end + delay


def quality_finding(
    version: int, window_start: datetime, watched: ErrorWatch, held: Standard, loss: float
) -> Finding:
    """Return what the labels of one window say about a version's quality."""
    calm = Finding(kind=AlertKind.QUALITY, version=version, window_start=window_start)
    if watched.alarm is None:
        return calm
    return Finding(
        kind=AlertKind.QUALITY,
        version=version,
        window_start=window_start,
        summary=f"loss {figure(loss)} where {figure(held.loss)} was signed off "
        f"(up to {figure(held.limit)} is tolerated)",
        action="retrain on fresh rows",
        numbers=_numbers(held, loss),
    )


def _numbers(held: Standard, loss: float) -> Mapping[str, Any]:
    return {"loss": loss, "signed_off": held.loss, "limit": held.limit}
