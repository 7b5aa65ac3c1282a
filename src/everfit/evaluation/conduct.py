"""Gates about conduct: fair between groups, fast on single rows, approved by people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from everfit.data import Task
from everfit.evaluation.compare import range_text
from everfit.evaluation.model import Approve, Fair, Fast, Outcome, Verdict, combined, verdict
from everfit.evaluation.slices import groups_of
from everfit.evaluation.trial import Trial
from everfit.measures.fairness import (
    MIN_POSITIVES,
    MIN_ROWS,
    GroupCounts,
    count_groups,
    opportunity_ratio,
    selection_ratio,
)
from everfit.measures.figures import figure
from everfit.measures.intervals import Interval, quantile_interval
from everfit.packages import FittedModel

MEASURED, WARMING = 200, 20
RATIOS = {"equal opportunity": opportunity_ratio, "demographic parity": selection_ratio}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ratio:
    """One group against the largest: outcome, words, and the interval where there is one."""

    name: str
    outcome: Outcome
    words: str
    found: Interval | None


def fair(gate: Fair, trial: Trial) -> Verdict:
    """Judge each group of each protected column against the column's largest group.

    A ratio passes if its whole interval lies within the bounds, and fails if all of it lies
    outside, at a confidence corrected for the number of ratios; a group of fewer than 100 rows or
    20 positives is undecided. The positive class is the last of the two.
    """
    if trial.task is not Task.CLASSIFICATION or len(trial.classes) != 2:
        return verdict("fair", Outcome.UNDECIDED, "fairness is judged for two classes only")
    missing = [column for column in gate.across if column not in trial.rows.columns]
    if missing:
        return verdict(
            "fair", Outcome.UNDECIDED, f"the rows have no column {', '.join(map(repr, missing))}"
        )
    ratios = list(_ratios(gate, trial))
    if not ratios:
        return verdict("fair", Outcome.UNDECIDED, "there is no second group to compare with")
    outcome = combined(ratio.outcome for ratio in ratios)
    telling = [ratio for ratio in ratios if ratio.outcome is outcome]
    worst = min(telling, key=lambda ratio: ratio.found.estimate if ratio.found else 0.0)
    more = f"; {len(telling) - 1} more like it" if len(telling) > 1 else ""
    numbers: dict[str, float | None] = {}
    for ratio in ratios:
        found = ratio.found
        numbers[f"{ratio.name}: ratio"] = found.estimate if found else None
        numbers[f"{ratio.name}: low"] = found.low if found else None
        numbers[f"{ratio.name}: high"] = found.high if found else None
    return verdict(
        "fair",
        outcome,
        f"{worst.words}{more}",
        ratios=len(ratios),
        confidence=gate.confidence,
        **numbers,
    )


def _ratios(gate: Fair, trial: Trial) -> Iterator[_Ratio]:
    bounds = {
        "equal opportunity": gate.equal_opportunity,
        "demographic parity": gate.demographic_parity,
    }
    asked = {measure: bound for measure, bound in bounds.items() if bound is not None}
    actual, chosen = trial.truth == 1, trial.candidate.predictions == 1
    counted = {
        column: count_groups(groups_of(trial.rows, column), actual, chosen)
        for column in gate.across
    }
    ratios = len(asked) * sum(len(groups) - 1 for groups in counted.values())
    # A fair model must not fail because many groups were looked at (Bonferroni).
    strict = 1 - (1 - gate.confidence) / max(ratios, 1)
    for column, (base, *others) in counted.items():
        for group in others:
            for measure, bound in asked.items():
                found = RATIOS[measure](group, base, gate.confidence)
                wide = RATIOS[measure](group, base, strict)
                name = f"{measure}, {column} = {group.group} against {base.group}"
                yield _Ratio(
                    name=name,
                    outcome=_within(found, wide, bound),
                    words=_ratio_words(name, found, bound, (group, base)),
                    found=found,
                )


def _within(found: Interval | None, wide: Interval | None, bound: tuple[float, float]) -> Outcome:
    low, high = bound
    if found is None or wide is None:
        return Outcome.UNDECIDED
    if low <= found.low and found.high <= high:
        return Outcome.PASS
    return Outcome.FAIL if wide.high < low or wide.low > high else Outcome.UNDECIDED


def _ratio_words(
    name: str,
    found: Interval | None,
    bound: tuple[float, float],
    sides: tuple[GroupCounts, GroupCounts],
) -> str:
    small = [side for side in sides if not side.is_enough]
    if small:
        few = small[0]
        return (
            f"{name}: {few.group} has {few.rows:,} rows and {few.positives:,} positives; "
            f"needs {MIN_ROWS} and {MIN_POSITIVES}"
        )
    if found is None:
        return f"{name}: neither group is ever chosen"
    group, base = sides
    return (
        f"{name}: ratio {found.estimate:.2f} on {group.rows:,} and {base.rows:,} rows, "
        f"{range_text(found, '.2f')}; needs {bound[0]:g} to {bound[1]:g}"
    )


def fast(
    gate: Fast, model: FittedModel, rows: pl.DataFrame, *, timer: Callable[[], float]
) -> Verdict:
    """Judge the 95th percentile of the time for one row, over at least 200 rows after warming."""
    taken = []
    for i in range(WARMING + max(MEASURED, min(rows.height, 2 * MEASURED))):
        row = rows[i % rows.height]
        started = timer()
        model.predict_both(row)
        taken.append((timer() - started) * 1000)
    found = quantile_interval(np.array(taken[WARMING:]), 0.95, gate.confidence)
    outcome = Outcome.UNDECIDED
    if found.high <= gate.p95_ms:
        outcome = Outcome.PASS
    elif found.low > gate.p95_ms:
        outcome = Outcome.FAIL
    return verdict(
        "fast",
        outcome,
        f"95% of single rows within {figure(found.estimate)} ms on {found.rows} rows, "
        f"{range_text(found, '.3g')} ms; needs {gate.p95_ms:g} ms",
        p95_ms=found.estimate,
        low=found.low,
        high=found.high,
        limit_ms=gate.p95_ms,
        rows=found.rows,
        confidence=gate.confidence,
    )


def approve(gate: Approve, approvals: Sequence[str], author: str | None) -> Verdict:
    """Judge whether enough different people approved; never fails, it waits."""
    barred = (author or "").casefold() if gate.not_author else ""
    named = {name.casefold(): name for name in approvals}
    people = sorted(name for folded, name in named.items() if folded != barred)
    missing = gate.people - len(people)
    by = f"approved by {', '.join(people)}" if people else "nobody approved yet"
    who = " other than the author" if gate.not_author else ""
    waits = f"; waits for {missing} {'person' if missing == 1 else 'people'}{who}"
    return verdict(
        "approve",
        Outcome.UNDECIDED if missing > 0 else Outcome.PASS,
        f"{by}{waits if missing > 0 else ''}",
        approved=len(people),
        needed=gate.people,
        people=", ".join(people),
    )
