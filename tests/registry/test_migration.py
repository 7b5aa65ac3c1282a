"""What was registered before versions from outside were known is still there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.registry.conftest import SIGNATURE, logged, registered

from everfit.kernel import canonical_json, load_settings, open_workspace
from everfit.kernel.database import connect
from everfit.kernel.migrate import known_migrations, migrate
from everfit.registry import ModelVersion, champion, get_model, get_version, list_models

AT = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECONDS = int(AT.timestamp()) * 1_000_000


def write_before(engine: sa.Engine, project: str) -> None:
    """Migrate to 30 and write two versions of a model, the second of them the champion."""
    before = [
        migration for migration in known_migrations(engine.dialect.name) if migration.number <= 30
    ]
    migrate(engine, at=AT, migrations=before)
    row = {
        "project": project,
        "package": "a" * 64,
        "dataset": "d" * 64,
        "metrics": '{"f1":0.9}',
        "signature": canonical_json(SIGNATURE.to_builtins()),
    }
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO registry_models VALUES (:project, 'bikes', 2)"), row
        )
        connection.execute(
            sa.text("INSERT INTO registry_aliases VALUES (:project, 'bikes', 'champion', 2)"), row
        )
        for number in (1, 2):
            given = {"number": number, "run": f"run_{number}", "at": MICROSECONDS + number}
            connection.execute(
                sa.text(
                    "INSERT INTO registry_versions VALUES (:project, 'bikes', :number, :run, "
                    ":package, :dataset, NULL, :signature, :metrics, 'forest', :at)"
                ),
                {**row, **given},
            )


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_rows_of_the_first_registry_survive(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    environment = {}
    if database == "postgres":
        environment["EVERFIT_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    settings = load_settings(tmp_path / "project", environment=environment)
    engine = connect(settings.database_url)
    write_before(engine, settings.project)
    engine.dispose()
    workspace = open_workspace(settings)
    with workspace.reading() as tx:
        first, second = (get_version(tx, "bikes", number) for number in (1, 2))
        model = get_model(tx, "bikes")
        assert list_models(tx) == ["bikes"]
        assert champion(tx, "bikes") == second
    assert first == ModelVersion(
        model="bikes",
        number=1,
        run="run_1",
        package="a" * 64,
        dataset="d" * 64,
        profile=None,
        signature=SIGNATURE,
        metrics={"f1": 0.9},
        algorithm="forest",
        created_at=AT + timedelta(microseconds=1),
        updated_at=AT + timedelta(microseconds=1),
    )
    assert (model.created_at, model.updated_at) == (first.created_at, second.created_at)
    assert model.latest == (second,)
    with workspace.transaction() as tx:
        assert registered(tx, "run_1") == first
        assert logged(tx, run="run_1").number == 3
    workspace.close()
