"""The trial: candidate and champion (or a simple baseline) on the same held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from polars import selectors

from everfit.data import Task
from everfit.errors import PredictionFailed, RowsInvalid
from everfit.measures.figures import figure
from everfit.measures.intervals import Floats
from everfit.measures.paired import Blocks, time_blocks
from everfit.measures.scores import encode, losses, row_losses, score, silhouettes
from everfit.packages import FittedModel, label_text

# Distances between all pairs of rows are held at once.
SILHOUETTE_ROWS = 2_000
# One row's loss says something by itself; f1 and roc_auc exist only for many rows together.
BY_ROW = frozenset({"mae", "rmse", "r2", "mape", "accuracy", "log_loss"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of both models: the columns of truth and time, and how answers are scored."""

    target: str | None
    metric: str
    time: str | None = None
    champion_name: str = "the champion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one side said about every row: values, or positions in the trial's classes."""

    name: str
    predictions: npt.NDArray[Any]
    scores: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Everything the gates look at. Truth and predictions of classes are positions in them."""

    task: Task
    metric: str
    rows: pl.DataFrame
    truth: npt.NDArray[Any]
    classes: tuple[str, ...]
    times: npt.NDArray[np.datetime64] | None
    candidate: Answers
    reference: Answers

    def losses(self, answers: Answers) -> Floats:
        """Return losses whose mean is what the metric stands for; ValueError where it cannot be."""
        if self.task is Task.CLUSTERING:
            return 1 - answers.predictions.astype(np.float64)
        codes = range(len(self.classes))
        return row_losses(self.metric, self.truth, answers.predictions, answers.scores, codes)

    def slice_losses(self, answers: Answers) -> Floats:
        """Return losses that mean the same in any part of the rows."""
        if self.task is Task.CLUSTERING or self.metric in BY_ROW:
            return self.losses(answers)
        return self.task_losses(answers)

    def task_losses(self, answers: Answers) -> Floats:
        """Return absolute errors, or 1 for each wrong label."""
        return losses(self.task, self.truth, answers.predictions)

    def value(self, answers: Answers) -> float:
        """Return the metric itself."""
        if self.task is Task.CLUSTERING:
            return float(answers.predictions.mean())
        codes = range(len(self.classes))
        return score(self.metric, self.truth, answers.predictions, answers.scores, codes)

    def blocks(self, differences: Floats) -> Blocks | None:
        """Return blocks of time that can be taken as independent; None where rows have no time."""
        return None if self.times is None else time_blocks(self.times, differences)


def hold_trial(
    candidate: FittedModel,
    champion: FittedModel | None,
    rows: pl.DataFrame,
    question: Question,
) -> Trial:
    """Ask both models about ``rows``, whose target is known, and return what is to be judged.

    A champion that cannot answer on these rows is replaced by the baseline, which the name says.

    Raises
    ------
    PredictionFailed
        If the candidate fails on them.
    RowsInvalid
        If they are not what the candidate takes.
    """
    task, target = Task(candidate.signature.task), question.target
    if task is Task.CLUSTERING or target is None:
        return _clusters(candidate, champion, rows, question)
    # A class may be new to one of the models, or to both.
    models = [candidate] if champion is None else [candidate, champion]
    labels = [label_text(label) for model in models for label in model.signature.classes]
    truth: npt.NDArray[Any] = rows[target].to_numpy()
    if task is Task.CLASSIFICATION:
        actual = [label_text(value) for value in rows[target]]
        labels = list(dict.fromkeys([*labels, *actual]))
        truth = encode(np.array(actual, dtype=object), labels)
    else:
        truth = truth.astype(np.float64)
    classes = tuple(labels)
    trial = Trial(
        task=task,
        metric=question.metric,
        rows=rows,
        truth=truth,
        classes=classes,
        times=_times(rows, question.time),
        candidate=ask(candidate, rows, classes, name="the candidate"),
        reference=_baseline(task, question.metric, truth, classes),
    )
    return _versus(
        trial, champion, question, lambda model, name: ask(model, rows, classes, name=name)
    )


def _versus(
    trial: Trial,
    champion: FittedModel | None,
    question: Question,
    answers_of: Callable[[FittedModel, str], Answers],
) -> Trial:
    """Return the trial against the champion, or against the baseline where it cannot answer."""
    if champion is None:
        return trial
    try:
        return replace(trial, reference=answers_of(champion, question.champion_name))
    except (PredictionFailed, RowsInvalid) as error:
        said = "fails on" if isinstance(error, PredictionFailed) else "cannot take"
        name = f"{trial.reference.name} ({question.champion_name} {said} these rows)"
        return replace(trial, reference=replace(trial.reference, name=name))


def ask(model: FittedModel, rows: pl.DataFrame, classes: Sequence[str], *, name: str) -> Answers:
    """Return what ``model`` says about ``rows``, labels as positions in ``classes``."""
    predictions, scores = model.predict_both(rows)
    if model.signature.task != Task.CLASSIFICATION:
        return Answers(name=name, predictions=np.asarray(predictions, dtype=np.float64))
    said = encode(np.array(_texts(predictions), dtype=object), classes)
    if scores is not None:
        # Columns in the trial's order; a class this model does not know has no probability.
        spread = np.zeros((rows.height, len(classes)))
        spread[:, encode(np.array(_texts(model.signature.classes)), classes)] = scores
        scores = spread
    return Answers(name=name, predictions=said, scores=scores)


def _texts(labels: Iterable[Any]) -> list[str]:
    plain = labels.tolist() if isinstance(labels, np.ndarray) else labels
    return [label_text(label) for label in plain]


def _times(rows: pl.DataFrame, time: str | None) -> npt.NDArray[np.datetime64] | None:
    if time is None:
        return None
    series = rows[time] if time in rows.columns else pl.Series([None])
    if series.dtype not in (pl.Date, pl.Datetime) or series.null_count():
        # Rows of a series whose times cannot be read: their order stands for it. To take them for
        # independent would make every interval too narrow.
        return np.arange(rows.height).astype("datetime64[s]")
    times: npt.NDArray[np.datetime64] = series.cast(pl.Datetime("us")).to_numpy()
    return times


def _baseline(task: Task, metric: str, truth: npt.NDArray[Any], classes: Sequence[str]) -> Answers:
    """Return the best constant answer: what anybody could say without a model.

    It is chosen on the very rows it is judged on, which makes it hard to beat rather than easy.
    """
    if task is not Task.CLASSIFICATION:
        middle = float(np.mean(truth) if metric in ("rmse", "r2") else np.median(truth))
        word = "mean" if metric in ("rmse", "r2") else "median"
        constant = np.full(truth.size, middle)
        return Answers(name=f"always answering the {word} {figure(middle)}", predictions=constant)
    shares = np.bincount(truth, minlength=len(classes)) / truth.size
    # Under F1 the rare class is the better constant: the other one finds nothing.
    best = int(len(classes) - 1 if metric == "f1" and len(classes) == 2 else shares.argmax())
    return Answers(
        name=f"always answering {classes[best]!r} ({shares[best]:.1%} of rows)",
        predictions=np.full(truth.size, best),
        scores=np.tile(shares, (truth.size, 1)),
    )


def _clusters(
    candidate: FittedModel, champion: FittedModel | None, rows: pl.DataFrame, question: Question
) -> Trial:
    """Return a trial of silhouettes on a spread sample, in the candidate's space of points."""
    step = -(-rows.height // SILHOUETTE_ROWS) if rows.height else 1
    sample = rows.gather_every(step)
    labels = candidate.predict(sample)
    points = _points(candidate, sample)
    flat = Answers(name="no clusters at all (silhouette 0)", predictions=np.zeros(sample.height))
    trial = Trial(
        task=Task.CLUSTERING,
        metric="silhouette",
        rows=sample,
        truth=np.zeros(sample.height),
        classes=(),
        times=_times(sample, question.time),
        candidate=_widths(labels, points, "the candidate"),
        reference=flat,
    )
    return _versus(
        trial, champion, question, lambda model, name: _widths(model.predict(sample), points, name)
    )


def _widths(labels: npt.NDArray[Any], points: Floats, name: str) -> Answers:
    # All rows in one cluster: nothing was separated.
    one = np.unique(labels).size < 2
    widths = np.zeros(labels.size) if one else silhouettes(points, labels)
    return Answers(name=name, predictions=widths)


def _points(model: FittedModel, rows: pl.DataFrame) -> Floats:
    """Return the numeric inputs, standardised; missing ones lie at the mean."""
    names = [field.name for field in model.signature.inputs]
    numbers = rows.select(names).select(selectors.numeric().cast(pl.Float64))
    points = np.nan_to_num(numbers.to_numpy() - numbers.fill_nan(None).mean().to_numpy())
    spread = points.std(axis=0)
    standard: Floats = points / np.where(spread > 0, spread, 1.0)
    return standard
