"""Collect: rows out of a file or a database, as a table, or an error that says why not."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import polars as pl

from everfit.data.clean import clean
from everfit.data.delimited import read_delimited, refuse_columns
from everfit.data.model import Source
from everfit.data.query import read_query
from everfit.errors import DataInvalid, SourceMissing

READABLE = {".csv", ".tsv", ".txt", ".parquet", ".pq"}
PARQUET = b"PAR1"
OTHERS = {
    b"PK\x03\x04": ("an Excel or zip file", "Save the sheet as CSV in UTF-8."),
    b"\xd0\xcf\x11\xe0": ("an Excel file", "Save the sheet as CSV in UTF-8."),
    b"\x1f\x8b": ("packed with gzip", "Unpack it first: `gunzip FILE`."),
}


def collect(source: Source, *, base: Path, max_columns: int = 2_000) -> pl.DataFrame:
    """Return the rows of ``source``, cleaned as ``clean`` does; a relative path starts at ``base``.

    CSV (separated by comma, semicolon, tab or bar), Parquet, or any database for which SQLAlchemy
    has a driver: a URL with a query, or ``URL#table``.

    Raises
    ------
    SourceMissing
        If there is no such file, table or database.
    DataInvalid
        If it cannot be read as one table with named columns and at least one row.
    """
    if "://" in source.location:
        return clean(read_query(source, base=base, max_columns=max_columns))
    if source.query is not None:
        raise DataInvalid(
            f"a query was given for the file {source.location}",
            hint="A query goes with a database URL; leave it out for a file.",
        )
    path = base / source.location
    content = _read(path)
    for magic, (kind, remedy) in OTHERS.items():
        if content.startswith(magic):
            raise DataInvalid(f"{path} is {kind}", hint=remedy)
    if content.startswith(PARQUET):
        return clean(_read_parquet(path, max_columns=max_columns))
    return read_delimited(content, name=path.name, max_columns=max_columns)


def _read(path: Path) -> bytes:
    """Return the bytes of a file; of Parquet only the first, because Polars reads the rest."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(PARQUET))
            return magic if magic == PARQUET else magic + file.read()
    except FileNotFoundError as error:
        raise SourceMissing(f"there is no file {path}", hint=_near(path)) from error
    except IsADirectoryError as error:
        raise SourceMissing(
            f"{path} is a folder", hint=f"Name one of its files: {_listed(path)}."
        ) from error
    except OSError as error:
        raise SourceMissing(
            f"{path} cannot be read: {error.strerror}", hint="Check who may read it."
        ) from error


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} either; check the path."
    names = [file.name for file in path.parent.iterdir() if file.is_file()]
    near = get_close_matches(path.name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"In {path.parent} there is: {_listed(path.parent)}."


def _listed(folder: Path) -> str:
    names = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in READABLE)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more if names else "no CSV or Parquet file"


def _read_parquet(path: Path, *, max_columns: int) -> pl.DataFrame:
    try:
        # Not as a pattern: `a[1].parquet` is a name.
        table = pl.scan_parquet(path, glob=False)
        names = table.collect_schema().names()
        refuse_columns(names, name=path.name, max_columns=max_columns)
        frame = table.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataInvalid(
            f"{path} cannot be read as Parquet: {error}", hint="Write the file again."
        ) from error
    if frame.height == 0:
        raise DataInvalid(f"{path} has no rows", hint="Write the file again, with its rows.")
    return frame
