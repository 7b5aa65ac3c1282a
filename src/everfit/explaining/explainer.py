"""The explainer of one model: exact where its last step allows, proved so, else by sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, softmax

from everfit.errors import PredictionFailed
from everfit.explaining.additive import Additive, linear
from everfit.explaining.boosters import native
from everfit.explaining.model import Contribution, Explanation, Method, Output, ordered
from everfit.explaining.trace import Traced, trace
from everfit.explaining.trees import grown
from everfit.measures.shapley import Sampled, masks, sampled, sampling
from everfit.packages import FittedModel, cast

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PROOF_ROWS = 32
SAMPLED_ROWS = 32
# Evaluations of one row by sampling: some tens of milliseconds of a usual model.
EVALUATIONS = 2_000
REFUSALS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    PredictionFailed,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Background:
    """Rows that stand for the training, with the columns of the signature, and their name.

    Rows are spread evenly, so that any first part of the frame gathered evenly is as good.
    """

    frame: pl.DataFrame
    name: str

    def some(self, count: int) -> pl.DataFrame:
        """Return at most so many of its rows, spread evenly."""
        step = max(1, -(-self.frame.height // count))
        return self.frame.gather_every(step)


class Explainer:
    """Explains predictions of one fitted model; the same row gets the same words every time.

    An exact method is used where the model's last step has one and every column that it sees
    comes from one input, and only if its sums are the model's own answers on background rows.
    """

    def __init__(self, fitted: FittedModel, background: Background) -> None:
        self._fitted = fitted
        self._background = background
        self._signature = fitted.signature
        self._classes = list(fitted.signature.classes)
        self._exact = _exact(fitted, background)

    @property
    def method(self) -> Method:
        """Return how contributions are found."""
        return self._exact[1].method if self._exact else Method.APPROXIMATE

    def explain(self, frame: pl.DataFrame) -> list[Explanation]:
        """Return the explanation of each row of ``frame``, which fits the signature.

        Raises
        ------
        RowsInvalid
            If columns are missing or values cannot be cast.
        PredictionFailed
            If the model cannot answer the rows.
        """
        rows = cast(frame, self._signature, allow_nulls=True)
        predictions = self._fitted.predict(rows).tolist()
        if self._exact is None:
            drawn = sampling(rows.width, self._some.height, most=EVALUATIONS)
            return [self._sampled(rows[i], predictions[i], drawn) for i in range(rows.height)]
        traced, additive = self._exact
        bases, found = _by_input(traced, additive, rows, self._chosen(predictions))
        return [
            Explanation(
                base=bases[i],
                contributions=self._parts(rows, i, found[i]),
                output=bases[i] + float(found[i].sum()),
                of=self._of(additive),
                label=predictions[i] if self._classes else None,
                method=additive.method,
                against=self._against(additive),
            )
            for i in range(rows.height)
        ]

    def _of(self, additive: Additive) -> Output:
        if additive.output is Output.LOG_ODDS and not hasattr(
            self._fitted.estimator, "predict_proba"
        ):
            return Output.MARGIN  # A distance from the border, with no probability behind it.
        return additive.output

    def _against(self, additive: Additive) -> str:
        if additive.method is Method.LINEAR:
            return f"the mean of {self._background.frame.height:,} rows of {self._background.name}"
        return "the rows that each tree was trained on"

    @property
    def _some(self) -> pl.DataFrame:
        return self._background.some(SAMPLED_ROWS)

    def _chosen(self, predictions: Sequence[Any]) -> Integers:
        return _places(self._classes, predictions)

    def _parts(
        self, rows: pl.DataFrame, row: int, amounts: Floats, errors: Floats | None = None
    ) -> tuple[Contribution, ...]:
        return ordered(
            [
                Contribution(
                    input=name,
                    value=rows[name][row],
                    amount=float(amounts[place]),
                    error=None if errors is None else float(errors[place]),
                )
                for place, name in enumerate(self._signature.names)
            ]
        )

    def _sampled(self, row: pl.DataFrame, prediction: Any, drawn: Any) -> Explanation:
        known, background = masks(drawn)
        some = self._some
        answers, of = self._ask(_mixed(row, some, known, background), prediction)
        found: Sampled = sampled(drawn, answers)
        used = min(some.height, int(drawn.rows.max()) + 1)
        return Explanation(
            base=found.base,
            contributions=self._parts(row, 0, found.values, found.errors),
            output=found.base + float(found.values.sum()),
            of=of,
            label=None if self._signature.task == "regression" else prediction,
            method=Method.APPROXIMATE,
            against=f"{used} rows of {self._background.name}",
            evaluations=drawn.evaluations,
        )

    def _ask(self, rows: pl.DataFrame, prediction: Any) -> tuple[Floats, Output]:
        """Return what the model says about the class predicted, or its values."""
        answers, scores = self._fitted.predict_both(rows)
        if scores is not None:
            return scores[:, self._classes.index(prediction)], Output.PROBABILITY
        if self._signature.task == "regression":
            return answers, Output.VALUE
        return (answers == prediction).astype(np.float64), Output.LABEL


def _mixed(
    row: pl.DataFrame, some: pl.DataFrame, known: NDArray[np.bool_], background: Integers
) -> pl.DataFrame:
    """Return rows with the known inputs of ``row`` and all others of a background row."""
    return pl.DataFrame(
        [
            pl.concat([some[name], row[name]]).gather(
                np.where(known[:, place], some.height, background)
            )
            for place, name in enumerate(row.columns)
        ]
    )


def _by_input(
    traced: Traced, additive: Additive, rows: pl.DataFrame, chosen: Integers
) -> tuple[list[float], Floats]:
    """Return bases and contributions per input: those of its columns, summed."""
    bases, found = additive.contributions(traced.matrix(rows), chosen)
    totals = np.zeros((rows.width, rows.height))
    np.add.at(totals, traced.origin, found.T)
    return bases.tolist(), totals.T


def _exact(fitted: FittedModel, background: Background) -> tuple[Traced, Additive] | None:
    """Return the exact method for the model, if there is one and it proves to be exact."""
    signature = fitted.signature
    traced = trace(fitted.estimator, signature.names)
    if traced is None or signature.task == "clustering":
        return None
    classes = len(signature.classes)
    proof = background.some(PROOF_ROWS)
    try:
        rows = traced.matrix(background.frame)
        some = traced.matrix(proof)
        additive: Additive | None = (
            native(traced.last, classes=classes)
            or grown(traced.last, some, classes=classes)
            or linear(traced.last, rows, classes=classes)
        )
        if additive is None or not _is_proved(fitted, (traced, additive), proof):
            return None
    except REFUSALS:
        return None
    return traced, additive


def _is_proved(fitted: FittedModel, exact: tuple[Traced, Additive], proof: pl.DataFrame) -> bool:
    """Return whether base and contributions add up to what the model says to the rows."""
    traced, additive = exact
    predictions, scores = fitted.predict_both(proof)
    classes = list(fitted.signature.classes)
    chosen = _places(classes, predictions.tolist())
    wanted = predictions if scores is None else scores
    if not classes:
        bases, found = _by_input(traced, additive, proof, chosen)
        return _is_close(np.add(bases, found.sum(axis=1)), wanted, additive.tolerance)
    sums = []
    for place in range(len(classes)):
        bases, found = _by_input(traced, additive, proof, np.full_like(chosen, place))
        sums.append(np.add(bases, found.sum(axis=1)))
    said = np.stack(sums, axis=1)
    if scores is None:
        return bool((said.argmax(axis=1) == chosen).all())
    if additive.output is not Output.PROBABILITY:
        said = expit(said) if len(classes) == 2 else softmax(said, axis=1)
    return _is_close(said, scores, additive.tolerance)


def _is_close(said: Floats, wanted: Any, tolerance: float) -> bool:
    wanted = np.asarray(wanted, dtype=np.float64)
    return bool(np.abs(said - wanted).max() <= tolerance * (1 + np.abs(wanted).max()))


def _places(classes: Sequence[Any], predictions: Sequence[Any]) -> Integers:
    places = {label: place for place, label in enumerate(classes)}
    chosen = [places[one] for one in predictions] if classes else [0] * len(predictions)
    return np.array(chosen, dtype=np.int64)
