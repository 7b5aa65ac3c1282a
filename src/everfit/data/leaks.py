"""Leaks: features that could only know the target because they were made from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from everfit.data.model import Column, Leak, Role, Schema, Task

Floats = npt.NDArray[np.float64]

MAX_AUC = 0.99
MAX_SPEARMAN = 0.995
MAX_R2 = 0.9999
# With fewer rows a column can tell the target by chance: ten of each of two classes are
# separated so once in 184,756 columns.
FEW = 10
FEW_ROWS = 30
# These many rows settle an AUC to 0.001; more only cost time.
SAMPLE = 100_000
LINEAR_SAMPLE = 20_000
LINEAR_COLUMNS = 500
CLASSES = 10
# Of a sum of more parts than these, some may be named that it could do without.
PARTS = 64


def find_leaks(frame: pl.DataFrame, schema: Schema, *, allow: Collection[str] = ()) -> list[Leak]:
    """Return the features that give the target away; none without a target.

    Classification: a single feature, or whether it is missing, tells every two classes apart
    with an AUC above 0.99. Regression: the ranks of a feature follow the target's above 0.995,
    or a category or a weighted sum of features explains more than 0.9999 of its variance.
    Categories are judged on the half of the rows that their figures were not made from. A
    feature that follows the target of the row before even better is the past, not a leak.

    ``allow`` names features that are known when the prediction is asked for.
    """
    target = schema.target
    if target is None:
        return []
    kept = tuple(column for column in schema.columns if column.name not in allow)
    schema = replace(schema, columns=kept)
    rows = frame.filter(pl.col(target).is_not_null())
    rows = rows.gather_every(max(1, rows.height // SAMPLE))
    if schema.task is Task.CLASSIFICATION:
        return list(_class_leaks(rows, schema))
    if schema.task is Task.REGRESSION:
        return list(_number_leaks(rows, schema))
    return []


def auc(scores: pl.Series, positive: npt.NDArray[np.bool_]) -> float:
    r"""Return the chance that a positive scores above a negative, ties counting half.

    $(R_+ - n_+(n_+ + 1) / 2) / (n_+ n_-)$ with $R_+$ the sum of the positives' mid-ranks.
    From 0 to 1; 0.5 says nothing, 0 as much as 1. Null ranks below every number.

    References
    ----------
    Hanley & McNeil 1982, "The meaning and use of the area under a ROC curve", Radiology 143.

    Examples
    --------
    >>> auc(pl.Series([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    ranks = _ranks(scores.cast(pl.Float64).fill_null(-np.inf))
    wins = int(positive.sum())
    losses = len(positive) - wins
    return float((ranks[positive].sum() - wins * (wins + 1) / 2) / (wins * losses))


def _class_leaks(rows: pl.DataFrame, schema: Schema) -> Iterator[Leak]:
    target = rows[str(schema.target)]
    counts = target.alias("label").value_counts(sort=True).head(CLASSES)
    classes = counts.filter(pl.col("count") >= FEW)["label"].to_list()
    if len(classes) < 2:
        return
    members = {label: (target == label).to_numpy() for label in classes}
    for column in schema.features:
        values = rows[column.name]
        if column.role is Role.CATEGORY:
            telling = min(_category_auc(values, member) for member in members.values())
        elif values.dtype.is_numeric() or values.dtype == pl.Boolean:
            telling = _least_telling(values, list(members.values()))
        else:
            continue
        if telling > MAX_AUC:
            reason = f"it alone tells the classes of {target.name!r} apart: AUC {telling:.4f}"
            yield Leak(columns=(column.name,), reason=reason)


def _least_telling(values: pl.Series, members: Sequence[npt.NDArray[np.bool_]]) -> float:
    """Return the AUC of the two classes that the values tell apart least, 0.5 to 1."""
    least = 1.0
    for one, other in combinations(members, 2):
        both = one | other
        area = auc(values.filter(pl.Series(both)), one[both])
        least = min(least, max(area, 1 - area))
        if least <= MAX_AUC:
            break
    return least


def _category_auc(values: pl.Series, member: npt.NDArray[np.bool_]) -> float:
    """Return the AUC of each category's share of a class, as the other half of the rows has it."""
    shares = _means_of_other_half(values, member.astype(np.float64))
    return auc(shares.fill_null(float(member.mean())), member)


def _means_of_other_half(values: pl.Series, numbers: Floats) -> pl.Series:
    """Return for each row the mean of its category over the rows of the other parity.

    Null where no row of the other parity has the category. Missing values are a category.
    """
    rows = pl.DataFrame({"value": values.cast(pl.String), "number": numbers})
    rows = rows.with_columns(half=pl.int_range(pl.len()) % 2)
    means = rows.group_by("value", half=1 - pl.col("half")).agg(mean=pl.col("number").mean())
    joined = rows.join(
        means, on=["value", "half"], how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["mean"]


def _number_leaks(rows: pl.DataFrame, schema: Schema) -> Iterator[Leak]:
    if schema.time in rows.columns:
        rows = rows.sort([name for name in (schema.group, schema.time) if name])
    target = rows[str(schema.target)].cast(pl.Float64)
    if len(target) < FEW_ROWS:
        return
    rest = []
    for column in schema.features:
        values = rows[column.name]
        reason = _follows(column, values, target, in_order=schema.time is not None)
        if reason is not None:
            yield Leak(columns=(column.name,), reason=reason)
        elif column.role in (Role.NUMERIC, Role.BOOLEAN):
            rest.append(column.name)
    yield from _sums(rows.select(rest), target)


def _follows(column: Column, values: pl.Series, target: pl.Series, *, in_order: bool) -> str | None:
    """Return how the values give the target away, None if they do not."""
    if column.role is Role.CATEGORY:
        means = _means_of_other_half(values, target.to_numpy())
        explained = _explained(target, means)
        if explained > MAX_R2:
            return f"each of its categories has one {target.name!r}: R² {explained:.5f}"
        return None
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        return None
    spearman = _spearman(values, target)
    if not spearman > MAX_SPEARMAN:
        return None
    if (values.cast(pl.Float64) == target).all():
        return f"it equals {target.name!r}"
    if in_order and _spearman(values, target.shift(1)) >= spearman:
        return None
    return f"its ranks follow those of {target.name!r}: Spearman {spearman:.4f}"


def _explained(target: pl.Series, predicted: pl.Series) -> float:
    """Return the share of the target's variance that is explained, 0 if few rows tell."""
    both = predicted.is_not_null()
    if int(both.sum()) < max(FEW_ROWS, len(target) / 2):
        return 0.0
    truth, guess = target.filter(both).to_numpy(), predicted.filter(both).to_numpy()
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - guess) ** 2).sum()) / spread if spread > 0 else 0.0


def _spearman(one: pl.Series, other: pl.Series) -> float:
    """Return the size, 0 to 1, of the rank correlation over rows that have both values."""
    both = pl.DataFrame([one.cast(pl.Float64).alias("one"), other.alias("other")]).drop_nulls()
    if both.height < FEW_ROWS or min(both["one"].n_unique(), both["other"].n_unique()) < 2:
        return 0.0
    return abs(float(np.corrcoef(_ranks(both["one"]), _ranks(both["other"]))[0, 1]))


def _ranks(values: pl.Series) -> Floats:
    return values.rank("average").cast(pl.Float64).to_numpy()


def _sums(numbers: pl.DataFrame, target: pl.Series) -> Iterator[Leak]:
    """Yield the smallest sets of columns whose weighted sum is the target."""
    if not numbers.width:
        return
    step = max(1, len(target) // LINEAR_SAMPLE)
    table = (
        numbers.select(pl.all().cast(pl.Float64)).with_columns(target.alias("")).gather_every(step)
    )
    # A column with holes must not cost all the rows of the others.
    names = [n for n in numbers.columns if table[n].null_count() <= table.height / 2]
    table = table.select(*names, "").drop_nulls()
    names = [n for n in names if table[n].n_unique() > 1]
    if not names or table.height < FEW_ROWS or table[""].n_unique() < 2:
        return
    correlations = np.corrcoef(table.select(*names, "").to_numpy(), rowvar=False)
    strongest = np.argsort(-np.abs(correlations[-1, :-1]), kind="stable")
    left = [int(at) for at in strongest[: min(LINEAR_COLUMNS, table.height // 5)]]
    while left and (r2 := _r2(correlations, left)) > MAX_R2:
        least = _needed(correlations, left)
        found = tuple(names[at] for at in sorted(least))
        yield Leak(columns=found, reason=f"their weighted sum is {target.name!r}: R² {r2:.5f}")
        left = [at for at in left if at not in least]


def _r2(correlations: Floats, columns: Sequence[int]) -> float:
    """Return the share of the last variable's variance that a sum of ``columns`` explains."""
    weights = _weights(correlations, columns)
    among = correlations[np.ix_(columns, columns)]
    return float(2 * weights @ correlations[columns, -1] - weights @ among @ weights)


def _weights(correlations: Floats, columns: Sequence[int]) -> Floats:
    """Return the least-squares weights of ``columns``, each measured in its own deviations."""
    among = correlations[np.ix_(columns, columns)]
    weights, *_ = np.linalg.lstsq(among, correlations[columns, -1], rcond=1e-10)
    return np.asarray(weights, dtype=np.float64)


def _needed(correlations: Floats, columns: Sequence[int]) -> list[int]:
    """Return a few of ``columns`` whose sum is enough, none of which it can do without."""
    weights = _weights(correlations, columns)
    heaviest = [columns[at] for at in np.argsort(-np.abs(weights), kind="stable")]
    count = 1
    while count < len(heaviest) and not _r2(correlations, heaviest[:count]) > MAX_R2:
        count *= 2
    kept = heaviest[:count]
    for column in reversed(heaviest[: min(count, PARTS)]):
        without = [at for at in kept if at != column]
        if without and _r2(correlations, without) > MAX_R2:
            kept = without
    return kept
