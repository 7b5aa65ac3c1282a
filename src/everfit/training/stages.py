"""The steps of a training that Everfit brings, as plain functions that run in step workers.

A function of the same name in the user's ``pipeline.py`` takes the place of ``collected``,
``prepared`` or ``segregated``.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from everfit import data
from everfit.data import (
    ColumnProfile,
    Expectation,
    QualityReport,
    Role,
    Schema,
    Segregation,
    Source,
    Split,
    Task,
)
from everfit.errors import DataInvalid, StepFailed
from everfit.measures import scores
from everfit.packages import FittedModel, infer_signature, pack
from everfit.steps import tidied
from everfit.training.candidates import algorithm
from everfit.training.estimators import build
from everfit.training.model import EXTRA_TIME

# All pairs of distances are held at once: 2,000 rows take 32 MB.
SILHOUETTE_ROWS = 2_000
EXAMPLES = 3
# A class nobody knew may be a slip of the pen; from so many rows on it is a class.
NEW_CLASS_ROWS = 20


def collected(source: Mapping[str, Any], base: str, max_columns: int) -> pl.DataFrame:
    """Return the rows of the source as they are; ``base`` is where a relative one starts from."""
    return data.collect(Source(**source), base=Path(base), max_columns=max_columns)


def schema(
    rows: pl.DataFrame,
    *,
    task: str | None,
    roles: Mapping[str, str],
    exclude: Sequence[str],
    **named: Any,
) -> Schema:
    """Return what each column of ``rows`` is to the model."""
    if not isinstance(rows, pl.DataFrame):
        raise DataInvalid(
            f"the step before gave a {type(rows).__name__} in place of the rows",
            hint="`collected` and `prepared` in pipeline.py must return a Polars DataFrame.",
        )
    return data.infer_schema(
        rows,
        task=None if task is None else Task(task),
        roles={name: Role(role) for name, role in roles.items()},
        exclude=tuple(exclude),
        **named,
    )


def known(rows: pl.DataFrame, time: str, as_of: str) -> pl.DataFrame:
    """Return the rows that had happened by the time ``as_of``.

    Raises
    ------
    DataInvalid
        If the rows have no time, or none had happened.
    """
    parts = [time] if time in rows.columns else [part.strip() for part in time.split("+")]
    if not set(parts) <= set(rows.columns):
        # `schema` comes next and refuses the name, saying which ones are near.
        return rows
    columns = rows.select(parts)
    dated = data.infer_schema(columns, target=None, time=time)
    times = data.prepare(columns, dated)[dated.time or time]
    kept = rows.filter(times <= datetime.fromisoformat(as_of))
    if kept.is_empty():
        first = times.min()
        raise DataInvalid(
            f"none of {rows.height:,} rows had happened by {as_of}; the first is of {first!s}",
            hint="Wait for rows to arrive, or train as of a later time.",
        )
    return kept


def checked(rows: pl.DataFrame, expectations: tuple[Expectation, ...]) -> QualityReport:
    """Return what ``rows`` fail of what is expected of them.

    Raises
    ------
    DataInvalid
        If they fail anything.
    """
    report = data.check(rows, expectations)
    failed = [
        f"{check.column} {check.rule}: {check.failed:,} rows, such as "
        + ", ".join(f"{value} in row {row}" for row, value in check.examples[:EXAMPLES])
        for check in report.checks
        if check.failed
    ]
    if failed:
        raise DataInvalid(
            f"{report.failed_rows:,} of {report.rows:,} rows are not as expected: "
            + "; ".join(failed),
            hint="Correct the rows at their source, or what `data: {expect: …}` says of them.",
        )
    return report


def prepared(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the rows cleaned, with times read."""
    return data.prepare(rows, schema)


def extended(
    rows: pl.DataFrame, extra: pl.DataFrame, schema: Schema, key: str | None = None
) -> pl.DataFrame:
    """Return ``rows`` and those rows of ``extra`` that are not among them.

    ``extra`` are labelled predictions: they hold the features, the target and perhaps, as
    ``EXTRA_TIME``, the time.
    Where they lack a column, its values are missing. Two rows are the same where they have the
    same ``key``, or agree in all these where one has none. Rows are left out, with a warning, whose
    label is no value of the target's kind, or a class that ``rows`` lack with few rows yet.
    """
    if schema.target is not None and schema.target not in extra.columns:
        warnings.warn(
            f"{extra.height} labelled predictions are left out: they are not of {schema.target!r}",
            stacklevel=2,
        )
        return rows
    if schema.time is not None and EXTRA_TIME in extra.columns:
        extra = extra.drop(schema.time, strict=False).rename({EXTRA_TIME: schema.time})
    keyed = key is not None and {key} <= set(rows.columns) & set(extra.columns)
    wanted = {column.name for column in schema.features} | {schema.target, schema.time}
    shared = [name for name in rows.columns if name in wanted and name in extra.columns]
    named = list(dict.fromkeys([*shared, key])) if key is not None and keyed else shared
    added = extra.select(
        _cast(pl.col(name), extra.schema[name], rows.schema[name]) for name in named
    )
    if schema.target is not None:
        _warn_unread(added, extra, [name for name in named if name != schema.target])
        added = _labelled(added, extra[schema.target], schema.target)
        if schema.task is Task.CLASSIFICATION:
            added = _known_classes(added, rows[schema.target], schema.target)
    parts = [rows]
    if key is not None and keyed:
        # Two predictions of one event are one row: the last is the truth as it is known now.
        events = added.drop_nulls(key).unique(key, keep="last", maintain_order=True)
        parts.append(events.join(rows, on=key, how="anti"))
        added = added.filter(pl.col(key).is_null())
    new = added.unique(maintain_order=True).join(rows, on=shared, how="anti", nulls_equal=True)
    return pl.concat([*parts, new], how="diagonal")


def _warn_unread(rows: pl.DataFrame, given: pl.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        unread = given.filter(rows[name].is_null() & given[name].is_not_null())[name]
        if len(unread):
            warnings.warn(
                f"{len(unread)} values of {name!r} in labelled predictions are missing now: "
                f"{unread[0]!r} is no {rows.schema[name]}",
                stacklevel=2,
            )


def _labelled(rows: pl.DataFrame, given: pl.Series, target: str) -> pl.DataFrame:
    """Return the rows whose label could be read as a value of the target's kind."""
    unread = given.filter(rows[target].is_null() & given.is_not_null())
    if len(unread):
        kind = rows.schema[target]
        warnings.warn(
            f"{len(unread)} labelled predictions are left out: {unread[0]!r} is no {kind}",
            stacklevel=2,
        )
    return rows.drop_nulls(target)


def _known_classes(rows: pl.DataFrame, known: pl.Series, target: str) -> pl.DataFrame:
    """Return the rows but for those of new classes that are too few to be parted and learnt."""
    labels = rows[target].alias("label")
    counts = labels.value_counts().filter(~pl.col("label").is_in(known.unique().implode()))
    rare = counts.filter(pl.col("count") < NEW_CLASS_ROWS)
    for name, count in rare.iter_rows():
        warnings.warn(
            f"{count} labelled predictions are left out: the class {name!r} is new, and learnt "
            f"from {NEW_CLASS_ROWS} rows on",
            stacklevel=2,
        )
    return rows.filter(~pl.col(target).is_in(rare["label"].implode())) if rare.height else rows


def _cast(column: pl.Expr, held: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    if held == pl.String and wanted == pl.Boolean:
        # Labels travel as text, and Polars has no cast for this one.
        return column.str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
        )
    return column.cast(wanted, strict=False)


def profiled(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return figures of each column, as plain values."""
    profiles: Sequence[ColumnProfile] = data.profile(rows)
    return [msgspec.to_builtins(profile) for profile in profiles]


def segregated(prepared: pl.DataFrame, schema: Schema, segregation: Mapping[str, Any]) -> Split:
    """Return the rows in three parts that share none."""
    return data.segregate(prepared, schema, msgspec.convert(segregation, Segregation))


def agreed(segregated: Split) -> Split:
    """Return a split that the user made, once it is proven free of leaks."""
    data.check_split(segregated)
    return segregated


def joined(segregated: Split) -> Split:
    """Return the split with its validation rows also in training, to learn from at the end."""
    everything = pl.concat([segregated.train, segregated.validation])
    return dataclasses.replace(segregated, train=everything)


def validation(segregated: Split) -> pl.DataFrame:
    """Return the validation rows."""
    return segregated.validation


def test(segregated: Split) -> pl.DataFrame:
    """Return the rows held out for the gates."""
    return segregated.test


def trained(segregated: Split, candidate: str, params: Mapping[str, Any], seed: int) -> FittedModel:
    """Return the candidate fitted on the training rows."""
    found = algorithm(candidate)
    if found is None:
        raise StepFailed(f"no candidate {candidate!r}", hint="Check the candidates first.")
    split = segregated
    features = split.train.select(column.name for column in split.schema.features)
    estimator = build(found, params, split.train, split.schema, seed=seed)
    with warnings.catch_warnings():
        # Rare values give empty bins, and a search tries parameters that converge slowly: the
        # validation score tells what that costs.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        estimator.fit(features, _truth(split, split.train))
    return wrapped(estimator, split)


def wrapped(estimator: Any, segregated: Split) -> FittedModel:
    """Return what a candidate function gave, with the signature of the rows it learned from.

    ``estimator`` is any object whose ``predict(frame)`` takes the schema's feature columns; for
    a classification it may have ``predict_proba(frame)`` and ``classes_`` as in scikit-learn.
    """
    split = segregated
    # Missing values must be allowed where any part has them.
    whole = pl.concat([split.train, split.validation, split.test])
    truth = None if split.schema.target is None else whole[split.schema.target]
    signature = infer_signature(
        whole.select(column.name for column in split.schema.features),
        truth,
        split.schema.task,
        _classes(estimator, split),
    )
    return FittedModel(estimator, signature)


def _classes(estimator: Any, split: Split) -> list[Any]:
    if split.schema.task is not Task.CLASSIFICATION or split.schema.target is None:
        return []
    own = getattr(estimator, "classes_", None)
    if own is not None:
        return list(np.asarray(own).tolist())
    return split.train[split.schema.target].unique().sort().to_list()


def _truth(split: Split, rows: pl.DataFrame) -> Any:
    return None if split.schema.target is None else rows[split.schema.target].to_numpy()


def scored(
    fitted: FittedModel, segregated: Split, part: str, metrics: Sequence[str]
) -> dict[str, float]:
    """Return the metrics of ``fitted`` on one part of the split.

    The first metric must be defined on these rows; others that are not are left out.

    Raises
    ------
    DataInvalid
        If the first one is not defined.
    """
    rows = segregated.parts[part]
    values: dict[str, float] = {}
    answers = fitted.predict_both(rows)
    for metric in metrics:
        try:
            values[metric] = _score(metric, fitted, segregated, rows, answers)
        except ValueError as error:
            if metric == metrics[0]:
                raise DataInvalid(
                    f"{metric} on the {rows.height:,} {part} rows: {error}",
                    hint="Take another metric, or another split.",
                ) from error
    return values


def _score(
    metric: str,
    fitted: FittedModel,
    split: Split,
    rows: pl.DataFrame,
    answers: tuple[Any, Any],
) -> float:
    predictions, chances = answers
    if metric != "silhouette":
        classes = fitted.signature.classes or None
        return scores.score(metric, _truth(split, rows), predictions, chances, classes)
    sample = np.linspace(0, rows.height - 1, min(rows.height, SILHOUETTE_ROWS)).astype(int)
    steps = getattr(fitted.estimator, "named_steps", {})
    features = rows[sample].select(fitted.signature.names)
    points = steps["encode"].transform(features) if "encode" in steps else features.to_numpy()
    return float(scores.silhouettes(points, predictions[sample]).mean())


def tried(
    segregated: Split,
    candidate: str,
    params: Mapping[str, Any],
    seed: int,
    metrics: Sequence[str],
) -> dict[str, float]:
    """Return what the candidate reaches on the validation rows; the model itself is let go."""
    fitted = trained(segregated, candidate, params, seed)
    return scored(fitted, segregated, "validation", metrics)


def packed(fitted: FittedModel) -> bytes:
    """Return the model as one file."""
    return pack(fitted, tidy=tidied)


def signature(fitted: FittedModel) -> dict[str, Any]:
    """Return what the model takes and gives, as plain values."""
    return fitted.signature.to_builtins()
