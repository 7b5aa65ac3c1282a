"""Numbered migrations, run on start: every room's ``migrations/NNNN_name.sql``, once, in order.

Where the databases need different words, ``NNNN_name.sqlite.sql`` and
``NNNN_name.postgresql.sql`` stand in its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

import sqlalchemy as sa

from everfit.errors import Conflict
from everfit.kernel.database import Moment, metadata, reading, writing

applied = sa.Table(
    "schema_migrations",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered change of the schema: portable SQL statements separated by ``;``."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the statements."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """Return the single statements."""
        return [part.strip() for part in self.sql.split(";") if part.strip()]


def known_migrations(dialect: str = "sqlite") -> list[Migration]:
    """Return the migrations of all rooms by number; a number used twice is refused."""
    found = []
    for room in resources.files("everfit").iterdir():
        folder = room.joinpath("migrations")
        if not folder.is_dir():
            continue
        for file in folder.iterdir():
            stem, _, kind = file.name.removesuffix(".sql").partition(".")
            if file.name.endswith(".sql") and kind in ("", dialect):
                number, _, name = stem.partition("_")
                found.append(Migration(number=int(number), name=name, sql=file.read_text()))
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    if len(set(numbers)) != len(numbers):
        raise Conflict(
            f"two migrations share a number: {numbers}",
            hint="Give the newer file the next free number.",
        )
    return found


def migrate(
    engine: sa.Engine, *, at: datetime, migrations: Sequence[Migration] | None = None
) -> list[Migration]:
    """Bring the schema up to date and return what was applied.

    Raises
    ------
    Conflict
        If the database was written by a newer Everfit, or a migration changed after it ran.
    """
    known = known_migrations(engine.dialect.name) if migrations is None else list(migrations)
    with reading(engine) as connection:
        # Nothing to do is the usual case, and must not wait for another process's write.
        if sa.inspect(connection).has_table(applied.name) and not _pending(connection, known):
            return []
    with writing(engine) as connection:
        _hold_alone(connection)
        applied.create(connection, checkfirst=True)
        pending = _pending(connection, known)
        for migration in pending:
            for statement in migration.statements:
                connection.exec_driver_sql(statement)
            row = {"number": migration.number, "name": migration.name, "at": at}
            connection.execute(sa.insert(applied).values(**row, digest=migration.digest))
    return pending


def _hold_alone(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Two processes that start at once must not both create the tables.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(720146)")


def _pending(connection: sa.Connection, known: Sequence[Migration]) -> list[Migration]:
    done = {row.number: row for row in connection.execute(sa.select(applied))}
    by_number = {migration.number: migration for migration in known}
    for number, row in done.items():
        if number not in by_number:
            raise Conflict(
                f"the database has migration {number} ({row.name}), which this Everfit lacks",
                hint="Install the Everfit that wrote it, or a newer one.",
            )
        if by_number[number].digest != row.digest:
            raise Conflict(
                f"migration {number} ({row.name}) was changed after it ran here",
                hint="Put the file back as it was and write a new migration instead.",
            )
    return [migration for migration in known if migration.number not in done]
