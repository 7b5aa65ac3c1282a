"""A trained model with its signature: what every room asks for predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.errors import Invalid, PredictionFailed
from everfit.packages.model import Scalar, Signature
from everfit.packages.signature import cast

CLASSIFICATION = "classification"
REGRESSION = "regression"
# What estimators raise on rows they cannot handle.
_REFUSALS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    pl.exceptions.PolarsError,
)


class FittedModel:
    """An estimator that takes a Polars frame of its signature's columns, made safe to ask.

    Columns are selected and cast here, so a caller's frame may hold more of them in any order.
    Missing values reach the estimator also where training saw none: what to do with them is
    decided by the imputer that was trained, and strictness by the model server.
    ``warning`` says in which installed versions this process differs from the training.

    Parameters
    ----------
    estimator
        Has ``predict`` and perhaps ``predict_proba``, as in scikit-learn. Its ``classes_``
        are the signature's, or 0, 1, … standing for them.
    """

    __slots__ = ("_index", "_labels", "estimator", "signature", "warning")

    def __init__(self, estimator: Any, signature: Signature, *, warning: str | None = None) -> None:
        self.estimator = estimator
        self.signature = signature
        self.warning = warning
        if not hasattr(estimator, "predict"):
            raise Invalid(
                f"the model, of type {type(estimator).__qualname__}, has no 'predict'",
                hint="Use an estimator that can predict rows it has not seen.",
            )
        self._labels = label_array(signature.classes)
        self._index: dict[Any, int] = {}
        if signature.task == CLASSIFICATION:
            classes = _classes(estimator, signature)
            self._index = {label: place for place, label in enumerate(classes)}

    def predict(self, frame: pl.DataFrame) -> NDArray[Any]:
        """Return one prediction per row: label, float64 value or int64 cluster; shape (rows,).

        A label is the class of the highest score, so that the two never contradict each other.

        Raises
        ------
        RowsInvalid
            If columns are missing or values cannot be cast.
        PredictionFailed
            If the estimator raises, or answers with NaN, infinity or the wrong shape.
        """
        return self.predict_both(frame)[0]

    def scores(self, frame: pl.DataFrame) -> NDArray[np.float64] | None:
        """Return the classes' probabilities, shape (rows, classes); None where it has none.

        Raises as ``predict`` does.
        """
        return self.predict_both(frame)[1] if self._has_scores else None

    def predict_both(self, frame: pl.DataFrame) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Return predictions and scores, running the estimator once; raises as ``predict``."""
        rows = cast(frame, self.signature, allow_nulls=True)
        if rows.height == 0:
            # scikit-learn refuses to answer nothing.
            return self._empty()
        if not self._has_scores:
            return self._plain(rows), None
        scores = self._ask("predict_proba", rows, np.float64)
        self._check(scores, (rows.height, len(self.signature.classes)))
        if _has_threshold(self.estimator):
            return self._plain(rows), scores
        return self._labels[scores.argmax(axis=1)], scores

    @property
    def _has_scores(self) -> bool:
        return self.signature.task == CLASSIFICATION and hasattr(self.estimator, "predict_proba")

    def _plain(self, rows: pl.DataFrame) -> NDArray[Any]:
        if self.signature.task == CLASSIFICATION:
            return self._labels_of(self._ask("predict", rows, None), rows.height)
        values = self._ask("predict", rows, np.float64)
        if values.shape == (rows.height, 1):
            values = values[:, 0]
        self._check(values, (rows.height,))
        return values if self.signature.task == REGRESSION else values.astype(np.int64)

    def _labels_of(self, answers: NDArray[Any], rows: int) -> NDArray[Any]:
        self._check_shape(answers, (rows,))
        known, places = np.unique(answers, return_inverse=True)
        try:
            order = [self._index[label] for label in known.tolist()]
        except KeyError as error:
            raise self._failed(f"answered {error}, which is none of its classes") from error
        return self._labels[np.asarray(order, dtype=np.intp)[places]]

    def _ask(self, method: str, rows: pl.DataFrame, dtype: Any) -> NDArray[Any]:
        try:
            return np.asarray(getattr(self.estimator, method)(rows), dtype=dtype)
        except _REFUSALS as error:
            said = f"raised {type(error).__name__} on {rows.height:,} rows: {error}"
            raise self._failed(said) from error

    def _check(self, values: NDArray[np.float64], shape: tuple[int, ...]) -> None:
        self._check_shape(values, shape)
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argwhere(~finite)[0][0])
            raise self._failed(f"answered {values[row]} for row {row}")

    def _check_shape(self, values: NDArray[Any], shape: tuple[int, ...]) -> None:
        if values.shape != shape:
            raise self._failed(f"answered in the shape {values.shape} instead of {shape}")

    def _failed(self, what: str) -> PredictionFailed:
        return PredictionFailed(
            f"the {type(self.estimator).__qualname__} {what}",
            hint="The rows fit the signature, so the model is at fault: add what it lacks "
            "(an imputer, a limit) and train again; roll back if it is answering.",
        )

    def _empty(self) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        if self.signature.task == CLASSIFICATION:
            scores = np.empty((0, len(self.signature.classes)))
            return self._labels[:0], scores if self._has_scores else None
        return np.empty(0, np.float64 if self.signature.task == REGRESSION else np.int64), None


def _classes(estimator: Any, signature: Signature) -> list[Any]:
    """Return the estimator's own names of the signature's classes, in the same order."""
    own = getattr(estimator, "classes_", None)
    wanted = list(signature.classes)
    found = wanted if own is None else np.asarray(own).tolist()
    if not wanted or found not in (wanted, list(range(len(wanted)))):
        raise Invalid(
            f"the estimator's classes are {found}, the signature's {wanted}",
            hint="Give the signature the estimator's classes_, in their order.",
        )
    return found


def label_array(classes: tuple[Scalar, ...]) -> NDArray[Any]:
    """Return the labels as an array that keeps each one's type."""
    mixed = len({type(label) for label in classes}) > 1
    # NumPy would turn 1 and "a" both into text.
    return np.array(classes, dtype=object if mixed else None)


def _has_threshold(estimator: Any) -> bool:
    """Return whether a threshold, and not the highest score, decides the label.

    True of scikit-learn's ``FixedThresholdClassifier`` and ``TunedThresholdClassifierCV``.
    """
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if steps else estimator
    return any(kind.__name__ == "BaseThresholdClassifier" for kind in type(last).__mro__)
