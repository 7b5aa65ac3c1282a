"""Collect from a database: any for which SQLAlchemy has a driver; nothing is ever written."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from everfit.data.delimited import refuse_columns
from everfit.data.model import Source
from everfit.errors import DataInvalid, SourceMissing

BATCH_ROWS = 50_000


def read_query(source: Source, *, base: Path, max_columns: int) -> pl.DataFrame:
    """Return the rows of a query, or of the table named after ``#``.

    The transaction is rolled back at the end. A relative SQLite file starts at ``base``.

    Raises
    ------
    SourceMissing
        If there is no such database, driver or table.
    DataInvalid
        If the query fails, or gives no rows or too many columns.
    """
    location, _, table = source.location.partition("#")
    engine = _engine(location, base)
    where = engine.url.render_as_string(hide_password=True)
    try:
        with _connected(engine, where) as connection:
            query = source.query or _select(engine, table, where)
            return _fetch(connection, query, where=where, max_columns=max_columns)
    finally:
        engine.dispose()


def _engine(location: str, base: Path) -> sa.Engine:
    try:
        url = sa.make_url(location)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "sqlite":
            url = url.set(database=str(_sqlite_file(url, base)))
        return sa.create_engine(url)
    except (sa.exc.ArgumentError, ModuleNotFoundError, ValueError) as error:
        raise SourceMissing(
            f"the database URL cannot be used: {error}",
            hint="Write postgresql://USER@HOST/NAME or sqlite:///FILE; other databases need "
            "their driver installed.",
        ) from error


def _sqlite_file(url: sa.URL, base: Path) -> Path:
    # SQLite would make an empty database of a file that is not there.
    file = base / (url.database or "")
    if not file.is_file():
        raise SourceMissing(f"there is no file {file}", hint="Check the path after sqlite:///.")
    return file


def _connected(engine: sa.Engine, where: str) -> sa.Connection:
    try:
        return engine.connect()
    except sa.exc.DBAPIError as error:
        raise SourceMissing(
            f"the database {where} cannot be reached: {error.orig}",
            hint="Check that it runs, and that this user may read it.",
        ) from error


def _select(engine: sa.Engine, table: str, where: str) -> str:
    if not table:
        raise DataInvalid(
            f"nothing says which rows of {where} to take",
            hint="Add a `query`, or write the table after the URL: URL#table.",
        )
    schema, _, name = table.rpartition(".")
    inspector = sa.inspect(engine)
    if not (inspector.has_table(name, schema=schema or None)):
        names = [*inspector.get_table_names(), *inspector.get_view_names()]
        near = get_close_matches(table, names, n=3, cutoff=0.5) or names[:10]
        raise SourceMissing(
            f"there is no table {table!r} in {where}",
            hint=f"There is: {', '.join(near)}." if names else "It holds no tables.",
        )
    quote = engine.dialect.identifier_preparer.quote_identifier
    return f"SELECT * FROM {'.'.join(quote(part) for part in (schema, name) if part)}"  # noqa: S608


def _fetch(connection: sa.Connection, query: str, *, where: str, max_columns: int) -> pl.DataFrame:
    try:
        # A colon in a query is a colon (a cast, a time), not the name of a parameter.
        statement = sa.text(query.replace(":", "\\:"))
        result = connection.execution_options(stream_results=True).execute(statement)
        names = list(result.keys())
        refuse_columns(names, name=f"the query on {where}", max_columns=max_columns)
        batches = [list(zip(*rows, strict=True)) for rows in result.partitions(BATCH_ROWS)]
    except (sa.exc.SQLAlchemyError, sa.exc.ResourceClosedError) as error:
        said = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise DataInvalid(
            f"the query on {where} failed: {said}\n  {query}",
            hint="Try it in the database's own client first; it must return rows.",
        ) from error
    if not batches:
        raise DataInvalid(f"the query on {where} gave no rows: {query}", hint="Check its WHERE.")
    return pl.DataFrame(
        [
            _series(name, [value for batch in batches for value in batch[at]])
            for at, name in enumerate(names)
        ]
    )


def _series(name: str, values: Sequence[Any]) -> pl.Series:
    """Return a column; where the database mixes types (SQLite may), all values become texts."""
    if any(isinstance(value, decimal.Decimal) for value in values):
        values = [float(v) if isinstance(v, decimal.Decimal) else v for v in values]
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int, float}:
        return pl.Series(name, values, dtype=pl.Float64)
    if len(kinds) > 1:
        values = [None if value is None else str(value) for value in values]
    return pl.Series(name, values, strict=True)
