"""Labels to predictions: by prediction id, or by key and time. Pure work on tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from everfit.monitoring.log import UTC_TIME
from everfit.packages import label_texts

LABEL_SCHEMA: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String,
    "key": pl.String,
    "label": pl.String,
    "at": UTC_TIME,
}
# What is kept of a prediction beside its label: enough to judge every model that scored it.
KEPT = (
    "id",
    "at",
    "time",
    "version",
    "arm",
    "prediction",
    "score",
    "other_version",
    "other_prediction",
    "other_score",
)


def label_table(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return received labels as one table of texts; a number's text gives it back exactly."""
    parts = [
        table.select("id", "key", label_texts(table["label"]).alias("label"), "at")
        for table in tables
    ]
    if not parts:
        return pl.DataFrame(schema=LABEL_SCHEMA)
    return pl.concat(parts) if len(parts) > 1 else parts[0]


def label_frame(pending: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return labels that waited as a table, each with the number it was given as ``row``."""
    waiting = pl.DataFrame(list(pending), schema={"number": pl.UInt32, **LABEL_SCHEMA})
    return waiting.rename({"number": "row"})


def match_ids(labels: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Return the labels' row numbers with the predictions that they name."""
    named = labels.drop_nulls("id") if labels["id"].null_count() else labels
    named = named.select("row", "id", "label", label_at="at")
    return _kept(named.join(predictions.select(KEPT), on="id"))


def match_keys(labels: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Return, for labels by key, the latest prediction of the key not after the label's time."""
    keyed = labels.filter(pl.col("id").is_null()).select("row", "key", "label", label_at="at")
    found = keyed.join(predictions.select(*KEPT, "key"), on="key")
    found = found.filter(pl.col("time") <= pl.col("label_at"))
    return _kept(found.sort("time", "id").unique("row", keep="last", maintain_order=True))


def _kept(found: pl.DataFrame) -> pl.DataFrame:
    return found.select("row", *KEPT, "label", "label_at")


def latest(found: Sequence[pl.DataFrame]) -> pl.DataFrame | None:
    """Return one match per label, that with the latest prediction."""
    parts = [part for part in found if part.height]
    if len(parts) < 2:
        return parts[0] if parts else None
    whole = pl.concat(parts).sort("time", "id")
    return whole.unique("row", keep="last", maintain_order=True)


def apart(labels: pl.DataFrame, matched: pl.DataFrame | None) -> list[dict[str, Any]]:
    """Return the labels that matched nothing, each with its row as ``number``."""
    if matched is not None:
        # Labels that waited have lower numbers than those that came now.
        if int((matched["row"] >= labels["row"][0]).sum()) == labels.height:
            return []
        labels = labels.join(matched, on="row", how="anti")
    return labels.rename({"row": "number"}).to_dicts()


def against_known(found: pl.DataFrame, known: pl.DataFrame | None) -> tuple[pl.DataFrame, int]:
    """Return new labels and corrections, and how many labels were known already.

    ``known`` holds ``id`` and ``label`` of predictions labelled before. Of several labels for
    one prediction the last one received stands.
    """
    once = found
    if found["id"].n_unique() < found.height:
        once = found.sort("row").unique("id", keep="last", maintain_order=True)
    if known is None or not known.height:
        fresh = once.with_columns(correction=pl.lit(value=False))
        return fresh.drop("row"), found.height - once.height
    joined = once.join(known.select("id", pl.col("label").alias("known")), on="id", how="left")
    kept = joined.filter(pl.col("known").is_null() | (pl.col("known") != pl.col("label")))
    fresh = kept.with_columns(correction=pl.col("known").is_not_null()).drop("known", "row")
    return fresh, found.height - fresh.height
