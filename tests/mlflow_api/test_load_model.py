"""Models that Everfit trained, loaded by MLflow's own client under the names it knows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest

from everfit.automation import Loop, Project, judge_again, open_project, start_retraining
from everfit.errors import Invalid
from everfit.kernel import Worker
from everfit.registry import champion, get_version, is_trusted, list_versions, load_package
from everfit.server import BackgroundControlPlane
from everfit.steps import StepPool

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    import mlflow.pyfunc
    import pandas as pd
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings("default")

POLICY = """\
model: bike
task: {task}
data: {{source: rows.csv, target: y, time: at}}
train: {{candidates: {{linear: {{}}}}}}
"""


@pytest.fixture(scope="module", params=["regression", "classification"])
def project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A project whose first model is released."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(0)
    a = rng.normal(size=600)
    whole = rng.integers(0, 5, 600)
    value = 3 * a - whole + rng.normal(0, 0.1, 600)
    labels = np.where(value > 0, "yes", "no") if request.param == "classification" else value
    hours = pl.datetime_range(
        pl.datetime(2026, 1, 1), pl.datetime(2026, 12, 31), "1h", eager=True
    ).head(600)
    word = ["x" if number > 2 else None for number in whole.tolist()]
    columns = {"at": hours, "a": a, "whole": whole, "word": word, "y": labels}
    pl.DataFrame(columns, strict=False).write_csv(folder / "rows.csv")
    (folder / "everfit.yaml").write_text(POLICY.format(task=request.param))
    opened = open_project(folder)
    with StepPool(opened.workspace, 1) as pool:
        start_retraining(opened, reason="test")
        Worker(opened.workspace, Loop(opened, pool).handlers, name="test").run_pending()
    yield opened
    opened.workspace.close()


@pytest.fixture(params=["http", "in-process"])
def where(
    request: pytest.FixtureRequest, project: Project, pointed_at: Callable[[str], None]
) -> Iterator[str]:
    """The project as MLflow's client is told of it."""
    if request.param == "in-process":
        uri = f"everfit:{project.folder}"
        pointed_at(uri)
        yield uri
        return
    with BackgroundControlPlane(project.workspace) as plane:
        pointed_at(plane.url)
        yield plane.url


def asked(project: Project) -> Any:
    """Rows as pandas reads them, and what the champion says about them."""
    frame = pl.read_csv(project.folder / "rows.csv", try_parse_dates=True).head(50)
    with project.workspace.reading() as tx:
        best = champion(tx, "bike")
    assert best is not None
    expected = load_package(project.workspace, best).predict(frame)
    rows = pd.read_csv(project.folder / "rows.csv", parse_dates=["at"]).head(50)
    return frame, rows, expected


@pytest.mark.parametrize("name", ["models:/bike@champion", "models:/bike/1"])
def test_what_was_trained_here_is_loaded_by_its_name(
    where: str, project: Project, name: str
) -> None:
    frame, rows, expected = asked(project)
    model = mlflow.pyfunc.load_model(name)
    assert np.array_equal(model.predict(rows.drop(columns=["y"])), expected)
    raw = model.get_raw_model()
    assert np.array_equal(raw.predict(frame), expected)
    if expected.dtype.kind == "U":
        assert raw.predict_proba(rows).shape == (50, 2)
    known = {column.name: str(column.type) for column in model.metadata.get_input_schema()}
    assert {name: known[name] for name in ("a", "whole", "word")} == {
        "a": "DataType.double",
        "whole": "DataType.long",
        "word": "DataType.string",
    }


def test_a_version_trained_here_can_be_registered_under_another_name(
    where: str, project: Project
) -> None:
    client = MlflowClient(where)
    name = f"copy-{where.partition(':')[0]}"
    client.create_registered_model(name)
    source = client.get_model_version("bike", "1")
    copied = client.create_model_version(name, str(source.source), source.run_id)
    assert copied.run_id == source.run_id
    again = client.copy_model_version("models:/bike/1", name)
    _, rows, expected = asked(project)
    for version in (copied, again):
        model = mlflow.pyfunc.load_model(f"models:/{name}/{version.version}")
        assert np.array_equal(model.predict(rows.drop(columns=["y"])), expected)
    with project.workspace.reading() as tx:
        (package,) = {version.package for version in list_versions(tx, name)}
        assert package is not None
        assert is_trusted(tx, package)


def test_a_version_that_cannot_be_packed_is_kept_and_says_why(where: str, project: Project) -> None:
    client = MlflowClient(where)
    run_id = client.create_run("0").info.run_id
    client.log_text(run_id, "a model", "model/model.txt")
    made = client.create_model_version("bike", f"runs:/{run_id}/model", run_id)
    with project.workspace.reading() as tx:
        version = get_version(tx, "bike", int(made.version))
    with pytest.raises(Invalid, match="no package, because there is no MLmodel among its files"):
        load_package(project.workspace, version)
    with pytest.raises(Invalid, match="cannot be loaded"):
        judge_again(project, version.number)
