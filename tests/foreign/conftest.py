"""Stores that MLflow's own client, unmodified, has made and filled."""

from __future__ import annotations

import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from everfit.foreign import Report, import_mlflow
from everfit.kernel import Workspace

# Read when MLflow is imported, and when a file store is opened.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
# Its own libraries warn of each other.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import (
        Dataset,
        DatasetInput,
        InputTag,
        LoggedModelInput,
        LoggedModelOutput,
        Metric,
        Param,
        RunTag,
    )

Import = Callable[..., Report]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A store, MLflow's client on it, and what was logged to it."""

    source: str
    client: Any
    run: str
    model: str


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder of the test: MLflow's file registry opens a database where it is."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with nothing in it: MLflow takes seconds to make one."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(params=["sqlite", "files"])
def filled(request: pytest.FixtureRequest, tmp_path: Path, empty: Path) -> Filled:
    """A store of each kind with at least one of everything."""
    return fill(request.param, tmp_path, empty)


@pytest.fixture
def sqlite_filled(tmp_path: Path, empty: Path) -> Filled:
    """A store in SQLite with at least one of everything."""
    return fill("sqlite", tmp_path, empty)


@contextmanager
def store_at(source: str) -> Iterator[Any]:
    """Point MLflow's fluent interface at a store."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(source)
    try:
        yield MlflowClient(source, source)
    finally:
        mlflow.set_tracking_uri(before)


def fill(kind: str, folder: Path, empty: Path) -> Filled:
    """Make a store of a kind in a folder and fill it."""
    files = kind == "files"
    if not files:
        shutil.copy(empty, folder / "store.db")
    source = str(folder / "mlruns") if files else f"sqlite:///{folder / 'store.db'}"
    client = MlflowClient(source, source)
    location = None if files else (folder / "elsewhere").as_uri()
    trees = client.create_experiment("trees", artifact_location=location, tags={"team": "green"})
    run = _run(client, trees, folder)
    model = _logged_model(client, trees, run, folder)
    _second_run(client, trees, run)
    gone = client.create_experiment("given up", artifact_location=location and f"{location}2")
    client.create_run(gone, run_name="in vain")
    client.delete_experiment(gone)
    _registry(client, run, model)
    return Filled(source=source, client=client, run=run, model=model)


def _run(client: Any, experiment: str, folder: Path) -> str:
    run: str = client.create_run(experiment, run_name="first", tags={"a/b": "c"}).info.run_id
    values = [math.nan, math.inf, -math.inf, 0.1, 1e-300, -2.5]
    points = [Metric("loss/val", v, 1_700_000_000_000 + i, i) for i, v in enumerate(values)]
    points += [Metric("loss/val", 7.0, 1_700_000_000_000, 0), Metric("one", 1.0, 5, -3)]
    params = [Param("depth", "8"), Param("long", "x" * 6_000), Param("lines", "a\nb\n")]
    client.log_batch(run, metrics=points, params=params, tags=[RunTag("note", "ä " * 4_000)])
    used = Dataset("rows", "d1", "local", "file.csv", schema='{"a": 1}', profile='{"n": 3}')
    context = [InputTag("mlflow.data.context", "training")]
    client.log_inputs(run, datasets=[DatasetInput(used, context)])
    file = folder / "plot.svg"
    file.write_text("<svg/>")
    client.log_artifact(run, str(file), "plots/deep")
    client.set_terminated(run, "FAILED", end_time=1_700_000_100_123)
    return run


def _logged_model(client: Any, experiment: str, run: str, folder: Path) -> str:
    made = client.create_logged_model(
        experiment, name="tree", source_run_id=run, params={"p": "1"}, tags={"t": "2"}
    )
    model: str = made.model_id
    file = folder / "MLmodel"
    file.write_text("flavors: {}\n")
    client.log_model_artifact(model, str(file))
    client.finalize_logged_model(model, "READY")
    client.log_metric(run, "score", 0.75, step=2, timestamp=9, model_id=model)
    client.log_inputs(run, models=[LoggedModelInput(model)])
    client.log_outputs(run, [LoggedModelOutput(model, 3)])
    return model


def _second_run(client: Any, experiment: str, parent: str) -> None:
    run = client.create_run(experiment, run_name="child", tags={"mlflow.parentRunId": parent})
    client.log_metric(run.info.run_id, "loss/val", 3.5)
    client.delete_run(run.info.run_id)


def _registry(client: Any, run: str, model: str) -> None:
    client.create_registered_model("oak", tags={"k": "v"}, description="a model")
    sources = [f"runs:/{run}/plots", client.get_logged_model(model).artifact_location]
    for source in (sources[0], sources[0], sources[1]):
        client.create_model_version("oak", source, run_id=run, tags={"n": "1"}, description="x")
    client.delete_model_version("oak", "2")
    client.transition_model_version_stage("oak", "1", "Staging")
    client.set_registered_model_alias("oak", "champion", "3")
    client.create_registered_model("empty")


@pytest.fixture
def imported(any_workspace: Workspace) -> Import:
    """Import into a workspace on each database."""

    def run(source: str, **options: Any) -> Report:
        return import_mlflow(any_workspace, source, tell=lambda *_: None, **options)

    return run
