"""Profile: the figures of every column, in one pass."""

from __future__ import annotations

from typing import Any

import polars as pl
from polars import selectors

from everfit.data.model import ColumnProfile
from everfit.data.roles import is_plain

PROBABILITIES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP = 10


def profile(frame: pl.DataFrame) -> tuple[ColumnProfile, ...]:
    """Return the figures of every column; columns of lists and the like are only counted.

    NaN counts as missing. ``sd`` has the divisor n - 1; a quantile is the nearest value that
    is there. Ties among the most frequent texts are in the order of the texts.

    Examples
    --------
    >>> [column] = profile(pl.DataFrame({"a": [1, 2, None, 6]}))
    >>> column.count, column.missing, column.distinct, column.mean
    (3, 1, 3, 3.0)
    """
    if frame.width == 0:
        return ()
    frame = frame.with_columns(selectors.float().fill_nan(None))
    figures = frame.select(
        pl.struct([expr.alias(label) for label, expr in _figures(name, kind).items()]).alias(name)
        for name, kind in frame.schema.items()
    ).row(0)
    return tuple(
        _profile(name, kind, frame.height, found)
        for (name, kind), found in zip(frame.schema.items(), figures, strict=True)
    )


def _figures(name: str, kind: pl.DataType) -> dict[str, pl.Expr]:
    values = pl.col(name)
    figures = {"count": values.count()}
    if not is_plain(kind):
        return figures
    figures["distinct"] = values.n_unique() - (values.null_count() > 0).cast(pl.Int64)
    if kind == pl.String:
        # Each evaluation of the counts has an order of its own: texts and numbers stay together
        # only within one.
        counts = values.alias("text").drop_nulls().value_counts(name="n").implode()
        one = pl.element().struct
        order = [one.field("n"), one.field("text")]
        figures["top"] = counts.list.eval(
            pl.element().sort_by(order, descending=[True, False]).head(TOP)
        )
        return figures
    figures |= {"minimum": values.min(), "maximum": values.max()}
    if kind.is_numeric():
        figures |= {"mean": values.mean(), "sd": values.std()}
        figures["quantiles"] = values.quantile(list(PROBABILITIES))
    return figures


def _profile(name: str, kind: pl.DataType, rows: int, found: dict[str, Any]) -> ColumnProfile:
    quantiles = found.get("quantiles") if found["count"] else None
    return ColumnProfile(
        name=name,
        dtype=str(kind),
        count=found["count"],
        missing=rows - found["count"],
        distinct=found.get("distinct", 0),
        minimum=_bound(found.get("minimum")),
        mean=found.get("mean"),
        maximum=_bound(found.get("maximum")),
        sd=found.get("sd"),
        quantiles=tuple(zip(PROBABILITIES, quantiles or (), strict=False)),
        top=tuple((counted["text"], counted["n"]) for counted in found.get("top") or ()),
    )


def _bound(value: Any) -> float | str | None:
    """Return the end of a range: a number, the ISO text of a time, or None."""
    if value is None:
        return None
    return float(value) if isinstance(value, int | float) else str(value)
