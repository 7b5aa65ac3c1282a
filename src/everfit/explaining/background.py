"""The rows that explanations compare with: training rows, or such as the profile describes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.data import get_version as get_dataset
from everfit.errors import Invalid, LedgerBroken, NotFound, RowsInvalid
from everfit.explaining.explainer import Background
from everfit.kernel import Transaction, Workspace
from everfit.monitoring import Reference, load_reference
from everfit.packages import Field, Kind, Signature, cast
from everfit.registry import ModelVersion

ROWS = 5_000
# So many parts of a dataset version are read: what a server holds for it stays bounded.
CHUNKS = 4
INPUT = "in."
FEWEST_KNOTS = 3


def background(
    workspace: Workspace, tx: Transaction, version: ModelVersion, signature: Signature
) -> Background:
    """Return at most 5,000 rows for a version, spread evenly over those it was trained on.

    Where they are not kept (any more), or the version came from outside, rows are made from its
    reference profile: each column as the profile describes it, independent of the others.

    Raises
    ------
    Invalid
        If neither is kept.
    """
    found = _trained_on(workspace, tx, version, signature)
    if found is None:
        reference = load_reference(workspace, tx, version.model, version.number)
        found = None if reference is None else _described(reference, version, signature)
    if found is None or found.frame.is_empty():
        raise Invalid(
            f"version {version.subject} cannot be explained: neither rows that it was trained on "
            "nor a reference profile are kept",
            hint="Train it again with `everfit run`; a version from outside gets its profile when "
            "its gates are judged.",
            version=version.number,
        )
    return found


def _trained_on(
    workspace: Workspace, tx: Transaction, version: ModelVersion, signature: Signature
) -> Background | None:
    if version.dataset is None:
        return None
    try:
        chunks = get_dataset(tx, version.dataset).chunks
        some = chunks[:: max(1, -(-len(chunks) // CHUNKS))]
        tables = [
            pl.read_parquet(io.BytesIO(workspace.blobs.get(digest)), columns=signature.names)
            for digest in some
        ]
        rows = cast(pl.concat(tables), signature, allow_nulls=True)
    except (NotFound, LedgerBroken, RowsInvalid, pl.exceptions.ColumnNotFoundError):
        return None
    step = max(1, -(-rows.height // ROWS))
    return Background(frame=rows.gather_every(step), name=f"dataset {version.dataset[:12]}")


def _described(reference: Reference, version: ModelVersion, signature: Signature) -> Background:
    rng = np.random.default_rng(0)
    rows = min(ROWS, max(1, reference.rows))
    numbers = {name: place for place, name in enumerate(reference.numeric.names)}
    texts = {sketch.name: sketch for sketch in reference.category}
    columns: dict[str, Any] = {}
    for field in signature.inputs:
        name = INPUT + field.name
        if name in numbers:
            values: list[Any] = _numbers(reference, numbers[name], rows)
        elif name in texts:
            sketch = texts[name]
            values = _spread(
                [*sketch.categories, None], np.append(sketch.counts, sketch.missing), rows
            )
        else:
            values = [version.created_at if field.kind is Kind.TIME else None] * rows
        columns[field.name] = _typed(field, [values[i] for i in rng.permutation(rows)])
    frame = cast(pl.DataFrame(columns), signature, allow_nulls=True)
    return Background(frame=frame, name=f"the profile of v{version.number}")


def _numbers(reference: Reference, place: int, rows: int) -> list[float | None]:
    """Return values at equal distances of rank, and as many missing ones as there were."""
    sketch = reference.numeric
    knots, heights = sketch.knots[place], sketch.heights[place]
    if knots.size >= FEWEST_KNOTS:
        # Each value stands between its two neighbours among the numbers; at the upper one, rows
        # with the value count as below.
        knots, heights = knots[1::3], heights[2::3]
    total = sketch.rows[place] + sketch.missing[place]
    known = rows if total <= 0 else round(rows * float(sketch.rows[place] / total))
    ranks = (np.arange(known) + 0.5) / max(1, known)
    at = np.minimum(np.searchsorted(heights, ranks), knots.size - 1)
    return [*knots[at].tolist(), *([None] * (rows - known))]


def _spread(values: list[str | None], counts: NDArray[np.float64], rows: int) -> list[str | None]:
    """Return values as often, relative to one another, as they were counted."""
    total = counts.sum()
    if total <= 0:
        return [None] * rows
    edges = np.cumsum(counts) / total
    at = np.minimum(np.searchsorted(edges, (np.arange(rows) + 0.5) / rows), len(values) - 1)
    return [values[i] for i in at.tolist()]


def _typed(field: Field, values: list[Any]) -> list[Any]:
    if field.kind is Kind.INTEGER:
        return [None if value is None else round(value) for value in values]
    if field.kind is Kind.BOOLEAN:
        return [None if value is None else value == "true" for value in values]
    return values
