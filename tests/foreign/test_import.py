"""What MLflow's client reads of Everfit after an import is what it read of MLflow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from tests.foreign.conftest import Filled, Import

from everfit.foreign import Kind, Report
from everfit.kernel import Workspace
from everfit.server import BackgroundControlPlane

# MLflow's own database code warns of what it uses itself, and of stages, which are asked for here.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
OURS = "everfit.imported.experiment"


@pytest.fixture
def here(any_workspace: Workspace) -> Iterator[Any]:
    """MLflow's client at what was imported."""
    with BackgroundControlPlane(any_workspace) as plane:
        yield MlflowClient(plane.url, plane.url)


def said(report: Report) -> str:
    return "\n".join([*map(str, report.problems), str(report.counts)])


def experiments(client: Any) -> dict[str, Any]:
    found = client.search_experiments(view_type=ViewType.ALL)
    return {one.name: one for one in found if one.name != "Default"}


def runs(client: Any) -> dict[str, Any]:
    ids = [one.experiment_id for one in experiments(client).values()]
    found = client.search_runs(ids, run_view_type=ViewType.ALL)
    # What a search of MLflow's own database answers lacks the models that a run used.
    return {one.info.run_id: client.get_run(one.info.run_id) for one in found}


def plain_run(client: Any, run: Any) -> dict[str, Any]:
    info, data = run.info, run.data
    histories = {
        key: {
            (repr(point.value), point.step, point.timestamp)
            for point in client.get_metric_history(info.run_id, key)
        }
        for key in data.metrics
    }
    return {
        "info": (info.run_name, info.status, info.start_time, info.end_time, info.user_id),
        "stage": info.lifecycle_stage,
        "params": data.params,
        "tags": data.tags,
        "latest": {key: repr(value) for key, value in data.metrics.items()},
        "histories": histories,
        "datasets": [one.to_dictionary() for one in run.inputs.dataset_inputs],
        "models": [one.model_id for one in run.inputs.model_inputs],
        "outputs": [(one.model_id, one.step) for one in run.outputs.model_outputs],
    }


def finite(plain: dict[str, Any]) -> dict[str, Any]:
    """MLflow's database answers the largest doubles in place of infinities."""
    most = {"1.7976931348623157e+308": "inf", "-1.7976931348623157e+308": "-inf"}
    plain["latest"] = {key: most.get(value, value) for key, value in plain["latest"].items()}
    plain["histories"] = {
        key: {(most.get(value, value), *rest) for value, *rest in points}
        for key, points in plain["histories"].items()
    }
    return plain


def test_everything_is_read_as_it_was(filled: Filled, imported: Import, here: Any) -> None:
    report = imported(filled.source)
    assert report.sound, said(report)
    there, ours = experiments(filled.client), experiments(here)
    for name, one in there.items():
        other = ours[name]
        assert other.tags == {**one.tags, OURS: one.experiment_id}
        for field in ("lifecycle_stage", "creation_time", "last_update_time"):
            assert getattr(other, field) == getattr(one, field), field
    assert there.keys() == ours.keys()
    before, after = runs(filled.client), runs(here)
    assert len(before) == 3
    assert before.keys() == after.keys()
    for id, run in before.items():
        assert finite(plain_run(filled.client, run)) == plain_run(here, after[id])


def test_files_are_downloaded_as_they_were(
    filled: Filled, imported: Import, here: Any, tmp_path: Path
) -> None:
    assert imported(filled.source).sound
    [plot] = here.list_artifacts(filled.run, "plots/deep")
    assert plot.path == "plots/deep/plot.svg"
    assert Path(here.download_artifacts(filled.run, plot.path)).read_text() == "<svg/>"
    [file] = here.list_logged_model_artifacts(filled.model)
    assert (file.path, file.file_size) == ("MLmodel", 12)


def test_logged_models_are_read_as_they_were(filled: Filled, imported: Import, here: Any) -> None:
    assert imported(filled.source).sound
    there, ours = (one.get_logged_model(filled.model) for one in (filled.client, here))
    for name in ("name", "status", "params", "tags", "source_run_id", "creation_timestamp"):
        assert getattr(there, name) == getattr(ours, name), name
    points = [
        [(one.key, one.value, one.step, one.timestamp, one.run_id) for one in model.metrics]
        for model in (there, ours)
    ]
    assert points[0] == points[1] == [("score", 0.75, 2, 9, filled.run)]


def test_the_registry_is_read_as_it_was(filled: Filled, imported: Import, here: Any) -> None:
    assert imported(filled.source).sound
    for name in ("oak", "empty"):
        there, ours = (one.get_registered_model(name) for one in (filled.client, here))
        for field in ("tags", "creation_timestamp", "last_updated_timestamp"):
            assert getattr(there, field) == getattr(ours, field), field
        # MLflow's database answers numbers, its server texts.
        assert {alias: str(at) for alias, at in there.aliases.items()} == ours.aliases
        assert (there.description or "") == (ours.description or "")
    for number in ("1", "3"):
        there, ours = (one.get_model_version("oak", number) for one in (filled.client, here))
        for field in ("tags", "aliases", "current_stage", "run_id", "description"):
            assert getattr(there, field) == getattr(ours, field), field
        assert there.creation_timestamp == ours.creation_timestamp
        assert there.last_updated_timestamp == ours.last_updated_timestamp
    assert here.get_model_version("oak", "1").source == f"runs:/{filled.run}/plots"
    uri = here.get_model_version_download_uri("oak", "3")
    assert uri.startswith("mlflow-artifacts:/")
    assert uri.endswith(f"/models/{filled.model}/artifacts")
    # The number of the one that was deleted is not given again.
    assert here.create_model_version("oak", f"runs:/{filled.run}/plots").version == "4"


def test_a_second_import_adds_nothing(
    filled: Filled, imported: Import, any_workspace: Workspace
) -> None:
    first = imported(filled.source)
    blobs = sorted(any_workspace.blobs.digests())
    with any_workspace.reading() as tx:
        events = len(tx.events())
    second = imported(filled.source)
    assert second.sound, said(second)
    assert second.new == 0
    for kind in Kind:
        one, other = first.counts[kind], second.counts[kind]
        assert one.source == other.source == other.there, kind
        # The default experiment is always here.
        assert one.there == (kind is Kind.EXPERIMENTS), kind
    assert sorted(any_workspace.blobs.digests()) == blobs
    with any_workspace.reading() as tx:
        assert len(tx.events()) == events


def test_what_changed_since_is_told_and_not_overwritten(filled: Filled, imported: Import) -> None:
    imported(filled.source)
    filled.client.set_tag(filled.run, "late", "1")
    filled.client.log_metric(filled.run, "loss/val", 1.0, step=99)
    filled.client.update_model_version("oak", "1", description="better")
    report = imported(filled.source)
    assert not report.sound
    found = {problem.path: problem.found for problem in report.problems}
    assert "tags, latest metrics, number of points" in found[f"run {filled.run}"]
    assert "description" in found["version oak/1"]
    assert (report.new, report.counts[Kind.RUNS].differs) == (0, 1)


def test_what_cannot_be_kept_is_listed_and_the_rest_comes_over(
    tmp_path: Path, imported: Import, here: Any, sqlite_filled: Filled
) -> None:
    with sqlite3.connect(tmp_path / "store.db") as database:
        for key in ("../up", "no?mark"):
            row = (key, "1", sqlite_filled.run)
            database.execute("INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)", row)
        database.execute(
            "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) "
            "VALUES (?, 'bad$', 1.0, 5, 1, FALSE)",
            (sqlite_filled.run,),
        )
    (tmp_path / "elsewhere/models" / sqlite_filled.model / "artifacts/MLmodel").unlink()
    (tmp_path / "elsewhere/models" / sqlite_filled.model / "artifacts").rmdir()
    report = imported(sqlite_filled.source)
    assert not report.sound
    told = said(report)
    for part in ("'../up'", "'no?mark'", "'bad$'", f"logged model {sqlite_filled.model}: found no"):
        assert part in told
    count = report.counts[Kind.PARAMS]
    assert (count.source, count.imported) == (5, 3)
    assert here.get_run(sqlite_filled.run).data.params["depth"] == "8"
