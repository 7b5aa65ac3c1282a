"""Real parts for every test: SQLite files, a real Postgres, a workspace under a set clock."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from everfit.kernel import ManualClock, Workspace, load_settings, open_workspace

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def workspace(tmp_path: Path, clock: ManualClock) -> Iterator[Workspace]:
    """The embedded default: SQLite and local files."""
    settings = load_settings(tmp_path / "project", environment={})
    opened = open_workspace(settings, clock=clock, durable=False)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgres"])
def any_workspace(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> Iterator[Workspace]:
    """The same on each database: what holds here holds for both."""
    environment = {}
    if request.param == "postgres":
        environment["EVERFIT_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    settings = load_settings(tmp_path / "project", environment=environment)
    opened = open_workspace(settings, clock=clock, durable=False)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Postgres of our own with pg_ctl and stop it at the end."""
    pg_ctl = shutil.which("pg_ctl") or _newest_debian_pg_ctl()
    if pg_ctl is None:
        if os.environ.get("CI"):
            pytest.fail("pg_ctl not found: CI installs Debian's postgresql")
        pytest.skip("pg_ctl not found: install PostgreSQL to run these tests")
    folder = tmp_path_factory.mktemp("postgres")
    user = _unprivileged_user(folder)
    run = ["runuser", "-u", user, "--"] if user else []
    data = folder / "data"
    command = [*run, pg_ctl, "-D", str(data)]
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    subprocess.run([*command, "-o", "-A trust -U everfit", "initdb"], check=True, cwd=folder,
                   stdout=subprocess.DEVNULL)
    subprocess.run([*command, "-o", options, "-w", "-l", str(folder / "log"), "start"],
                   check=True, cwd=folder, stdout=subprocess.DEVNULL)
    yield f"postgresql+psycopg://everfit@/{{name}}?host={folder}"
    subprocess.run([*command, "-m", "immediate", "stop"], check=True, cwd=folder,
                   stdout=subprocess.DEVNULL)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A fresh empty database on the server."""
    name = f"t{uuid4().hex}"
    admin = sa.create_engine(postgres_server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return postgres_server.format(name=name)


def _newest_debian_pg_ctl() -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return str(found[-1]) if found else None


def _unprivileged_user(folder: Path) -> str | None:
    """Postgres refuses to run as root: give the folder to the user that Debian made for it."""
    if os.geteuid() != 0:
        return None
    shutil.chown(folder, user="postgres")
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and parent.name.startswith("pytest"):
            parent.chmod(0o755)
    return "postgres"
