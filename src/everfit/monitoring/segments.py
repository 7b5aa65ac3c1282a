"""Sealed parts of the logs: content-addressed tables, the recently used ones kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from everfit.data import decode_frame, encode_frame
from everfit.kernel import Blobs
from everfit.monitoring.model import EPOCH, Segment

CACHE_BYTES = 256 * 1024 * 1024


class SegmentCache:
    """Tables by digest, least recently used first out. Content-addressed: never out of date."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit = limit_bytes
        self._tables: OrderedDict[str, tuple[pl.DataFrame, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, digest: str, table: pl.DataFrame) -> None:
        """Keep a table."""
        size = int(table.estimated_size())
        with self._lock:
            if digest in self._tables or size > self._limit // 4:
                return
            self._tables[digest] = (table, size)
            self._bytes += size
            while self._bytes > self._limit:
                self._bytes -= self._tables.popitem(last=False)[1][1]

    def get(self, digest: str) -> pl.DataFrame | None:
        """Return a table if it is kept."""
        with self._lock:
            found = self._tables.get(digest)
            if found is None:
                return None
            self._tables.move_to_end(digest)
            return found[0]


# One per process: sweeps, evidence and what the loop learns from read the same segments.
CACHE = SegmentCache()


def read_segment(blobs: Blobs, digest: str) -> pl.DataFrame:
    """Return the table of a segment."""
    table = CACHE.get(digest)
    if table is None:
        table = decode_frame(blobs.get(digest))
        CACHE.put(digest, table)
    return table


def read_segments(blobs: Blobs, segments: Sequence[Segment]) -> pl.DataFrame | None:
    """Return the rows of several segments in their order, or None for none."""
    tables = [read_segment(blobs, segment.digest) for segment in segments]
    return stack(tables) if tables else None


def stack(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of all tables; a column that one of them lacks is null there."""
    if len(tables) == 1:
        return tables[0]
    schema = tables[0].schema
    if all(table.schema == schema for table in tables):
        return pl.concat(tables)
    return pl.concat(tables, how="diagonal_relaxed")


def seal(
    blobs: Blobs,
    table: pl.DataFrame,
    *,
    kind: str,
    number: int,
    now: datetime,
    content: bytes | None = None,
) -> Segment:
    """Store a table for good and return its place. Sealing it again gives the same place.

    ``content`` is the table encoded, where it is so already.
    """
    digest = blobs.put(encode_frame(table) if content is None else content)
    CACHE.put(digest, table)
    named, timed = "id" in table.columns, "time" if "time" in table.columns else "at"
    low, high = table[timed].min(), table[timed].max()
    return Segment(
        kind=kind,
        number=number,
        digest=digest,
        rows=table.height,
        min_id=str(table["id"].min()) if named else "",
        max_id=str(table["id"].max()) if named else "",
        min_time=low if isinstance(low, datetime) else EPOCH,
        max_time=high if isinstance(high, datetime) else EPOCH,
        sealed_at=now,
    )
