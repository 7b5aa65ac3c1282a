"""Compares a compiled model with the native one, row by row. What is not shown equal is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.errors import RowsInvalid
from everfit.packages import Field, Kind, Signature, cast

MOST_SHOWN = 5
Both = tuple[NDArray[Any], NDArray[np.float64] | None]


class Answers(Protocol):
    """What is compared: a fitted model or a compiled one."""

    signature: Signature

    def predict_both(self, frame: pl.DataFrame) -> Both:
        """Return predictions and scores."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far the two may be apart; labels and clusters never may.

    ``scores`` is a difference of probabilities, ``values`` one relative to the native value, or
    absolute below 1.
    """

    scores: float = 1e-6
    values: float = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """One row on which the two differ: its place among the rows compared, and both answers."""

    row: int
    values: dict[str, Any]
    native: str
    compiled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """What a comparison found.

    ``rows`` counts the rows compared, ``made_up`` those among them with missing values and
    unknown categories that were added, ``refused`` those that neither answers.
    ``largest`` is the largest difference of a score or, relative, of a value.
    """

    rows: int
    made_up: int
    refused: int
    disagreements: int
    largest: float
    tolerance: Tolerance
    shown: tuple[Disagreement, ...] = ()

    @property
    def equal(self) -> bool:
        """Return whether the compiled model may answer: nothing differs, on rows that count."""
        given = self.rows - self.made_up
        return given > 0 and self.refused < self.rows and self.disagreements == 0

    def __str__(self) -> str:
        if self.equal:
            return f"equal on {self.rows:,} rows, the largest difference {self.largest:.1g}"
        if not self.disagreements:
            return f"not shown equal: {self.rows - self.refused:,} of {self.rows:,} rows answered"
        return (
            f"{self.disagreements:,} of {self.rows:,} rows differ, "
            f"the largest difference {self.largest:.3g}"
        )


def prove(
    native: Answers, compiled: Answers, rows: pl.DataFrame, tolerance: Tolerance | None = None
) -> Parity:
    """Return how the two compare on ``rows``, and on some made of them.

    Those have a missing value in each column in turn, a text that training cannot have seen, and
    nothing at all. A row that both refuse counts as neither equal nor different.

    Raises
    ------
    RowsInvalid
        If ``rows`` do not fit the signature.
    """
    tolerance = tolerance or Tolerance()
    signature = native.signature
    given = cast(rows, signature, allow_nulls=True)
    every = pl.concat([given, *_made_up(given, signature)])
    first, second = _Told(native, every), _Told(compiled, every)
    refused = ~first.answered & ~second.answered
    differs, apart = _compared(first, second, tolerance)
    places = np.flatnonzero(differs)
    shown = tuple(
        Disagreement(
            row=int(place),
            values=every.row(int(place), named=True),
            native=first.text(int(place)),
            compiled=second.text(int(place)),
        )
        for place in places[:MOST_SHOWN]
    )
    return Parity(
        rows=every.height,
        made_up=every.height - given.height,
        refused=int(refused.sum()),
        disagreements=len(places),
        largest=apart,
        tolerance=tolerance,
        shown=shown,
    )


def _made_up(rows: pl.DataFrame, signature: Signature) -> Iterator[pl.DataFrame]:
    if not rows.height:
        return
    first = rows[:1]
    for field in signature.inputs:
        for value in _odd(field):
            changed = pl.Series(field.name, [value], dtype=rows.schema[field.name])
            yield first.with_columns(changed)
    empty = [pl.Series(name, [None], dtype=kind) for name, kind in rows.schema.items()]
    yield pl.DataFrame(empty)


def _odd(field: Field) -> tuple[Any, ...]:
    if field.kind is Kind.TEXT:
        return (None, "", "Never Seen \u00c4\u4e2d")
    return (None, -1e6, 1e6) if field.kind is Kind.NUMBER else (None,)


class _Told:
    """What a model said of each row; where a whole batch is refused, row by row."""

    def __init__(self, model: Answers, rows: pl.DataFrame) -> None:
        self.answered = np.zeros(rows.height, dtype=bool)
        self.labels: NDArray[Any] = np.empty(rows.height, dtype=object)
        self.scores: NDArray[np.float64] | None = None
        self._ask(model, rows, 0)

    def _ask(self, model: Answers, rows: pl.DataFrame, start: int) -> None:
        try:
            labels, scores = model.predict_both(rows)
        except RowsInvalid:
            raise
        except Exception:  # noqa: BLE001 - a user's model can raise anything
            if rows.height > 1:
                half = rows.height // 2
                self._ask(model, rows[:half], start)
                self._ask(model, rows[half:], start + half)
            return
        part = slice(start, start + rows.height)
        self.answered[part] = True
        self.labels[part] = labels
        if scores is not None:
            if self.scores is None:
                self.scores = np.full((len(self.labels), scores.shape[1]), np.nan)
            self.scores[part] = scores

    def text(self, row: int) -> str:
        if not self.answered[row]:
            return "refused"
        scores = "" if self.scores is None else f" {self.scores[row].tolist()}"
        return f"{self.labels[row]}{scores}"


def _compared(first: _Told, second: _Told, tolerance: Tolerance) -> tuple[NDArray[np.bool_], float]:
    """Return which rows differ, and by how much at most among those that both answer."""
    both = first.answered & second.answered
    differs = first.answered != second.answered
    apart = np.zeros(len(both))
    numbers = all(isinstance(value, float) for value in first.labels[both].tolist())
    if numbers and both.any():
        native, compiled = (told.labels[both].astype(np.float64) for told in (first, second))
        apart[both] = np.abs(native - compiled) / np.maximum(np.abs(native), 1.0)
        differs[both] |= ~(apart[both] <= tolerance.values)
    else:
        differs |= both & (first.labels != second.labels)
    if (first.scores is None) != (second.scores is None):
        differs |= both
    elif first.scores is not None and second.scores is not None:
        distance = np.abs(first.scores[both] - second.scores[both]).max(axis=1)
        apart[both] = distance
        differs[both] |= ~(distance <= tolerance.scores)
    return differs, float(apart.max(initial=0.0))
