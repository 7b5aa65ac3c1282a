"""Real parts for every test: SQLite files, a real Postgres, a workspace under a set clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck
from hypothesis import settings as examples

from everfit.kernel import ManualClock, Workspace, load_settings, open_workspace

# As the command line does; OpenMP reads it when scikit-learn is first imported.
os.environ["OMP_NUM_THREADS"] = "1"

# MLflow's client makes a store in the folder it runs in as soon as it is not told of another.
os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{tempfile.gettempdir()}/everfit-tests-mlflow.db"

START = datetime(2026, 1, 1, tzinfo=UTC)

# How long an example takes says how busy the machine is, and nothing about the code.
UNHURRIED = examples(deadline=None, suppress_health_check=[HealthCheck.too_slow])
examples.register_profile("everfit", UNHURRIED)
examples.load_profile("everfit")


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
def postgres_server() -> Iterator[str]:
    """Start a Postgres of our own with pg_ctl and stop it at the end."""
    pg_ctl = shutil.which("pg_ctl") or _newest_debian_pg_ctl()
    if pg_ctl is None:
        if os.environ.get("CI"):
            pytest.fail("pg_ctl not found: CI installs Debian's postgresql")
        pytest.skip("pg_ctl not found: install PostgreSQL to run these tests")
    # Not below pytest's own folder: that one is closed to the user that Postgres runs as.
    with tempfile.TemporaryDirectory(prefix="everfit-postgres-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        run = [*_as_unprivileged(folder), pg_ctl, "-D", str(folder / "data")]
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        for command in (
            [*run, "-o", "-A trust -U everfit", "initdb"],
            [*run, "-o", options, "-w", "-l", str(folder / "log"), "start"],
        ):
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        yield f"postgresql+psycopg://everfit@/{{name}}?host={folder}"
        stop = [*run, "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, cwd=folder, stdout=subprocess.DEVNULL)


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


def _as_unprivileged(folder: Path) -> list[str]:
    """Return how to run a command as a user that Postgres accepts, which is not root."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, user="postgres")
    return ["runuser", "-u", "postgres", "--"]
