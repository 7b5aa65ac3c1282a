"""Evaluation: every gate judged on the same held-out rows. Pure over models and frame."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from everfit.data import Task
from everfit.errors import DataInvalid, PredictionFailed, RowsInvalid
from everfit.evaluation.compare import better, no_worse, sufficient
from everfit.evaluation.conduct import approve, fair, fast
from everfit.evaluation.model import (
    Approve,
    Better,
    Fair,
    Fast,
    Gate,
    NoWorse,
    Outcome,
    Sufficient,
    Verdict,
    default_gates,
    verdict,
)
from everfit.evaluation.slices import sliced_columns
from everfit.evaluation.trial import Question, Trial, hold_trial
from everfit.packages import FittedModel

NAMES: dict[type[Gate], str] = {
    Better: "better",
    NoWorse: "no_worse",
    Fair: "fair",
    Fast: "fast",
    Approve: "approve",
    Sufficient: "sufficient",
}


def evaluate(
    candidate: FittedModel,
    champion: FittedModel | None,
    rows: pl.DataFrame,
    *,
    target: str | None,
    metric: str,
    time: str | None = None,
    gates: Sequence[Gate] | None = None,
    approvals: Sequence[str] = (),
    author: str | None = None,
    champion_name: str = "the champion",
    timer: Callable[[], float] = clock.perf_counter,
) -> tuple[Verdict, ...]:
    """Return one verdict per gate, and one on whether the rows are sufficient.

    Parameters
    ----------
    candidate, champion
        The models; without a champion the candidate must beat the best constant answer.
    rows
        Held-out rows that neither model learned from; those without a known target are left out.
    target, time
        Their columns of the truth (None for clustering) and of the event time. With a time, rows
        near each other are not taken to be independent: intervals rest on blocks of time.
    metric
        By which candidate and champion are compared.
    gates
        What must hold; by default the default gates. With an empty sequence nothing must, and only
        whether the rows are sufficient is judged, as it is with any gates.
    approvals, author
        Names of the people who approved this version, and of who made it.
    champion_name
        How the verdicts call the champion, such as ``"champion v3"``.
    timer
        Seconds that only go up, for the gate on speed.

    Returns
    -------
    tuple of Verdict
        In the order of the gates. Where something cannot be computed the verdict is undecided and
        says why. A candidate that fails on the rows, or cannot take them, fails every gate on them;
        a champion that does is replaced by the best constant answer, which the verdicts say.

    Raises
    ------
    DataInvalid
        If the rows have no column of the target.
    """
    wanted = list(default_gates() if gates is None else gates)
    if not any(isinstance(gate, Sufficient) for gate in wanted):
        wanted.append(Sufficient())
    known = _with_truth(rows, target, candidate.signature.task)
    judge = _Judge(candidate=candidate, approvals=approvals, author=author, timer=timer)
    question = Question(target=target, metric=metric, time=time, champion_name=champion_name)
    if known.is_empty():
        reason = f"none of {rows.height:,} rows has a known {target or 'value'}"
        return tuple(judge.without_trial(wanted, Outcome.UNDECIDED, reason))
    try:
        trial = hold_trial(candidate, champion, known, question)
    except PredictionFailed as error:
        return tuple(judge.without_trial(wanted, Outcome.FAIL, error.message))
    except RowsInvalid as error:
        reason = f"the candidate cannot take these rows: {error.problems[0]}"
        return tuple(judge.without_trial(wanted, Outcome.FAIL, reason))
    protected = [c for gate in wanted if isinstance(gate, Fair) for c in gate.across]
    columns = sliced_columns(candidate.signature, protected)
    return tuple(judge.verdict_of(gate, trial, columns) for gate in wanted)


def _with_truth(rows: pl.DataFrame, target: str | None, task: str) -> pl.DataFrame:
    if target is None:
        return rows
    if target not in rows.columns:
        raise DataInvalid(
            f"the held-out rows have no column {target!r}, the target",
            hint=f"Hand in rows with their truth; these have {', '.join(rows.columns)}.",
        )
    if task == Task.REGRESSION:
        rows = rows.with_columns(pl.col(target).cast(pl.Float64, strict=False))
    known = rows.filter(pl.col(target).is_not_null())
    if known[target].dtype.is_float():
        known = known.filter(pl.col(target).is_finite())
    return known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """What gates need besides the trial."""

    candidate: FittedModel
    approvals: Sequence[str]
    author: str | None
    timer: Callable[[], float]

    def without_trial(
        self, gates: Sequence[Gate], outcome: Outcome, reason: str
    ) -> Iterator[Verdict]:
        """Yield a verdict for each gate where the rows could not be judged at all."""
        for gate in gates:
            if isinstance(gate, Approve):
                yield approve(gate, self.approvals, self.author)
            else:
                yield verdict(NAMES[type(gate)], outcome, reason)

    def verdict_of(self, gate: Gate, trial: Trial, columns: Sequence[str]) -> Verdict:
        """Return the verdict of one gate; what cannot be computed is undecided."""
        try:
            return self._judge(gate, trial, columns)
        except PredictionFailed as error:
            return verdict(NAMES[type(gate)], Outcome.FAIL, error.message, rows=trial.rows.height)
        except ValueError as error:
            # The measures refuse with ValueError what has no answer: too few rows, one class only.
            return verdict(NAMES[type(gate)], Outcome.UNDECIDED, str(error), rows=trial.rows.height)

    def _judge(self, gate: Gate, trial: Trial, columns: Sequence[str]) -> Verdict:
        match gate:
            case Better():
                return better(gate, trial)
            case NoWorse():
                return no_worse(gate, trial, columns)
            case Fair():
                return fair(gate, trial)
            case Fast():
                return fast(gate, self.candidate, trial.rows, timer=self.timer)
            case Approve():
                return approve(gate, self.approvals, self.author)
            case Sufficient():
                return sufficient(gate, trial)
