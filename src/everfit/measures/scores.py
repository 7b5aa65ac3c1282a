"""Scores of predictions against the truth, as one number and row by row.

Truth and predictions are arrays of shape ``(n,)``; ``scores`` are probabilities of shape
``(n, classes)`` in the order of ``classes``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from everfit.measures.intervals import Floats, as_sample

Labels = npt.NDArray[Any]
Codes = npt.NDArray[np.int64]

REGRESSION = ("mae", "rmse", "r2", "mape")
CLASSIFICATION = ("accuracy", "f1", "roc_auc", "log_loss")
HIGHER = frozenset({"r2", "accuracy", "f1", "roc_auc", "silhouette"})
METRICS = (*REGRESSION, *CLASSIFICATION, "silhouette")

# The smallest probability that log loss takes seriously: one wrong certainty must not be infinite.
CERTAIN = float(np.finfo(np.float64).eps)


def better_is(metric: str) -> str:
    """Return ``"lower"`` or ``"higher"``: the direction in which ``metric`` improves.

    Examples
    --------
    >>> better_is("mae"), better_is("roc_auc")
    ('lower', 'higher')
    """
    _check_metric(metric)
    return "higher" if metric in HIGHER else "lower"


def _check_metric(metric: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}; use one of {', '.join(METRICS)}")


def score(
    metric: str,
    truth: npt.ArrayLike,
    predictions: npt.ArrayLike,
    scores: npt.ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
) -> float:
    r"""Value of ``metric`` for predictions on rows whose truth is known.

    ``mae`` mean :math:`|y - \hat y|` · ``rmse`` :math:`\sqrt{\text{mean} (y - \hat y)^2}` ·
    ``r2`` :math:`1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2` · ``mape`` mean
    :math:`|y - \hat y| / |y|` · ``accuracy`` share of right rows · ``f1`` of the second class, or
    the mean over classes where there are more than two · ``roc_auc`` chance that a row of the class
    scores above one of another, mean of one-against-rest for more than two classes · ``log_loss``
    mean :math:`-\ln p_y`.

    Parameters
    ----------
    metric
        One of `METRICS`; ``silhouette`` has a function of its own.
    truth, predictions
        Numbers for regression, labels for classification, shape ``(n,)``.
    scores
        Probabilities, shape ``(n, classes)``; needed by ``roc_auc`` and ``log_loss``.
    classes
        Labels in the order of the columns of ``scores``; by default those in truth and
        predictions, sorted.

    Returns
    -------
    float
        Finite; see `better_is` for its direction.

    Raises
    ------
    ValueError
        If nothing can be computed: no rows, NaN, one class only for ``roc_auc``, a truth of 0 for
        ``mape``, a constant truth for ``r2``.

    Examples
    --------
    >>> score("mae", [1, 2, 4], [1, 3, 2])
    1.0
    >>> round(score("f1", ["no", "yes", "yes"], ["no", "yes", "no"]), 3)
    0.667

    References
    ----------
    Hastie, T., Tibshirani, R. & Friedman, J. (2009). *The Elements of Statistical Learning*, ch. 7.
    """
    loss = float(row_losses(metric, truth, predictions, scores, classes).mean())
    if metric == "rmse":
        return math.sqrt(loss)
    return 1 - loss if metric in HIGHER else loss


def losses(task: str, truth: npt.ArrayLike, predictions: npt.ArrayLike) -> Floats:
    """Loss of each row in the terms of its task: absolute error, or 1 where the label is wrong.

    Parameters
    ----------
    task
        ``"regression"`` or ``"classification"``.
    truth, predictions
        Numbers or labels, shape ``(n,)``.

    Returns
    -------
    array
        Shape ``(n,)``, 0 for a perfect prediction; in the target's unit, or 0 and 1.

    Raises
    ------
    ValueError
        If there are no rows, shapes differ, or a number is not finite.

    Examples
    --------
    >>> losses("classification", ["a", "b"], ["a", "a"]).tolist()
    [0.0, 1.0]
    """
    metric = {"regression": "mae", "classification": "accuracy"}.get(task)
    if metric is None:
        raise ValueError(f"task {task!r} has no loss per row")
    return row_losses(metric, truth, predictions)


def row_losses(
    metric: str,
    truth: npt.ArrayLike,
    predictions: npt.ArrayLike,
    scores: npt.ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
) -> Floats:
    r"""Loss of each row such that the mean over rows is the loss that ``metric`` stands for.

    That loss is the metric itself where lower is better (the mean square for ``rmse``), and its
    distance from 1 where higher is better. ``f1`` and ``roc_auc`` are no means of rows; their rows
    carry the influence function, :math:`1 - \hat\theta - \phi_i` with mean :math:`1 - \hat\theta`:
    sums over rows or blocks of it have the sampling variance of the metric (for ``roc_auc`` this is
    DeLong's method), so that one method compares models under every metric.

    Parameters
    ----------
    metric, truth, predictions, scores, classes
        As in `score`.

    Returns
    -------
    array
        Shape ``(n,)``; lower is better. Influences may be negative on single rows.

    Raises
    ------
    ValueError
        As in `score`.

    Examples
    --------
    >>> row_losses("rmse", [1, 2], [1, 4]).tolist()
    [0.0, 4.0]
    >>> chance = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]]
    >>> float(1 - row_losses("roc_auc", [0, 0, 1, 1], [0, 0, 1, 0], chance).mean().round(2))
    0.75

    References
    ----------
    DeLong, E. R., DeLong, D. M. & Clarke-Pearson, D. L. (1988). Comparing the areas under two or
    more correlated receiver operating characteristic curves. *Biometrics* 44, 837-845.
    """
    _check_metric(metric)
    if metric in _OF_NUMBERS:
        actual, guess = as_sample(truth, "truth"), as_sample(predictions, "predictions")
        _check_shapes(actual, guess)
        return _OF_NUMBERS[metric](actual, guess)
    if metric == "silhouette":
        raise ValueError("silhouette needs the points themselves: use silhouettes(points, labels)")
    labels, guesses = np.asarray(truth), np.asarray(predictions)
    _check_shapes(labels, guesses)
    if metric == "accuracy":
        return np.asarray(labels != guesses, dtype=np.float64)
    known = list(classes) if classes is not None else sorted({*labels.tolist(), *guesses.tolist()})
    codes = encode(labels, known)
    if metric == "f1":
        return _f1_losses(codes, encode(guesses, known), len(known))
    chances = _probabilities(scores, (labels.size, len(known)), metric)
    return _log_losses(codes, chances) if metric == "log_loss" else _auc_losses(codes, chances)


def _check_shapes(truth: Labels, predictions: Labels) -> None:
    if truth.ndim != 1 or not truth.size or truth.shape != predictions.shape:
        raise ValueError(f"{truth.shape} truth and {predictions.shape} predictions do not pair up")


def encode(labels: npt.ArrayLike, classes: Sequence[Any]) -> Codes:
    """Return the position of each label in ``classes``, and -1 for one that is not there.

    Examples
    --------
    >>> encode(["b", "a", "c"], ["a", "b"]).tolist()
    [1, 0, -1]
    """
    position = {label: i for i, label in enumerate(classes)}
    found = [position.get(label, -1) for label in np.asarray(labels).tolist()]
    return np.array(found, dtype=np.int64)


def _probabilities(scores: npt.ArrayLike | None, shape: tuple[int, int], metric: str) -> Floats:
    if scores is None:
        raise ValueError(f"{metric} needs the probabilities of the classes; the model gives none")
    chances = np.asarray(scores, dtype=np.float64)
    if chances.shape != shape or not np.isfinite(chances).all():
        raise ValueError(f"probabilities must be finite and of shape {shape}, not {chances.shape}")
    return chances


def _mae(truth: Floats, guess: Floats) -> Floats:
    return np.abs(truth - guess)


def _square(truth: Floats, guess: Floats) -> Floats:
    return (truth - guess) ** 2


def _unexplained(truth: Floats, guess: Floats) -> Floats:
    variance = float(truth.var())
    if not variance > 0:
        raise ValueError("r2 is not defined where the truth is the same in every row; use mae")
    return (truth - guess) ** 2 / variance


def _percentage(truth: Floats, guess: Floats) -> Floats:
    if not np.abs(truth).min() > 0:
        raise ValueError("mape is not defined where the truth is 0; use mae")
    return np.abs((truth - guess) / truth)


_OF_NUMBERS: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "mae": _mae,
    "rmse": _square,
    "r2": _unexplained,
    "mape": _percentage,
}


def _log_losses(codes: Codes, chances: Floats) -> Floats:
    found = np.take_along_axis(chances, np.maximum(codes, 0)[:, None], axis=1)[:, 0]
    # A class the model never saw has no probability at all.
    found = np.where(codes >= 0, found, 0.0)
    return -np.log(np.clip(found, CERTAIN, 1.0))


def _f1_losses(codes: Codes, guesses: Codes, classes: int) -> Floats:
    if classes < 2:
        raise ValueError("f1 needs two classes; there is one")
    counted = [classes - 1] if classes == 2 else range(classes)
    rows: Floats = np.mean([_f1_of_one(codes == c, guesses == c) for c in counted], axis=0)
    return rows


def _f1_of_one(actual: npt.NDArray[np.bool_], guess: npt.NDArray[np.bool_]) -> Floats:
    both = 2.0 * (actual & guess)
    either = actual.astype(np.float64) + guess
    if not either.any():  # The class occurs nowhere: nothing was found of nothing, F1 is 0.
        return np.ones(actual.size)
    f1 = both.sum() / either.sum()
    losses: Floats = 1 - f1 - (both - f1 * either) / either.mean()
    return losses


def _auc_losses(codes: Codes, chances: Floats) -> Floats:
    classes = chances.shape[1]
    counted = [classes - 1] if classes == 2 else range(classes)
    rows: Floats = np.mean([_auc_of_one(codes == c, chances[:, c]) for c in counted], axis=0)
    return rows


def _auc_of_one(actual: npt.NDArray[np.bool_], chance: Floats) -> Floats:
    positives, negatives = np.sort(chance[actual]), np.sort(chance[~actual])
    if not (positives.size and negatives.size):
        raise ValueError("roc_auc needs rows of the class and rows of others; one kind is absent")
    placed = np.where(actual, _share_below(negatives, chance), 1 - _share_below(positives, chance))
    auc = placed[actual].mean()
    share = np.where(actual, actual.mean(), 1 - actual.mean())
    losses: Floats = 1 - auc - (placed - auc) / share
    return losses


def _share_below(ordered: Floats, values: Floats) -> Floats:
    """Return the share of ``ordered`` below each value; equal ones count one half."""
    low = np.searchsorted(ordered, values, side="left")
    high = np.searchsorted(ordered, values, side="right")
    share: Floats = (low + high) / (2 * ordered.size)
    return share


def silhouettes(points: npt.ArrayLike, labels: npt.ArrayLike) -> Floats:
    r"""Silhouette of each row: how much nearer it is to its own cluster than to the next.

    .. math:: s_i = \frac{b_i - a_i}{\max(a_i, b_i)}

    with :math:`a_i` the mean distance to its own cluster and :math:`b_i` the smallest mean
    distance to another. Distances of all pairs are held at once: hand in a sample.

    Parameters
    ----------
    points
        Numbers on comparable scales, shape ``(n, features)``.
    labels
        Cluster of each row, shape ``(n,)``, at least two different ones.

    Returns
    -------
    array
        Shape ``(n,)``, from -1 to 1, higher is better; 0 for a row alone in its cluster.

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not finite, or there is one cluster only.

    Examples
    --------
    >>> silhouettes([[0.0], [0.1], [5.0], [5.1]], [0, 0, 1, 1]).round(2).tolist()
    [0.98, 0.98, 0.98, 0.98]

    References
    ----------
    Rousseeuw, P. J. (1987). Silhouettes. *Journal of Computational and Applied Mathematics* 20.
    """
    x = np.asarray(points, dtype=np.float64)
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if x.ndim != 2 or len(codes) != len(x) or not np.isfinite(x).all():
        raise ValueError(f"points of shape {x.shape} must be finite, with a label each")
    if len(names) < 2:
        raise ValueError("a silhouette needs two clusters; all rows are in one")
    squares = (x**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * x @ x.T, 0.0))
    np.fill_diagonal(distances, 0.0)
    totals = distances @ np.eye(len(names))[codes]
    rows = np.arange(len(x))
    own = totals[rows, codes] / np.maximum(counts[codes] - 1, 1)
    means = totals / counts
    means[rows, codes] = np.inf
    other = means.min(axis=1)
    widths = np.where(counts[codes] > 1, other - own, 0.0)
    found: Floats = widths / np.maximum(np.maximum(own, other), CERTAIN)
    return found
