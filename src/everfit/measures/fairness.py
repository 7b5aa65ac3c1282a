"""Rates by group and their ratios, with intervals: who is selected, or served, less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from everfit.measures.intervals import Interval, ratio_interval

MIN_ROWS = 100
MIN_POSITIVES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCounts:
    """Counts of one group: rows, rows selected (predicted positive), positives, and both."""

    group: str
    rows: int
    selected: int
    positives: int
    found: int

    @property
    def is_enough(self) -> bool:
        """Return whether anything may be concluded: 100 rows and 20 positives."""
        return self.rows >= MIN_ROWS and self.positives >= MIN_POSITIVES


def count_groups(
    groups: Sequence[Any], truth: npt.ArrayLike, predictions: npt.ArrayLike
) -> tuple[GroupCounts, ...]:
    """Count rows, selections and hits of each group, the largest group first.

    Parameters
    ----------
    groups
        Group of each row, length ``n``; a missing one is the group ``"missing"``.
    truth, predictions
        Whether the row is positive, and whether it was predicted so; booleans, shape ``(n,)``.

    Returns
    -------
    tuple of GroupCounts
        One for each group that has a row.

    Raises
    ------
    ValueError
        If there are no rows, lengths differ, or truth or predictions are no booleans.

    Examples
    --------
    >>> found = count_groups(["a", "a", "b"], [True, False, True], [True, True, False])
    >>> [(g.group, g.rows, g.selected, g.positives, g.found) for g in found]
    [('a', 2, 2, 1, 1), ('b', 1, 0, 1, 0)]

    References
    ----------
    Barocas, S., Hardt, M. & Narayanan, A. (2023). *Fairness and Machine Learning*, ch. 3. MIT.
    """
    actual, chosen = np.asarray(truth), np.asarray(predictions)
    if actual.dtype != np.bool_ or chosen.dtype != np.bool_:
        raise ValueError(f"truth and predictions must be booleans, not {actual.dtype}")
    if not len(groups) == actual.size == chosen.size or not len(groups):
        raise ValueError(f"{len(groups)} groups, {actual.size} truths, {chosen.size} predictions")
    names = np.array(["missing" if group is None else str(group) for group in groups])
    found = []
    for name in np.unique(names):
        here = names == name
        counts = [int((here & flag).sum()) for flag in (chosen, actual, chosen & actual)]
        selected, positives, both = counts
        found.append(
            GroupCounts(
                group=str(name),
                rows=int(here.sum()),
                selected=selected,
                positives=positives,
                found=both,
            )
        )
    return tuple(sorted(found, key=lambda counts: (-counts.rows, counts.group)))


def selection_ratio(
    group: GroupCounts, base: GroupCounts, confidence: float = 0.95
) -> Interval | None:
    """Ratio of the selection rates of a group and a base group (demographic parity).

    Parameters
    ----------
    group, base
        Counts of the two, of different rows.
    confidence
        Probability with which Katz's interval covers the true ratio.

    Returns
    -------
    Interval or None
        1 for parity; the four-fifths rule asks for 0.8. None where a group is too small, or nobody
        is selected in either: undecided.

    Examples
    --------
    >>> men = GroupCounts(group="m", rows=500, selected=250, positives=200, found=150)
    >>> women = GroupCounts(group="w", rows=500, selected=150, positives=200, found=120)
    >>> round(selection_ratio(women, men).high, 2)
    0.7

    References
    ----------
    EEOC (1978). Uniform guidelines on employee selection procedures, 29 CFR 1607.4 D.
    """
    if not (group.is_enough and base.is_enough and group.selected + base.selected):
        return None
    return ratio_interval(group.selected, group.rows, base.selected, base.rows, confidence)


def opportunity_ratio(
    group: GroupCounts, base: GroupCounts, confidence: float = 0.95
) -> Interval | None:
    """Ratio of the true-positive rates of a group and a base group (equal opportunity).

    Parameters
    ----------
    group, base
        Counts of the two, of different rows.
    confidence
        Probability with which Katz's interval covers the true ratio.

    Returns
    -------
    Interval or None
        1 for equal opportunity; None where a group is too small, or nothing is found in either:
        undecided.

    Examples
    --------
    >>> men = GroupCounts(group="m", rows=500, selected=250, positives=200, found=150)
    >>> women = GroupCounts(group="w", rows=500, selected=150, positives=200, found=120)
    >>> round(opportunity_ratio(women, men).estimate, 2)
    0.8
    >>> few = GroupCounts(group="x", rows=99, selected=50, positives=50, found=40)
    >>> opportunity_ratio(few, men) is None
    True

    References
    ----------
    Hardt, M., Price, E. & Srebro, N. (2016). Equality of opportunity in supervised learning.
    *NeurIPS* 29.
    """
    if not (group.is_enough and base.is_enough and group.found + base.found):
        return None
    return ratio_interval(group.found, group.positives, base.found, base.positives, confidence)
