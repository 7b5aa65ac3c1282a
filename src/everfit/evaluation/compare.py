"""Gates that compare losses row by row: better, no worse in any slice, sufficient rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from everfit.data import Task
from everfit.evaluation.model import Better, NoWorse, Outcome, Sufficient, Verdict, verdict
from everfit.evaluation.slices import slices
from everfit.evaluation.trial import Trial
from everfit.measures.figures import figure
from everfit.measures.intervals import Floats, Interval, normal_quantile
from everfit.measures.paired import (
    MIN_BLOCKS,
    Blocks,
    paired_difference,
    relative_improvement,
    worse_p_value,
)
from everfit.measures.pooling import MIN_GROUPS, shrunken
from everfit.measures.size import rows_for_width

# A slice whose own rows speak against it this clearly is not cleared by the other slices.
SUSPICIOUS = 0.01
# Fewer rows can have the same loss by chance: their interval without width proves nothing.
MIN_KNOWN = 30

# What a metric's loss is called where a higher metric is better.
LOSS_NAMES = {
    "accuracy": "error rate",
    "r2": "unexplained variance",
    "f1": "1 - f1",
    "roc_auc": "1 - roc_auc",
    "silhouette": "1 - silhouette",
}


def better(gate: Better, trial: Trial) -> Verdict:
    """Judge whether the candidate's loss is lower by more than the margin, over all rows."""
    ours, theirs = trial.losses(trial.candidate), trial.losses(trial.reference)
    blocks = trial.blocks(ours - theirs)
    found = relative_improvement(ours, theirs, blocks=blocks, confidence=gate.confidence)
    if trial.metric == "rmse":
        found = _of_roots(found)
    mine, other = trial.value(trial.candidate), trial.value(trial.reference)
    count = None if blocks is None else int(blocks.max()) + 1
    return verdict(
        "better",
        against(found, gate.margin),
        f"{_compared(found.estimate, trial.metric)} {trial.reference.name} "
        f"({trial.metric} {figure(mine)} against {figure(other)}) on {found.rows:,} rows"
        f"{f' in {count} blocks of time' if count else ''}, {range_text(found)}; "
        f"needs {percent(gate.margin) if gate.margin else 'more than 0%'}",
        metric=trial.metric,
        value=mine,
        reference=trial.reference.name,
        reference_value=other,
        improvement=found.estimate,
        low=found.low,
        high=found.high,
        margin=gate.margin,
        confidence=gate.confidence,
        rows=found.rows,
        blocks=count,
    )


def against(found: Interval, margin: float) -> Outcome:
    """Return pass if the whole interval lies above ``margin``, fail if below, else undecided."""
    if found.low > margin:
        return Outcome.PASS
    return Outcome.FAIL if found.high < margin else Outcome.UNDECIDED


def _of_roots(squares: Interval) -> Interval:
    """Return the improvement of a root mean square from that of the mean square."""

    def root(improvement: float) -> float:
        return 1 - math.sqrt(1 - improvement)

    return Interval(
        estimate=root(squares.estimate),
        low=root(squares.low),
        high=root(squares.high),
        rows=squares.rows,
        confidence=squares.confidence,
    )


def _compared(improvement: float, metric: str) -> str:
    name = LOSS_NAMES.get(metric, metric)
    if improvement == 0:
        return f"the same {name} as"
    return f"{percent(abs(improvement))} {'lower' if improvement > 0 else 'higher'} {name} than"


def range_text(found: Interval, form: str = ".1%") -> str:
    """Return the interval in words; an open end is said to be open."""
    low = f"{found.low:{form}}" if math.isfinite(found.low) else "no lower bound"
    high = f"{found.high:{form}}" if math.isfinite(found.high) else "no upper bound"
    return f"{percent(found.confidence)} interval {low} to {high}"


def percent(share: float) -> str:
    """Return a share in percent, without idle zeros.

    Examples
    --------
    >>> percent(0.05), percent(0.1239)
    ('5%', '12.4%')
    """
    return f"{share * 100:.1f}".removesuffix(".0") + "%"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """One slice: what its own rows say.

    ``found`` is the improvement, None where there is no share of the champion's loss to speak of;
    ``difference`` is in the unit of the losses; ``cleared`` needs no interval to be not worse.
    """

    name: str
    rows: int
    difference: float
    found: Interval | None = None
    p_value: float = 1.0
    cleared: bool = False
    lossless: bool = False


def no_worse(gate: NoWorse, trial: Trial, columns: Iterable[str]) -> Verdict:
    """Judge whether any slice, or all rows together, is worse by more than the margin.

    Fails on slices shown to be worse (Holm's correction over all slices). Passes if all rows, and
    every slice by its interval shrunken towards the others, are shown not to be: a slice of 200
    rows alone can hardly prove a margin of 5%, together they can. Where both lose the same on
    every row nothing is worse; where the champion loses nothing, the margin is a share of its loss
    over all rows.
    """
    ours, theirs = trial.slice_losses(trial.candidate), trial.slice_losses(trial.reference)
    blocks = trial.blocks(ours - theirs)
    everything = np.ones(ours.size, dtype=bool)
    parts = [("all rows", everything), *slices(trial.rows, columns, min_rows=gate.min_rows)]
    judged = [_judge(part, ours, theirs, blocks, gate) for part in parts]
    harmed = _holm(judged, 1 - gate.confidence)
    lows = _lower_ends(judged, gate.confidence)
    open_ones = [
        part
        for part, low in zip(judged, lows, strict=True)
        if not (part.cleared or (low > -gate.margin and part.p_value > SUSPICIOUS))
    ]
    outcome = Outcome.UNDECIDED if open_ones else Outcome.PASS
    if harmed:
        outcome = Outcome.FAIL
    return verdict(
        "no_worse",
        outcome,
        _slices_summary(judged, harmed, open_ones, trial.reference.name, gate),
        metric=trial.metric,
        slices=len(judged) - 1,
        min_rows=gate.min_rows,
        worse=len(harmed),
        undecided=len(open_ones),
        margin=gate.margin,
        confidence=gate.confidence,
        rows=ours.size,
        **_slice_numbers(judged, lows),
    )


def _judge(
    part: tuple[str, npt.NDArray[np.bool_]],
    ours: Floats,
    theirs: Floats,
    blocks: Blocks | None,
    gate: NoWorse,
) -> _Slice:
    name, mask = part
    mine, other = ours[mask], theirs[mask]
    times = None if blocks is None else blocks[mask]
    lossless = not other.any()
    slack = gate.margin * float(theirs.mean()) if lossless else 0.0
    judged = _Slice(
        name=name, rows=mine.size, difference=float((mine - other).mean()), lossless=lossless
    )
    try:
        p_value = worse_p_value(mine, other, margin=gate.margin, slack=slack, blocks=times)
    except ValueError:
        # All rows lie in one block: nothing can be said.
        return judged
    if lossless:
        # The upper end of the difference lies below the slack: the same t test, read from above.
        cleared = p_value > (1 + gate.confidence) / 2
        found = None
    else:
        cleared = False
        found = relative_improvement(mine, other, blocks=times, confidence=gate.confidence)
    same = np.array_equal(mine, other)
    return replace(judged, p_value=p_value, cleared=cleared or same, found=found)


def _holm(judged: Sequence[_Slice], alpha: float) -> list[_Slice]:
    """Return the slices shown to be worse, the clearest first (Holm 1979)."""
    ordered = sorted(judged, key=lambda part: part.p_value)
    shown = []
    for i, part in enumerate(ordered):
        if not part.p_value <= alpha / (len(ordered) - i):
            break
        shown.append(part)
    return shown


def _lower_ends(judged: Sequence[_Slice], confidence: float) -> list[float]:
    """Return the lower end of each slice's improvement: its own, or the shrunken one if higher."""
    lows = [part.found.low if part.found else -math.inf for part in judged]
    reach = 2 * normal_quantile(confidence)
    # All rows together (the first) are no group among groups.
    usable = [
        (i, part.found)
        for i, part in enumerate(judged)
        if i and part.found and 0 < part.found.high - part.found.low < math.inf
    ]
    if len(usable) < MIN_GROUPS:
        return lows
    errors = [(found.high - found.low) / reach for _, found in usable]
    pooled = shrunken([found.estimate for _, found in usable], errors, confidence)
    for (i, _), interval in zip(usable, pooled, strict=True):
        lows[i] = max(lows[i], interval.low)
    return lows


def _slices_summary(
    judged: Sequence[_Slice],
    harmed: Sequence[_Slice],
    open_ones: Sequence[_Slice],
    reference: str,
    gate: NoWorse,
) -> str:
    slices_word = f"{len(judged) - 1} slices" if len(judged) > 1 else "no slice large enough"
    limit = f"{percent(gate.margin)} worse than {reference}"
    if harmed:
        rest = f" and {len(harmed) - 1} more" if len(harmed) > 1 else ""
        return f"more than {limit} in {_described(harmed[0])}{rest}, of {slices_word}"
    if open_ones:
        worst = min(open_ones, key=lambda part: part.found.estimate if part.found else -math.inf)
        return (
            f"cannot rule out more than {limit} in {len(open_ones)} of {len(judged)} (all rows, "
            f"{slices_word}); least sure: {_described(worst)}"
        )
    return f"nowhere more than {limit}: all {judged[0].rows:,} rows, {slices_word}"


def _described(part: _Slice) -> str:
    if part.found is None and part.lossless:
        loss = f"a loss of {figure(part.difference)} against none" if part.difference else "no loss"
        return f"{part.name} ({loss} on {part.rows:,} rows)"
    if part.found is None:
        return f"{part.name} ({part.rows:,} rows, not comparable)"
    change = "better" if part.found.estimate >= 0 else "worse"
    return f"{part.name} ({percent(abs(part.found.estimate))} {change} on {part.rows:,} rows)"


def _slice_numbers(judged: Sequence[_Slice], lows: Sequence[float]) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {}
    for part, low in zip(judged, lows, strict=True):
        numbers[f"{part.name}: rows"] = part.rows
        numbers[f"{part.name}: difference"] = part.difference
        numbers[f"{part.name}: improvement"] = part.found.estimate if part.found else None
        numbers[f"{part.name}: at least"] = low
        numbers[f"{part.name}: p of harm"] = part.p_value
    return numbers


def sufficient(gate: Sufficient, trial: Trial) -> Verdict:
    """Judge whether the rows are enough to know the candidate's error; never fails."""
    grouped = trial.task is Task.CLUSTERING
    ours = trial.losses(trial.candidate) if grouped else trial.task_losses(trial.candidate)
    blocks = trial.blocks(ours)
    nothing = np.zeros(ours.size)
    found = paired_difference(ours, nothing, blocks=blocks, confidence=gate.confidence)
    wanted = gate.relative * found.estimate if trial.task is Task.REGRESSION else gate.share
    narrow = found.half_width <= wanted
    count = None if blocks is None else int(blocks.max()) + 1
    many = ours.size >= MIN_KNOWN and (count is None or count >= MIN_BLOCKS)
    size, needs = _known(gate, trial.task, found)
    more = None
    if not narrow and wanted > 0:
        more = max(MIN_KNOWN, rows_for_width(ours.size, found.half_width, wanted))
        needs += f", about {more:,} rows"
    elif not many:
        more = MIN_KNOWN
        needs += f" and at least {MIN_KNOWN} rows"
        needs += f" in {MIN_BLOCKS} blocks of time" if count is not None else ""
    return verdict(
        "sufficient",
        Outcome.PASS if narrow and many else Outcome.UNDECIDED,
        f"{size} on {ours.size:,} rows; needs {needs}",
        error=found.estimate,
        half_width=found.half_width,
        wanted=wanted,
        rows=ours.size,
        blocks=count,
        rows_needed=more,
        confidence=gate.confidence,
    )


def _known(gate: Sufficient, task: Task, found: Interval) -> tuple[str, str]:
    """Return in words how well the error is known, and how well it should be."""
    if task is Task.REGRESSION:
        share = found.half_width / found.estimate if found.estimate else 0.0
        return f"mae {figure(found.estimate)} ± {percent(share)}", f"± {percent(gate.relative)}"
    name = "error rate" if task is Task.CLASSIFICATION else LOSS_NAMES["silhouette"]
    size = f"{name} {found.estimate:.1%} ± {found.half_width * 100:.1f} points"
    return size, f"± {gate.share * 100:g} points"
