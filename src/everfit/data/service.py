"""Dataset versions: content-addressed chunks, a manifest whose digest is the id, one row."""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from everfit.data import store
from everfit.data.model import DatasetVersion
from everfit.errors import NotFound
from everfit.kernel import Blobs, Transaction, canonical_json

# Large enough to compress well, small enough that appended rows rewrite little.
CHUNK_ROWS = 262_144


def store_version(
    tx: Transaction, blobs: Blobs, frame: pl.DataFrame, *, name: str
) -> DatasetVersion:
    """Return the version that holds exactly ``frame``; equal content is stored once.

    Storing what is already there writes nothing: no blob, no row, no event, and the version
    keeps the name it was first stored under.
    """
    chunks = [
        {"digest": blobs.put(_parquet(part)), "rows": part.height}
        for part in list(frame.iter_slices(CHUNK_ROWS)) or [frame]
    ]
    manifest: dict[str, Any] = {
        "format": 1,
        "columns": [[column, str(dtype)] for column, dtype in frame.schema.items()],
        "rows": frame.height,
        "chunks": chunks,
    }
    version = DatasetVersion(
        id=blobs.put(canonical_json(manifest).encode()),
        name=name,
        rows=frame.height,
        columns=tuple(frame.columns),
        chunks=tuple(str(chunk["digest"]) for chunk in chunks),
    )
    known = store.find(tx, version.id)
    if known is not None:
        return known
    store.insert(tx, version)
    tx.record("dataset-stored", version.id, name=name, rows=version.rows, chunks=len(chunks))
    return version


def get_version(tx: Transaction, version_id: str) -> DatasetVersion:
    """Return what is known of a stored version; raises NotFound."""
    version = store.find(tx, version_id)
    if version is None:
        raise NotFound(
            f"no dataset version {version_id!r} in project {tx.project!r}",
            hint="The runs of a model name the dataset versions that it was trained on.",
        )
    return version


def load_version(tx: Transaction, blobs: Blobs, version_id: str) -> pl.DataFrame:
    """Return the rows of a stored version, in the order in which they were stored.

    Raises
    ------
    NotFound
        If this project has no such version, or a chunk of it was removed.
    LedgerBroken
        If a chunk was changed after it was written.
    """
    version = get_version(tx, version_id)
    return pl.concat([pl.read_parquet(blobs.get(digest)) for digest in version.chunks])


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    # One row group of a fresh, contiguous table: equal rows give equal bytes.
    frame.rechunk().write_parquet(buffer, compression="zstd", row_group_size=CHUNK_ROWS)
    return buffer.getvalue()
