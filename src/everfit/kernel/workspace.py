"""An opened installation: database, blobs, clock and settings of one project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from everfit.errors import NotFound
from everfit.kernel import database, ledger
from everfit.kernel.blobs import Blobs, LocalBlobs
from everfit.kernel.clock import Clock, SystemClock
from everfit.kernel.ids import new_id
from everfit.kernel.migrate import migrate
from everfit.kernel.settings import PROJECT_FILE, Settings, load_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One database transaction of one project, with the time at which it happens.

    Services of several rooms called with the same transaction commit, or fail, together.
    """

    connection: sa.Connection
    project: str
    now: datetime

    @property
    def now_us(self) -> int:
        """Return the time in microseconds since 1970."""
        return database.microseconds(self.now)

    def record(self, kind: str, subject: str, /, actor: str = "everfit", **data: Any) -> int:
        """Write one ledger event in this transaction and return its number."""
        return ledger.append(
            self.connection,
            self.project,
            at=self.now,
            kind=kind,
            subject=subject,
            actor=actor,
            data=data,
        )

    def execute(self, statement: str, values: Sequence[Any] = ()) -> database.Rows:
        """Run a literal statement with ``?`` for its values, or once for each row of a list."""
        return database.execute(self.connection, statement, values)

    def events(
        self, *kinds: str, subject: str | None = None, after: int = 0
    ) -> Sequence[ledger.Event]:
        """Return this project's ledger events in order."""
        return ledger.events(
            self.connection, self.project, kinds=kinds, subject=subject, after=after
        )

    def new_id(self, prefix: str) -> str:
        """Return a fresh id that sorts by this transaction's time."""
        return new_id(prefix, self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Everything a service needs: where rows, blobs and files of one project live, and the time."""

    settings: Settings
    engine: sa.Engine
    blobs: Blobs
    clock: Clock

    @property
    def project(self) -> str:
        """Return the project's name."""
        return self.settings.project

    @property
    def home(self) -> Path:
        """Return the folder that holds the embedded database, blobs and logs."""
        return self.settings.home

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Yield a writing transaction; it commits when the block ends and rolls back on error."""
        with database.writing(self.engine) as connection:
            yield Transaction(connection=connection, project=self.project, now=self.clock.now())

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Yield a transaction that sees one state and refuses to write."""
        with database.reading(self.engine) as connection:
            yield Transaction(connection=connection, project=self.project, now=self.clock.now())

    def close(self) -> None:
        """Close the database connections of this process."""
        self.engine.dispose()


def _keep_name(settings: Settings) -> None:
    """Write the project's name down: a folder that is renamed or copied keeps what it learnt."""
    name = settings.home / PROJECT_FILE
    if name.exists():
        return
    # On a full disk the database says so in a moment, and the next command writes the name.
    with suppress(OSError):
        whole = name.with_suffix(".new")
        whole.write_text(f"{settings.project}\n", encoding="utf-8")
        whole.replace(name)


def find_workspace(folder: Path) -> Workspace:
    """Open the installation that the project in ``folder`` has already.

    Raises
    ------
    NotFound
        If there is none: asking what is recorded makes nothing.
    """
    settings = load_settings(folder)
    url = sa.make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise NotFound(
            f"nothing is recorded in {folder.resolve()}: there is no {url.database}",
            hint="Go to the folder of a project, or train first: `everfit run`.",
        )
    return open_workspace(settings)


def open_workspace(
    settings: Settings, *, clock: Clock | None = None, durable: bool = True
) -> Workspace:
    """Open, and on first use create, the installation that ``settings`` describe.

    ``durable=False`` skips syncing blobs and SQLite to disk: for replays, which can be run
    again after a loss of power.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    _keep_name(settings)
    engine = database.connect(
        settings.database_url, busy_seconds=settings.busy_seconds, durable=durable
    )
    clock = clock or SystemClock()
    migrate(engine, at=clock.now())
    return Workspace(
        settings=settings,
        engine=engine,
        blobs=LocalBlobs(settings.home / "blobs", durable=durable),
        clock=clock,
    )
