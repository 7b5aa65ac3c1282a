"""The explainer of one model: exact where its last step allows, proved so, else by sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.errors import EverfitError, PredictionFailed
from everfit.explaining.additive import Additive, linear
from everfit.explaining.boosters import native
from everfit.explaining.model import Contribution, Explanation, Method, Output, ordered
from everfit.explaining.trace import Traced, trace
from everfit.explaining.trees import grown
from everfit.measures.shapley import Sampling, masks, sampled, sampling
from everfit.packages import FittedModel, cast

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PROOF_ROWS = 16
SAMPLED_ROWS = 32
# Evaluations of one row by sampling: some tens of milliseconds of a usual model.
EVALUATIONS = 2_000
# Encoded background rows: columns of words may be many.
NUMBERS = 5_000_000
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
        self._some = background.some(SAMPLED_ROWS)
        self._exact = _exact(fitted, background)

    @property
    def method(self) -> Method:
        """Return how contributions are found."""
        return self._exact.additive.method if self._exact else Method.APPROXIMATE

    def explain(self, frame: pl.DataFrame) -> list[Explanation]:
        """Return the explanation of each row of ``frame``, which fits the signature.

        Raises
        ------
        RowsInvalid
            If columns are missing or values cannot be cast.
        PredictionFailed
            If the model cannot answer the rows, or the rows that sampling makes of them.
        """
        rows = cast(frame, self._signature, allow_nulls=True)
        try:
            return self._explained(rows)
        except EverfitError:
            raise
        except Exception as error:
            raise PredictionFailed(
                f"the model raised {type(error).__name__} while it was explained: {error}",
                hint="Ask without explain; a model must answer rows that mix values of others.",
            ) from error

    def _explained(self, rows: pl.DataFrame) -> list[Explanation]:
        predictions = self._fitted.predict(rows).tolist()
        if self._exact is None:
            drawn = sampling(rows.width, self._some.height, most=EVALUATIONS)
            return [self._sampled(rows[i], predictions[i], drawn) for i in range(rows.height)]
        additive = self._exact.additive
        bases, found = self._exact.by_input(rows, _places(self._classes, predictions))
        return [
            Explanation(
                base=bases[i],
                contributions=self._parts(rows, i, found[i]),
                output=bases[i] + float(found[i].sum()),
                of=additive.output if self._exact.likely else Output.MARGIN,
                label=predictions[i] if self._classes else None,
                method=additive.method,
                against=self._exact.against,
            )
            for i in range(rows.height)
        ]

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

    def _sampled(self, row: pl.DataFrame, prediction: Any, drawn: Sampling) -> Explanation:
        known, background = masks(drawn)
        answers, of = self._ask(_mixed(row, self._some, known, background), prediction)
        found = sampled(drawn, answers)
        used = int(drawn.rows.max()) + 1
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Exact:
    """An exact method and the way to what it sees.

    ``likely`` says that probabilities, or the values themselves, stand behind its output.
    """

    traced: Traced
    additive: Additive
    against: str
    likely: bool

    def by_input(self, rows: pl.DataFrame, chosen: Integers) -> tuple[list[float], Floats]:
        """Return bases and contributions per input: those of its columns, summed."""
        bases, found = self.additive.contributions(self.traced.matrix(rows), chosen)
        totals = np.zeros((rows.width, rows.height))
        np.add.at(totals, self.traced.origin, found.T)
        return bases.tolist(), totals.T

    def outputs(self, rows: pl.DataFrame, chosen: Integers) -> Floats:
        """Return what bases and contributions add up to."""
        bases, found = self.by_input(rows, chosen)
        sums: Floats = np.add(bases, found.sum(axis=1))
        return sums


def _exact(fitted: FittedModel, background: Background) -> _Exact | None:
    """Return the exact method for the model, if there is one and it proves to be exact."""
    signature = fitted.signature
    traced = trace(fitted.estimator, signature.names)
    if traced is None or signature.task == "clustering":
        return None
    proof = background.some(PROOF_ROWS)
    many = background.some(max(PROOF_ROWS, NUMBERS // max(1, traced.origin.size)))
    try:
        additive = _method(traced, many, proof, classes=len(signature.classes))
        if additive is None:
            return None
        against = "the rows that each tree was trained on"
        if additive.method is Method.LINEAR:
            against = f"the mean of {many.height:,} rows of {background.name}"
        likely = not signature.classes or hasattr(fitted.estimator, "predict_proba")
        exact = _Exact(traced=traced, additive=additive, against=against, likely=likely)
        return exact if _is_proved(fitted, exact, proof) else None
    except REFUSALS:
        return None


def _method(
    traced: Traced, many: pl.DataFrame, proof: pl.DataFrame, *, classes: int
) -> Additive | None:
    found = native(traced.last, classes=classes)
    if found is not None:
        return found
    trees = grown(traced.last, traced.matrix(proof), classes=classes)
    if trees is not None:
        return trees
    return linear(traced.last, traced.matrix(many), classes=classes)


def _is_proved(fitted: FittedModel, exact: _Exact, proof: pl.DataFrame) -> bool:
    """Return whether base and contributions add up to what the model says to the rows."""
    predictions, scores = fitted.predict_both(proof)
    classes = list(fitted.signature.classes)
    chosen = _places(classes, predictions.tolist())
    tolerance = exact.additive.tolerance
    if not classes:
        return _is_close(exact.outputs(proof, chosen), predictions, tolerance)
    if scores is not None and exact.additive.output is Output.PROBABILITY:
        wanted = scores[np.arange(proof.height), chosen]
        return _is_close(exact.outputs(proof, chosen), wanted, tolerance)
    sums = [exact.outputs(proof, np.full_like(chosen, place)) for place in range(len(classes))]
    said = np.stack(sums, axis=1)
    if scores is None:
        return bool((said.argmax(axis=1) == chosen).all())
    # Of two classes ``said`` holds the log-odds of each, of more the logarithms but for a constant.
    powers = np.exp((said - said.max(axis=1, keepdims=True)) / (2 if len(classes) == 2 else 1))
    return _is_close(powers / powers.sum(axis=1, keepdims=True), scores, tolerance)


def _is_close(said: Floats, wanted: Any, tolerance: float) -> bool:
    wanted = np.asarray(wanted, dtype=np.float64)
    return bool(np.abs(said - wanted).max() <= tolerance * (1 + np.abs(wanted).max()))


def _places(classes: Sequence[Any], predictions: Sequence[Any]) -> Integers:
    places = {label: place for place, label in enumerate(classes)}
    chosen = [places[one] for one in predictions] if classes else [0] * len(predictions)
    return np.array(chosen, dtype=np.int64)
