"""Asking one loaded version: its predictions, their probabilities and how long it took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.errors import EverfitError, PredictionFailed
from everfit.packages import Signature


class Model(Protocol):
    """What is asked for predictions: a fitted model, or the one that it was compiled to."""

    signature: Signature

    def predict_both(
        self, frame: pl.DataFrame
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64] | None]:
        """Return predictions and scores."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """What one version said to the rows of a request; both arrays have the shape ``(rows,)``.

    ``scores`` holds the probability of each predicted class, None where the model has none.
    """

    version: int
    predictions: npt.NDArray[Any]
    scores: npt.NDArray[np.float64] | None
    latency_ms: float


def score(fitted: Model, version: int, frame: pl.DataFrame) -> Scored:
    """Return what ``fitted`` says to the rows of ``frame``.

    Raises
    ------
    EverfitError
        PredictionFailed whatever the model raises, RowsInvalid if the rows do not fit it.
    """
    started = time.perf_counter()
    try:
        predictions, scores = fitted.predict_both(frame)
    except EverfitError:
        raise
    except Exception as error:
        raise PredictionFailed(
            f"version {version} raised {type(error).__name__} on {frame.height:,} rows: {error}",
            hint="Roll back with `everfit rollback`, then train the model again.",
            version=version,
        ) from error
    latency_ms = (time.perf_counter() - started) * 1000
    return Scored(
        version=version,
        predictions=predictions,
        scores=None if scores is None else _chosen(fitted, predictions, scores),
        latency_ms=latency_ms,
    )


def _chosen(
    fitted: Model, predictions: npt.NDArray[Any], scores: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the probability of each predicted class, shape ``(rows,)``."""
    place = {label: i for i, label in enumerate(fitted.signature.classes)}
    columns = [place[label] for label in predictions.tolist()]
    chosen: npt.NDArray[np.float64] = scores[np.arange(len(columns)), columns]
    return chosen
