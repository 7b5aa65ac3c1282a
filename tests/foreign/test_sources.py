"""Stores as they are met: of older versions, moved, behind a server, broken, and killed midway."""

from __future__ import annotations

import math
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
from tests.foreign.conftest import Filled, fill

from everfit.cli import everfit
from everfit.errors import Invalid, NotFound
from everfit.foreign import Kind, import_mlflow
from everfit.kernel import Workspace, find_workspace
from everfit.registry import list_versions
from everfit.tracking import artifacts, find_experiment, get_run_data, metric_history

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
# The last migration of MLflow 2.0.
VERSION_2_0 = "97727af70f4d"
OF_2_0 = """
INSERT INTO experiments (experiment_id, name, lifecycle_stage, artifact_location)
VALUES (7, 'old', 'active', './mlruns/7');
INSERT INTO runs
    (run_uuid, experiment_id, name, status, lifecycle_stage, start_time, artifact_uri)
VALUES ('RUN_ID', 7, '', 'KILLED', 'active', 1000, './mlruns/7/RUN_ID/artifacts');
INSERT INTO tags (run_uuid, key, value) VALUES ('RUN_ID', 'mlflow.runName', 'named');
INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan)
VALUES ('RUN_ID', 'm', 0, 5, 1, TRUE), ('RUN_ID', 'm', 1.7976931348623157e308, 6, 2, FALSE);
INSERT INTO registered_models (name, creation_time) VALUES ('m', 5);
INSERT INTO model_versions (name, version, creation_time, current_stage, source)
VALUES ('m', 1, 5, 'Deleted_Internal', ''),
    ('m', 4, 6, 'Production', './mlruns/7/RUN_ID/artifacts/model');
"""


def silent(*_: object) -> None:
    """Show no progress."""


def test_the_command_tells_and_its_status_says_whether_all_is_here(
    sqlite_filled: Filled, tmp_path: Path
) -> None:
    command_line = ["import", "mlflow", sqlite_filled.source, str(tmp_path / "project")]
    first = CliRunner().invoke(everfit, command_line)
    assert first.exit_code == 0, first.output
    assert "all that is counted is here as it is in the source" in first.output
    again = CliRunner().invoke(everfit, command_line)
    assert again.exit_code == 0
    assert "0 new; all that is counted" in again.output
    sqlite_filled.client.set_tag(sqlite_filled.run, "late", "1")
    changed = CliRunner().invoke(everfit, command_line)
    assert changed.exit_code == 1
    assert f"run {sqlite_filled.run}: found another one here: tags" in changed.output


def test_a_database_of_mlflow_2_0_comes_over(tmp_path: Path, workspace: Workspace) -> None:
    file, run = tmp_path / "old.db", uuid4().hex
    engine = sa.create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()
    command.upgrade(_get_alembic_config(f"sqlite:///{file}"), VERSION_2_0)
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript(OF_2_0.replace("RUN_ID", run))
    kept = tmp_path / "mlruns/7" / run / "artifacts/model/MLmodel"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    report = import_mlflow(workspace, str(file), tell=silent)
    assert report.sound, report.problems
    with workspace.reading() as tx:
        data = get_run_data(tx, run)
        [version] = list_versions(tx, "m")
        values = [point.value for point in metric_history(tx, run, "m")]
        assert list(artifacts(tx, run)) == ["model/MLmodel"]
    assert (data.run.name, data.run.status) == ("named", "cancelled")
    assert [repr(value) for value in values] == ["nan", "inf"]
    assert (version.number, version.stage) == (4, "Production")
    assert version.location == f"mlflow-artifacts:/{data.run.experiment}/{run}/artifacts/model"


def test_a_database_on_postgres_comes_over(
    tmp_path: Path, workspace: Workspace, postgres_url: str
) -> None:
    client = MlflowClient(postgres_url, postgres_url)
    location = (tmp_path / "files").as_uri()
    run = client.create_run(client.create_experiment("e", artifact_location=location))
    client.log_param(run.info.run_id, "depth", "8")
    for step, value in enumerate([math.nan, math.inf, 0.25]):
        client.log_metric(run.info.run_id, "loss", value, step=step)
    client.create_registered_model("m")
    report = import_mlflow(workspace, postgres_url, tell=silent)
    assert report.sound, report.problems
    with workspace.reading() as tx:
        points = metric_history(tx, run.info.run_id, "loss")
    assert [repr(point.value) for point in points] == ["nan", "inf", "0.25"]


def test_a_folder_that_was_moved_still_has_its_files(
    tmp_path: Path, workspace: Workspace, empty: Path
) -> None:
    filled = fill("files", tmp_path, empty)
    moved = tmp_path / "moved"
    Path(filled.source).rename(moved)
    report = import_mlflow(workspace, str(moved), tell=silent)
    assert report.sound, report.problems
    with workspace.reading() as tx:
        assert list(artifacts(tx, filled.run)) == ["plots/deep/plot.svg"]


def test_what_a_server_kept_is_found_where_artifacts_says(
    tmp_path: Path, workspace: Workspace, empty: Path
) -> None:
    file = tmp_path / "mlflow.db"
    shutil.copy(empty, file)
    client = MlflowClient(f"sqlite:///{file}")
    experiment = client.create_experiment("e", artifact_location="mlflow-artifacts:/1")
    run = client.create_run(experiment).info.run_id
    model = client.create_logged_model(experiment).model_id
    client.finalize_logged_model(model, "READY")
    for folder in (run, f"models/{model}"):
        kept = tmp_path / "kept/1" / folder / "artifacts"
        kept.mkdir(parents=True)
        (kept / "a.txt").write_text(folder)
    missing = import_mlflow(workspace, str(file), tell=silent)
    assert [problem.path for problem in missing.problems] == [f"logged model {model}"]
    # Files that were found later are added to what is here.
    found = import_mlflow(workspace, str(file), artifacts=tmp_path / "kept", tell=silent)
    assert found.sound, found.problems
    assert (found.new, found.counts[Kind.FILES].imported) == (2, 2)


def test_what_lies_in_a_bucket_stays_there(
    tmp_path: Path, workspace: Workspace, empty: Path
) -> None:
    file = tmp_path / "mlflow.db"
    shutil.copy(empty, file)
    client = MlflowClient(f"sqlite:///{file}")
    client.create_run(client.create_experiment("far", artifact_location="s3://bucket/far"))
    report = import_mlflow(workspace, str(file), tell=silent)
    assert report.sound, report.problems
    assert report.remarks == [
        "left where they are: artifacts of 1 runs, models and traces at s3://",
    ]
    with workspace.reading() as tx:
        experiment = find_experiment(tx, "far")
    assert experiment is not None
    assert experiment.location == "s3://bucket/far"


def test_broken_files_are_listed_and_the_rest_comes_over(
    tmp_path: Path, workspace: Workspace, empty: Path
) -> None:
    filled = fill("files", tmp_path, empty)
    [folder] = Path(filled.source).glob(f"*/{filled.run}")
    with (folder / "metrics/one").open("a") as lines:
        lines.write("yesterday much\n")
    (folder / "artifacts/link").symlink_to("/etc/hostname")
    broken = folder.parent / uuid4().hex
    broken.mkdir()
    (broken / "meta.yaml").write_text("run_id: [")
    report = import_mlflow(workspace, filled.source, tell=silent)
    assert not report.sound
    assert {problem.path for problem in report.problems} == {
        f"run {filled.run} metric 'one' line 2",
        f"run {filled.run} file 'link'",
        f"run {broken.name}",
    }
    assert report.counts[Kind.RUNS].imported == 3


@pytest.mark.parametrize("made", ["nothing", "folder", "text", "database"])
def test_what_is_no_store_is_refused(made: str, tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "it"
    if made == "folder":
        path.mkdir()
    elif made == "text":
        path.write_text("no database at all\n" * 100)
    elif made == "database":
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE runs (id TEXT)")
    with pytest.raises(NotFound if made == "nothing" else Invalid) as refused:
        import_mlflow(workspace, str(path), tell=silent)
    assert str(path) in refused.value.message


RUNS, POINTS = 600, 200


def test_an_import_that_was_killed_goes_on_where_it_was(tmp_path: Path, empty: Path) -> None:
    file, project = tmp_path / "mlflow.db", tmp_path / "project"
    shutil.copy(empty, file)
    with closing(sqlite3.connect(file)) as database, database:
        ids = [(uuid4().hex,) for _ in range(RUNS)]
        database.executemany(
            "INSERT INTO runs (run_uuid, experiment_id, name, status, lifecycle_stage, start_time) "
            "VALUES (?, 0, 'r', 'FINISHED', 'active', 1)",
            ids,
        )
        database.executemany(
            "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) "
            "VALUES (?, 'm', ?, ?, ?, FALSE)",
            [(id, step / 3, step, step) for (id,) in ids for step in range(POINTS)],
        )
    child = subprocess.Popen(
        [sys.executable, "-m", "everfit.cli", "import", "mlflow", str(file), str(project)],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while _runs_in(project) == 0 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.005)
    child.kill()
    child.wait()
    there = _runs_in(project)
    assert 0 < there < RUNS
    workspace = find_workspace(project)
    report = import_mlflow(workspace, str(file), tell=silent)
    workspace.close()
    assert report.sound, report.problems
    count, points = report.counts[Kind.RUNS], report.counts[Kind.POINTS]
    assert (count.there, count.imported) == (there, RUNS - there)
    assert points.there + points.imported == points.source == RUNS * POINTS


def _runs_in(project: Path) -> int:
    [*files] = (project / ".everfit").glob("*.db")
    if not files:
        return 0
    with closing(sqlite3.connect(files[0])) as database:
        try:
            return int(database.execute("SELECT count(*) FROM tracking_runs").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
