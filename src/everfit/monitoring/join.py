"""Which segments to read for labels: by id range, and back in time for keys."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import datetime

import polars as pl

from everfit.monitoring.match import match_ids, match_keys
from everfit.monitoring.model import Segment

Read = Callable[[Segment], pl.DataFrame]


def spanning(segments: Sequence[Segment], ids: Sequence[str]) -> list[Segment]:
    """Return the segments in whose span at least one of the sorted ``ids`` lies."""
    found = []
    for segment in segments:
        place = bisect_left(ids, segment.min_id)
        if place < len(ids) and ids[place] <= segment.max_id:
            found.append(segment)
    return found


def find_by_id(labels: pl.DataFrame, segments: Sequence[Segment], read: Read) -> list[pl.DataFrame]:
    """Return what ``match_ids`` finds in the segments that can hold the labels' ids."""
    ids = sorted(labels["id"].drop_nulls().to_list())
    return [match_ids(labels, read(segment)) for segment in spanning(segments, ids)]


def find_by_key(
    labels: pl.DataFrame, segments: Sequence[Segment], read: Read
) -> list[pl.DataFrame]:
    """Return what ``match_keys`` finds, going back in time until nothing later can be found."""
    if not labels["id"].null_count():
        return []
    keyed = labels.filter(pl.col("id").is_null())
    best: dict[int, datetime] = {}
    found = []
    for segment in sorted(segments, key=lambda s: s.max_time, reverse=True):
        if len(best) == keyed.height and min(best.values()) >= segment.max_time:
            break
        part = match_keys(keyed, read(segment))
        found.append(part)
        for row, at in part.select("row", "time").iter_rows():
            best[row] = max(at, best.get(row, at))
    return found


def known_labels(
    found: pl.DataFrame, segments: Sequence[Segment], read: Read
) -> pl.DataFrame | None:
    """Return the labels that predictions in ``found`` have already, the last one of each."""
    ids = sorted(found["id"].to_list())
    parts = [
        read(segment).select("id", "label").filter(pl.col("id").is_in(ids))
        for segment in spanning(segments, ids)
    ]
    if not parts:
        return None
    return pl.concat(parts).unique("id", keep="last", maintain_order=True)
