"""The reference profile of a version: what its training rows looked like, as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.errors import DataInvalid
from everfit.measures.drift import Scores, category_scores, join, numeric_scores
from everfit.measures.serial import FEWEST_WINDOWS, Dependence, dependence, excursions
from everfit.measures.sketch import (
    BINS,
    FAR,
    CategoryCounts,
    CategorySketch,
    NumericCounts,
    NumericSketch,
    count_category,
    count_numeric,
    sketch_category,
    sketch_numeric,
)
from everfit.monitoring.model import INPUT

Floats = NDArray[np.float64]

PREDICTION = "prediction"
WINDOWS = 200
BLOCKS = 20
ROWS_PER_WINDOW = 20
FORMAT = 1
# The name of a count beside the values counted: no column is called so.
ROWS = "rows with this value"
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What monitoring compares with. Columns are named as in the prediction log.

    ``importance`` is each column's share of what the model uses, relative to the average
    column. ``bursts`` is the largest share of a numeric column's rows by which one of the
    reference's own windows left the range of the others. ``losses`` are the signed-off loss per
    row: mean, standard deviation, rows.
    """

    rows: int
    numeric: NumericSketch
    category: tuple[CategorySketch, ...]
    importance: Mapping[str, float]
    dependence: Dependence | None
    bursts: Mapping[str, float]
    losses: tuple[float, float, int] | None

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of all columns watched."""
        return (*self.numeric.names, *(sketch.name for sketch in self.category))

    @property
    def dependent(self) -> bool:
        """Return whether rows depend on their neighbours."""
        return self.dependence is not None and self.dependence.dependent


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a window holds of every column of a reference."""

    numeric: NumericCounts
    category: tuple[CategoryCounts, ...]

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of both parts together."""
        return Counts(
            numeric=self.numeric + other.numeric,
            category=tuple(a + b for a, b in zip(self.category, other.category, strict=True)),
        )


def reference_profile(
    frame: pl.DataFrame,
    features: Sequence[str],
    *,
    time: str | None = None,
    window: timedelta | None = None,
    predictions: Sequence[Any] | NDArray[Any] | None = None,
    losses: Sequence[float] | Floats | None = None,
    importance: Mapping[str, float] | None = None,
) -> bytes:
    """Return the reference profile of training rows, to be stored with the version.

    Parameters
    ----------
    frame
        The rows the model learned from. Where rows depend on one another they must be in the
        order of time, or ``time`` must name the column to sort them by.
    features
        The model's inputs among its columns. Numbers are described by quantiles, texts,
        booleans and enums by their categories; times are left out.
    window
        Length of a monitoring window: how much whole windows of the reference differ decides
        what is news later. Without it, or with fewer than 8, equal blocks of rows stand in.
    predictions
        The model's predictions on rows it did not learn from, or on all rows of ``frame`` in its
        order; watched as a column of its own. Where rows depend on one another, only the latter
        tells how much predictions vary from window to window.
    losses
        The loss of each of those rows: what production is held against until a gate signs off
        another figure.
    importance
        Share of each feature in what the model uses; those left out count as average.

    Raises
    ------
    DataInvalid
        If there are no rows, or a feature is absent.
    """
    absent = [name for name in features if name not in frame.columns]
    if absent or not frame.height:
        raise DataInvalid(
            f"no reference profile of {frame.height} rows without {', '.join(absent) or 'gaps'}",
            hint="Hand in the training rows with every input of the model.",
        )
    rows = frame.select(pl.col(name).alias(INPUT + name) for name in features)
    given = None if predictions is None else pl.Series(PREDICTION, predictions)
    watched = [*rows.get_columns(), *([] if given is None else [given])]
    if given is not None and len(given) == rows.height:
        rows = rows.with_columns(given)
    times = None if time is None else frame[time]
    if times is not None:
        order = times.arg_sort()
        rows, times = rows[order], times[order]
    reference = Reference(
        rows=frame.height,
        numeric=sketch_numeric({c.name: as_numbers(c) for c in watched if _is_number(c.dtype)}),
        category=tuple(
            sketch_category(c.name, *value_counts(c)) for c in watched if _is_text(c.dtype)
        ),
        importance=_relative(importance or {}),
        dependence=None,
        bursts={},
        losses=_losses(losses),
    )
    parts = _parts(times, rows, window)
    found = _dependence(reference, parts)
    bursts = _bursts(reference, parts) if found is not None and found.dependent else {}
    return encode_reference(replace(reference, dependence=found, bursts=bursts))


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric()


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Boolean, pl.Categorical) or isinstance(dtype, pl.Enum)


def as_numbers(column: pl.Series) -> Floats:
    """Return a column as floats, missing values as NaN; what is no number is missing."""
    return column.cast(pl.Float64, strict=False).to_numpy()


def value_counts(column: pl.Series) -> tuple[dict[str, int], int]:
    """Return how often each value occurs, as text, and how many are missing."""
    return _as_counts(column.cast(pl.String).value_counts(name=ROWS))


def _relative(importance: Mapping[str, float]) -> dict[str, float]:
    total = sum(max(share, 0.0) for share in importance.values())
    if not total > 0:
        return {}
    scale = len(importance) / total
    return {INPUT + name: max(share, 0.0) * scale for name, share in importance.items()}


def _losses(losses: Sequence[float] | Floats | None) -> tuple[float, float, int] | None:
    if losses is None or len(losses) == 0:
        return None
    value = np.asarray(losses, dtype=np.float64)
    return float(value.mean()), float(value.std()), value.size


def _parts(
    times: pl.Series | None, rows: pl.DataFrame, window: timedelta | None
) -> list[pl.DataFrame]:
    """Return the reference's own windows in order; equal blocks where those are too few."""
    if times is not None and window is not None and times.dtype.is_temporal():
        starts = times.cast(pl.Datetime("us")).to_physical() // (window // MICROSECOND)
        parts = rows.with_columns(starts.alias("window")).partition_by(
            "window", maintain_order=True, include_key=False
        )
        parts = [part for part in parts if part.height >= ROWS_PER_WINDOW]
        if len(parts) >= BLOCKS:
            return parts[-WINDOWS:]
    blocks = min(BLOCKS, rows.height // ROWS_PER_WINDOW)
    size = rows.height // blocks if blocks else 0
    return [rows.slice(index * size, size) for index in range(blocks)]


def _dependence(reference: Reference, parts: Sequence[pl.DataFrame]) -> Dependence | None:
    if len(parts) < FEWEST_WINDOWS or not reference.columns:
        return None
    found = [score(reference, count(reference, part)) for part in parts]
    z = np.array([_judged(scores) for scores in found])
    unknown = [name not in parts[0].columns for name in found[0].columns]
    z[:, unknown] = 0.0
    rows = np.array([part.height for part in parts], dtype=np.float64)
    return dependence(z, rows, found[0].one_sided)


def _bursts(reference: Reference, parts: Sequence[pl.DataFrame]) -> dict[str, float]:
    held = [name for name in reference.numeric.names if name in parts[0].columns]
    if not held:
        return {}
    shares = excursions([_as_matrix(part, held) for part in parts], far=FAR)
    return dict(zip(held, shares.tolist(), strict=True))


def _judged(scores: Scores) -> Floats:
    """Return z with 0 where the reference's own windows say nothing: none is out of its range."""
    return np.where(np.array(scores.kinds) == "range", 0.0, scores.z)


def count(reference: Reference, rows: pl.DataFrame) -> Counts:
    """Return the counts of logged rows; a column that is absent counts as missing."""
    numbers = [name for name in reference.numeric.names if name in rows.columns]
    # One pass for all columns of a kind: a call costs more than the rows of a usual window.
    known = dict(zip(numbers, _as_matrix(rows, numbers), strict=True))
    nothing = np.full(rows.height, np.nan)
    columns = [known.get(name, nothing) for name in reference.numeric.names]
    texts = [sketch.name for sketch in reference.category if sketch.name in rows.columns]
    counted = dict(zip(texts, _count_values(rows, texts), strict=True))
    category = tuple(
        count_category(sketch, *counted.get(sketch.name, ({}, rows.height)))
        for sketch in reference.category
    )
    return Counts(numeric=count_numeric(reference.numeric, columns), category=category)


def _as_matrix(rows: pl.DataFrame, names: Sequence[str]) -> Floats:
    if not names:
        return np.empty((0, rows.height))
    plain = rows.select(pl.col(names).cast(pl.Float64, strict=False))
    return plain.to_numpy(order="fortran").T


def _count_values(rows: pl.DataFrame, names: Sequence[str]) -> list[tuple[dict[str, int], int]]:
    if not names:
        return []
    counted = rows.select(pl.col(names).cast(pl.String).value_counts(name=ROWS).implode())
    return [_as_counts(counted[name][0].struct.unnest()) for name in names]


def _as_counts(counted: pl.DataFrame) -> tuple[dict[str, int], int]:
    values, rows = counted.get_columns()
    counts = dict(zip(values.to_list(), rows.to_list(), strict=True))
    return counts, counts.pop(None, 0)


def score(reference: Reference, counts: Counts) -> Scores:
    """Return the drift scores of a window's counts."""
    return join(
        [
            numeric_scores(reference.numeric, counts.numeric),
            category_scores(reference.category, counts.category),
        ]
    )


def encode_reference(reference: Reference) -> bytes:
    """Return the reference as bytes."""
    found = reference.dependence
    plain = {
        "format": FORMAT,
        "rows": reference.rows,
        "numeric": _plain(reference.numeric),
        "category": [_plain(sketch) for sketch in reference.category],
        "importance": dict(reference.importance),
        "dependence": None if found is None else _plain(found),
        "bursts": dict(reference.bursts),
        "losses": reference.losses,
    }
    return msgspec.msgpack.encode(plain)


def _plain(value: Any) -> dict[str, Any]:
    return {field.name: _packed(getattr(value, field.name)) for field in fields(value)}


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"shape": value.shape, "floats": np.ascontiguousarray(value, "<f8").tobytes()}
    if isinstance(value, tuple):
        return [_packed(item) for item in value]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return np.frombuffer(value["floats"], "<f8").reshape(value["shape"])
    if isinstance(value, list):
        return tuple(_unpacked(item) for item in value)
    return value


def _rebuilt(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _unpacked(value) for name, value in plain.items()}


@lru_cache(maxsize=32)
def decode_reference(content: bytes) -> Reference:
    """Return the reference that ``reference_profile`` wrote."""
    plain = msgspec.msgpack.decode(content)
    if plain.get("format") != FORMAT:
        raise DataInvalid(
            f"reference profile of format {plain.get('format')}, this Everfit reads {FORMAT}",
            hint="Train the version again, or install the Everfit that wrote it.",
        )
    found = plain["dependence"]
    losses = plain["losses"]
    return Reference(
        rows=plain["rows"],
        numeric=NumericSketch(**_rebuilt(plain["numeric"])),
        category=tuple(CategorySketch(**_rebuilt(sketch)) for sketch in plain["category"]),
        importance=plain["importance"],
        dependence=None if found is None else Dependence(**_rebuilt(found)),
        bursts=plain["bursts"],
        losses=None if losses is None else (losses[0], losses[1], losses[2]),
    )


def encode_counts(counts: Counts) -> str:
    """Return counts as JSON text."""
    plain = {
        "numeric": _lists(counts.numeric),
        "category": [_lists(count) for count in counts.category],
    }
    return msgspec.json.encode(plain).decode()


def _lists(value: Any) -> dict[str, Any]:
    found = {}
    for field in fields(value):
        item = getattr(value, field.name)
        found[field.name] = item.tolist() if isinstance(item, np.ndarray) else item
    return found


def decode_counts(text: str) -> Counts:
    """Return the counts that ``encode_counts`` wrote."""
    plain = msgspec.json.decode(text)
    numeric = plain["numeric"]
    rows = numeric.pop("rows")
    arrays = {name: np.array(value, dtype=np.float64) for name, value in numeric.items()}
    arrays["bins"] = arrays["bins"].reshape(-1, BINS)
    category = tuple(
        CategoryCounts(**(item | {"cells": np.array(item["cells"], dtype=np.float64)}))
        for item in plain["category"]
    )
    return Counts(numeric=NumericCounts(rows=rows, **arrays), category=category)
