"""A model trained elsewhere goes the way of our own: gates, release, watch, rivals."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from everfit.automation import Loop, open_project, standing, start_retraining
from everfit.deployment import serving_plan
from everfit.evaluation import Outcome, latest_report
from everfit.kernel import JobState, Worker, get_job
from everfit.monitoring import windows
from everfit.registry import get_version
from everfit.server import BackgroundControlPlane
from everfit.serving import LocalPredictor, ModelServer
from everfit.steps import StepPool

from .conftest import Command

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    import mlflow.pyfunc
    import mlflow.sklearn
    import mlflow.xgboost
    import pandas as pd
    from mlflow.models import infer_signature

pytestmark = pytest.mark.filterwarnings("default")

POLICY = """\
model: bike
task: regression
data: {source: bike.csv, target: cnt, time: at}
train: {candidates: {linear: {}}, metric: mae}
gate: [{better: {margin: 0%, confidence: 95%}}]
monitor: {window: 1d}
"""
ROWS, LEARNT = 5_000, 3_000
INPUTS = ["hr", "temp", "hum", "weathersit", "workingday"]


@dataclass(frozen=True)
class Bench:
    """A project of rentals, its loop, and the rows as the colleague's pandas has them."""

    folder: Path
    loop: Loop
    rows: Any

    def work(self) -> None:
        Worker(self.loop.workspace, self.loop.handlers, name="test").run_pending()


@pytest.fixture
def bench(tmp_path: Path, shared: Path) -> Iterator[Bench]:
    """The project, tracked over HTTP by MLflow's own client."""
    rentals = pl.read_csv(shared / "bike/hour.csv").head(ROWS)
    day = pl.col("dteday").cast(pl.String).str.to_datetime("%Y%m%d")
    sky = pl.col("weathersit").replace_strict({1: "clear", 2: "mist", 3: "rain", 4: "storm"})
    rentals = rentals.select(
        (day + pl.duration(hours="hr")).alias("at"),
        *("hr", "temp", "hum", "workingday", "cnt"),
        weathersit=sky,
    )
    rentals.write_csv(tmp_path / "bike.csv")
    (tmp_path / "everfit.yaml").write_text(POLICY)
    project = open_project(tmp_path)
    before = mlflow.get_tracking_uri()
    with StepPool(project.workspace, 1) as pool, BackgroundControlPlane(project.workspace) as plane:
        mlflow.set_tracking_uri(plane.url)
        rows = pd.read_csv(tmp_path / "bike.csv")
        yield Bench(folder=tmp_path, loop=Loop(project, pool), rows=rows)
        mlflow.set_tracking_uri(before)
    project.workspace.close()


def colleagues_model(rows: Any) -> Any:
    encoded = ColumnTransformer(
        [("sky", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["weathersit"])],
        remainder="passthrough",
    )
    model = make_pipeline(encoded, HistGradientBoostingRegressor(random_state=0))
    return model.fit(rows[INPUTS], rows["cnt"])


def log(model: Any, rows: Any, **more: Any) -> None:
    # Another test of this process may have chosen an experiment of its own.
    with mlflow.start_run(experiment_id="0"):
        mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name="bike",
            signature=infer_signature(rows[INPUTS], model.predict(rows[INPUTS])),
            pip_requirements=["scikit-learn"],
            **more,
        )


def test_a_model_from_outside_is_trusted_gated_served_watched_and_challenged(
    bench: Bench, here: Command
) -> None:
    loop, rows = bench.loop, bench.rows
    model = colleagues_model(rows.head(LEARNT))
    log(model, rows, serialization_format="cloudpickle")
    with loop.workspace.reading() as tx:
        package = get_version(tx, "bike", 1).require_package()
        found = [detail for what, _, detail in standing(loop.project, tx) if what == "v1"]
    assert found == ["logged from outside; `everfit release v1` has it judged"]

    refused = here("release", "v1", "--in", str(bench.folder))
    assert refused.returncode == 1
    assert package in refused.stderr
    assert "everfit trust v1" in refused.stderr
    vouched = ("--as", "Ada", "--reason", "Grace trained it beside me", "--in", str(bench.folder))
    assert here("trust", "v1", *vouched).returncode == 0
    assert here("release", "v1", "--in", str(bench.folder)).returncode == 0
    bench.work()
    with loop.workspace.reading() as tx:
        report = latest_report(tx, "bike", 1)
        plan = serving_plan(tx, "bike")
        version = get_version(tx, "bike", 1)
    assert report is not None
    assert (report.outcome, report.champion) == (Outcome.PASS, None)
    assert plan is not None
    assert plan.champion == 1
    assert version.require_signature().output.name == "cnt"
    assert version.profile is not None

    asked = pl.read_csv(bench.folder / "bike.csv", try_parse_dates=True).tail(500)
    expected = model.predict(rows[INPUTS].tail(500))
    with ModelServer(loop.workspace, "bike", writer="test") as server:
        answered = LocalPredictor(server).predict(asked, times=asked["at"])
        assert np.allclose(answered["prediction"].to_numpy(), expected)
        LocalPredictor(server).label(answered.select("id", label=asked["cnt"].cast(pl.Float64)))
    by_client = mlflow.pyfunc.load_model("models:/bike@champion")
    assert np.allclose(by_client.predict(rows[INPUTS].tail(500)), expected)
    swept = loop.sweep()
    assert swept is not None
    with loop.workspace.reading() as tx:
        seen = windows(tx, "bike")
    assert sum(window.rows for window in seen) == 500

    job = start_retraining(loop.project, reason="test")
    bench.work()
    with loop.workspace.reading() as tx:
        trained = get_job(tx, job.id)
        report = latest_report(tx, "bike", 2)
        plan = serving_plan(tx, "bike")
    assert trained.state is JobState.DONE, trained.error
    assert report is not None
    assert (report.outcome, report.champion) == (Outcome.FAIL, 1)
    assert "champion v1" in report.verdicts[0].summary
    assert plan is not None
    assert plan.champion == 1


def test_a_harmless_model_challenges_our_own_without_anybodys_word(
    bench: Bench, here: Command
) -> None:
    loop, rows = bench.loop, bench.rows
    policy = bench.folder / "everfit.yaml"
    # So few months of a growing demand teach a line nothing: a gate that lets it pass.
    policy.write_text(
        POLICY.replace("better: {margin: 0%, confidence: 95%}", "fast: {p95_ms: 999}")
    )
    start_retraining(loop.project, reason="test")
    bench.work()
    policy.write_text(POLICY)
    numbers = [name for name in INPUTS if name != "weathersit"]
    model = xgboost.XGBRegressor(n_estimators=200, random_state=0)
    model.fit(rows[numbers].head(LEARNT), rows["cnt"].head(LEARNT))
    mlflow.xgboost.log_model(
        model,
        name="model",
        registered_model_name="bike",
        signature=infer_signature(rows[numbers], model.predict(rows[numbers])),
        pip_requirements=["xgboost"],
    )
    assert here("release", "v2", "--in", str(bench.folder)).returncode == 0
    bench.work()
    loop.tick()
    with loop.workspace.reading() as tx:
        report = latest_report(tx, "bike", 2)
        plan = serving_plan(tx, "bike")
    assert report is not None
    assert (report.outcome, report.champion) == (Outcome.PASS, 1), report.verdicts
    assert plan is not None
    assert plan.candidate == 2 or plan.champion == 2
