"""Asking one loaded version: its predictions, their probabilities and how long it took."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.errors import EverfitError, PredictionFailed
from everfit.packages import Kind, Signature
from everfit.serving.model import Rows
from everfit.serving.plain import Plain

Floats = npt.NDArray[np.float64]
Said = tuple[npt.NDArray[Any], Floats | None]
Question = Rows | Plain


class Model(Protocol):
    """What is asked for predictions: a fitted model, or the one that it was compiled to."""

    signature: Signature

    def predict_both(self, frame: pl.DataFrame) -> Said:
        """Return predictions and scores."""
        ...


@runtime_checkable
class ByArrays(Protocol):
    """A model that needs no frame."""

    def ask(self, columns: Mapping[str, npt.NDArray[Any]]) -> Said:
        """Return predictions and scores, as `CompiledModel.ask` does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Version:
    """A version's model in memory. ``by_arrays`` is the same where it may be asked without frames.

    ``places`` are those of the classes in its scores.
    """

    number: int
    model: Model
    by_arrays: ByArrays | None
    places: Mapping[object, int]

    @classmethod
    def of(cls, number: int, model: Model, requests: Signature) -> Self:
        """Return the version for requests that fit a signature: its own, or the champion's."""
        kinds = {f.name: f.kind for f in requests.inputs if f.kind is not Kind.TIME}
        fits = all(kinds.get(field.name) is field.kind for field in model.signature.inputs)
        return cls(
            number=number,
            model=model,
            by_arrays=model if fits and isinstance(model, ByArrays) else None,
            places={label: place for place, label in enumerate(model.signature.classes)},
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """What one version said to the rows of a request; both arrays have the shape ``(rows,)``.

    ``scores`` holds the probability of each predicted class, None where the model has none.
    """

    version: int
    predictions: npt.NDArray[Any]
    scores: Floats | None
    latency_ms: float


def score(version: Version, rows: Question) -> Scored:
    """Return what ``version`` says to ``rows``.

    Raises
    ------
    EverfitError
        PredictionFailed whatever the model raises, RowsInvalid if the rows do not fit it.
    """
    started = time.perf_counter()
    try:
        if version.by_arrays is not None and isinstance(rows, Plain):
            predictions, scores = version.by_arrays.ask(rows.arrays)
        else:
            predictions, scores = version.model.predict_both(rows.frame)
    except EverfitError:
        raise
    except Exception as error:
        raise PredictionFailed(
            f"version {version.number} raised {type(error).__name__} on {rows.height:,} rows: "
            f"{error}",
            hint="Roll back with `everfit rollback`, then train the model again.",
            version=version.number,
        ) from error
    latency_ms = (time.perf_counter() - started) * 1000
    return Scored(
        version=version.number,
        predictions=predictions,
        scores=None if scores is None else _chosen(version, predictions, scores),
        latency_ms=latency_ms,
    )


def _chosen(version: Version, predictions: npt.NDArray[Any], scores: Floats) -> Floats:
    """Return the probability of each predicted class, shape ``(rows,)``."""
    columns = [version.places[label] for label in predictions.tolist()]
    chosen: Floats = scores[np.arange(len(columns)), columns]
    return chosen
