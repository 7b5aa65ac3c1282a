"""The database: engine, transactions, and the few things SQLite and Postgres do differently."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from everfit.errors import DatabaseBusy, EverfitError, SettingsInvalid, StorageFull, Unavailable
from everfit.kernel.clock import as_utc

metadata = sa.MetaData()

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
BUSY_SECONDS = 30.0
# The index of SQLite's log, a file beside the database, takes at least this much.
SHARED_BYTES = 32 * 1024


def microseconds(at: datetime) -> int:
    """Return an aware time as whole microseconds since 1970."""
    return (as_utc(at) - EPOCH) // MICROSECOND


def moment(at_us: int) -> datetime:
    """Return the time of so many microseconds since 1970."""
    return EPOCH + at_us * MICROSECOND


class Moment(sa.types.TypeDecorator[datetime]):
    """A UTC time, stored as whole microseconds since 1970: equal and ordered on every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: object) -> int | None:
        """Turn an aware time into microseconds."""
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: object) -> datetime | None:
        """Turn microseconds into an aware time."""
        return None if value is None else moment(value)


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value, stored as canonical text (sorted keys, no spaces)."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> str | None:
        """Write the value as canonical JSON."""
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: object) -> Any:
        """Read the value back."""
        return None if value is None else json.loads(value)


def canonical_json(value: object) -> str:
    """Return the one JSON text of ``value``; NaN and infinities are refused with ``ValueError``.

    Examples
    --------
    >>> canonical_json({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def connect(url: str, *, busy_seconds: float = BUSY_SECONDS, durable: bool = True) -> sa.Engine:
    """Open the database at ``url``; a writer waits ``busy_seconds`` for another, then fails.

    ``durable=False`` lets SQLite leave the disk behind: commits survive the end of the process,
    not the loss of power.

    Raises
    ------
    SettingsInvalid
        If the URL cannot be read or names a database without a driver here.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(parsed, **_engine_options(parsed, busy_seconds))
    except (sa.exc.ArgumentError, ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
        raise SettingsInvalid(
            f"cannot open the database {url!r}: {error}",
            hint="Use sqlite:///FILE or postgresql://USER@HOST/NAME "
            "(`pip install 'everfit[postgres]'`).",
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite(busy_seconds, durable))
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _engine_options(url: sa.URL, busy_seconds: float) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        # Autocommit in the driver: transactions begin where `_begin_sqlite` says, nowhere else.
        # The connection used last has its pages and its statements at hand.
        return {
            "pool_use_lifo": True,
            "connect_args": {"isolation_level": None, "timeout": busy_seconds},
        }
    options = f"-c lock_timeout={int(busy_seconds * 1000)}"
    return {"pool_pre_ping": True, "connect_args": {"options": options}}


def _prepare_sqlite(busy_seconds: float, durable: bool) -> Any:
    def prepare(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA busy_timeout={int(busy_seconds * 1000)}")
        _use_wal(connection, busy_seconds)
        # FULL: a transaction that was acknowledged is on disk even after power loss.
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        connection.execute("PRAGMA foreign_keys=ON")

    return prepare


def _use_wal(connection: Any, busy_seconds: float) -> None:
    # SQLite itself does not wait here: of processes that open a new file at once some would fail.
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    reading = connection.get_execution_options().get("everfit_reading", False)
    driver: Any = connection.connection.dbapi_connection
    if driver.in_transaction:
        return  # by `_writing_here`
    _allow(connection, reading_only=reading)
    # A writer takes its lock at once: upgrading a read lock later can fail with "locked"
    # although the time-out has not passed.
    driver.execute("BEGIN" if reading else "BEGIN IMMEDIATE")


def _allow(connection: sa.Connection, *, reading_only: bool) -> None:
    # Only where it changes: the pragma makes SQLite compile every statement of the connection anew.
    if connection.info.get("everfit_reading") != reading_only:
        driver: Any = connection.connection.dbapi_connection
        driver.execute(f"PRAGMA query_only={int(reading_only)}")
        connection.info["everfit_reading"] = reading_only


@contextmanager
def writing(engine: sa.Engine, held: sa.Connection | None = None) -> Iterator[sa.Connection]:
    """Yield a connection; commit when the block ends, roll back when it raises.

    Whoever writes often may hold a connection of ``engine`` for it.
    """
    with _translated(engine):
        if held is None:
            with engine.begin() as connection:
                yield connection
        elif engine.dialect.name == "sqlite":
            with _writing_here(held):
                yield held
        else:
            with held.begin():
                yield held


@contextmanager
def _writing_here(connection: sa.Connection) -> Iterator[None]:
    """Begin and end a transaction of SQLite at the driver: a third of what SQLAlchemy takes.

    SQLAlchemy joins in, by `_begin_sqlite`, with the first statement that it is asked to run.
    """
    driver: Any = connection.connection.dbapi_connection
    _allow(connection, reading_only=False)
    driver.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
        driver.commit()
    except BaseException:
        connection.rollback()
        driver.rollback()
        raise


def refuse_to_wait(connection: sa.Connection) -> None:
    """Let a connection of SQLite fail at once where another one writes; it leaves its pool."""
    connection.detach()
    driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA busy_timeout=0")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection that sees one state of the database; a write on it is refused."""
    options: dict[str, Any] = {"everfit_reading": True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _translated(engine), engine.connect() as connected:
        connection = connected.execution_options(**options)
        with connection.begin():
            yield connection


@contextmanager
def _translated(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, engine.dialect.loaded_dbapi.OperationalError) as error:
        raise meaning(error, engine) from error


def is_failure(error: BaseException, engine: sa.Engine) -> bool:
    """Return whether the database said that it cannot do something now, or no longer."""
    return isinstance(error, sa.exc.OperationalError | engine.dialect.loaded_dbapi.OperationalError)


def meaning(error: BaseException, engine: sa.Engine) -> EverfitError:
    """Return the error of ours that says what the driver's error means."""
    said = str(getattr(error, "orig", error))
    where = engine.url.render_as_string(hide_password=True)
    if any(word in said for word in ("locked", "busy", "lock timeout", "deadlock")):
        return DatabaseBusy(
            f"another process held the database {where} too long: {said}",
            hint="Nothing was written; repeat the command. If it goes on, look for a hung process.",
        )
    if "full" in said or "No space left" in said or _is_full(engine.url):
        return StorageFull(
            f"no room left for the database {where}: {said}",
            hint="Nothing was written; free disk space and repeat the command.",
        )
    return Unavailable(
        f"the database {where} cannot be used: {said}",
        hint="Check that it is running, and that this process may read and write it.",
        pid=os.getpid(),
    )


def _is_full(url: sa.URL) -> bool:
    """Return whether the disk of a database file has no page left.

    SQLite says only "disk I/O error" where it lacks room for the files beside the database.
    """
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    folder = Path(url.database).parent
    return folder.is_dir() and shutil.disk_usage(folder).free < SHARED_BYTES


def insert_if_absent(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an insert that leaves a row already there, by any unique key, as it is."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table).on_conflict_do_nothing()


def locked_rows(connection: sa.Connection, statement: sa.Select[Any]) -> sa.Select[Any]:
    """Return ``statement`` with the lock that serialises writers on this database."""
    # SQLite: BEGIN IMMEDIATE has the lock already.
    return statement if connection.dialect.name == "sqlite" else statement.with_for_update()


class Rows:
    """What a literal statement gave: tuples, to be taken once."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._cursor.fetchall())

    @property
    def rowcount(self) -> int:
        """Return how many rows were written or deleted."""
        return int(self._cursor.rowcount)

    def first(self) -> tuple[Any, ...] | None:
        """Return the first row, or None; what is behind it is left."""
        row: tuple[Any, ...] | None = self._cursor.fetchone()
        # A statement that is not read to its end stays open, and is compiled anew the next time.
        self._cursor.close()
        return row

    def one(self) -> tuple[Any, ...]:
        """Return the row of a statement that always gives one."""
        row = self.first()
        assert row is not None  # noqa: S101 - a slip in the statement
        return row

    def scalar(self) -> Any:
        """Return the first value of the first row, or None where there is no row."""
        row = self.first()
        return None if row is None else row[0]


def execute(connection: sa.Connection, statement: str, values: Sequence[Any] = ()) -> Rows:
    """Run a literal statement with ``?`` for its values; a list of rows runs it once for each.

    The driver is asked directly. It is meant for the statements that run, or return rows, a
    hundred thousand times a second: what SQLAlchemy does for others, from types to compilation,
    costs more than the statement.
    """
    driver: Any = connection.connection.dbapi_connection
    cursor = driver.cursor()
    if connection.dialect.name == "postgresql":
        statement = _with_percents(statement)
    if isinstance(values, list):
        cursor.executemany(statement, values)
    else:
        cursor.execute(statement, tuple(values))
    return Rows(cursor)


@functools.lru_cache(maxsize=1024)
def _with_percents(statement: str) -> str:
    return statement.replace("%", "%%").replace("?", "%s")
