"""What was logged before experiments were kept is still there."""

from __future__ import annotations

import math

import pytest
import sqlalchemy as sa

from everfit.kernel import ManualClock, Transaction
from everfit.kernel.database import connect, execute, writing
from everfit.kernel.migrate import known_migrations, migrate
from everfit.tracking import (
    Stage,
    artifacts,
    get_experiment,
    get_run,
    metric_history,
    metrics,
    params,
    tags,
)

ROWS: dict[str, list[tuple[object, ...]]] = {
    "INSERT INTO tracking_runs (project, id, kind, name, status, started_at) "
    "VALUES (?, ?, ?, ?, ?, ?)": [("p", "run_1", "training", "bikes", "running", 7)],
    "INSERT INTO tracking_params (project, run, key, value) VALUES (?, ?, ?, ?)": [
        ("p", "run_1", "depth", "8"),
        ("p", "run_1", "loss", '"say \\"hi\\""'),
    ],
    "INSERT INTO tracking_metrics (project, run, key, step, at, value) VALUES (?, ?, ?, ?, ?, ?)": [
        ("p", "run_1", "mae", 0, 5, 2.5),
        ("p", "run_1", "mae", 1, 6, None),
    ],
    "INSERT INTO tracking_latest_metrics (project, run, key, step, at, value) "
    "VALUES (?, ?, ?, ?, ?, ?)": [("p", "run_1", "mae", 1, 6, None)],
    "INSERT INTO tracking_tags (project, run, key, value) VALUES (?, ?, ?, ?)": [
        ("p", "run_1", "team", "trams")
    ],
    "INSERT INTO tracking_artifacts (project, run, name, digest, bytes, media, at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)": [("p", "run_1", "a/b.txt", "0" * 64, 1, "text/plain", 8)],
}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: object) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/old.db"
    name: str = request.getfixturevalue("postgres_url")
    return name


def test_runs_of_the_first_schema_are_kept(url: str, clock: ManualClock) -> None:
    engine: sa.Engine = connect(url)
    known = known_migrations(engine.dialect.name)
    migrate(engine, at=clock.now(), migrations=[one for one in known if one.number <= 20])
    with writing(engine) as connection:
        for statement, rows in ROWS.items():
            execute(connection, statement, rows)
    migrate(engine, at=clock.now(), migrations=known)
    with writing(engine) as connection:
        tx = Transaction(connection=connection, project="p", now=clock.now())
        assert get_run(tx, "run_1").experiment == "0"
        assert get_experiment(tx, "0").stage is Stage.ACTIVE
        assert params(tx, "run_1") == {"depth": 8, "loss": 'say "hi"'}
        assert [(p.step, p.at_us) for p in metric_history(tx, "run_1", "mae")] == [(0, 5), (1, 6)]
        assert math.isnan(metrics(tx, "run_1")["mae"])
        assert tags(tx, "run_1") == {"mlflow.runName": "bikes", "team": "trams"}
        assert list(artifacts(tx, "run_1")) == ["a/b.txt"]
    engine.dispose()
