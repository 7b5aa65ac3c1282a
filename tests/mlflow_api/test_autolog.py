"""What MLflow's autologging logs of each framework, Everfit keeps, and its models come back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Read when Keras is first imported.
os.environ["KERAS_BACKEND"] = "torch"

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import xgboost
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from everfit.kernel import load_settings, open_workspace
from everfit.server import BackgroundControlPlane

# The frameworks and MLflow warn of each other.
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = np.random.default_rng(0).normal(size=(80, 3)).astype("float32")
FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c"])
TRUTH = (FRAME["a"] + FRAME["b"] > 0).astype(int)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training, and what must be found of it: ``train`` returns what the model then predicts."""

    train: Callable[[], Any]
    autolog: Callable[..., None] | None
    params: dict[str, str] = field(default_factory=dict)
    metric: str
    points: int = 1
    datasets: tuple[str, ...] = ("train",)
    rows: Any = field(default_factory=lambda: FRAME)
    files: tuple[str, ...] = ("MLmodel", "requirements.txt")
    children: int = 0


def fits() -> Any:
    return LogisticRegression(C=0.5).fit(FRAME, TRUTH).predict(FRAME)


def fits_a_pipeline() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TRUTH).predict(FRAME)


def searches_a_grid() -> Any:
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2)
    return search.fit(FRAME, TRUTH).predict(FRAME)


def boosts_like_scikit_learn() -> Any:
    model = xgboost.XGBClassifier(n_estimators=3, max_depth=2)
    return model.fit(FRAME, TRUTH, eval_set=[(FRAME, TRUTH)], verbose=False).predict(FRAME)


def boosts() -> Any:
    table = xgboost.DMatrix(FRAME, TRUTH)
    model = xgboost.train({"max_depth": 2}, table, 3, evals=[(table, "train")], verbose_eval=False)
    return model.predict(table)


def boosts_lightly() -> Any:
    table = lightgbm.Dataset(FRAME, TRUTH)
    settings = {"objective": "binary", "num_leaves": 3, "verbose": -1}
    judged = lightgbm.Dataset(FRAME, TRUTH, reference=table)
    return lightgbm.train(settings, table, 3, valid_sets=[judged]).predict(FRAME)


def trains_by_hand() -> Any:
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with mlflow.start_run():
        mlflow.log_param("rate", 0.1)
        for step in range(3):
            loss = torch.nn.functional.mse_loss(net(torch.tensor(ROWS))[:, 0], truth())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            mlflow.log_metric("loss", loss.item(), step=step)
        mlflow.pytorch.log_model(net, name="model", serialization_format="pickle")
    return net(torch.tensor(ROWS)).detach().numpy()


def trains_with_lightning() -> Any:
    import lightning

    class Net(lightning.LightningModule):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.layer(rows)
            return found

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            loss = torch.nn.functional.mse_loss(self.layer(batch[0])[:, 0], batch[1])
            self.log("loss", loss, on_epoch=True, on_step=False)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    net = Net()
    data = torch.utils.data.TensorDataset(torch.tensor(ROWS), truth())
    trainer = lightning.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(net, torch.utils.data.DataLoader(data, batch_size=40))
    return net(torch.tensor(ROWS)).detach().numpy()


def trains_with_keras() -> Any:
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(loss="mse", optimizer="sgd")
    model.fit(ROWS, TRUTH.to_numpy(), epochs=3, batch_size=40, verbose=0)
    return model.predict(ROWS, verbose=0)


def truth() -> torch.Tensor:
    return torch.tensor(TRUTH.to_numpy(), dtype=torch.float32)


FIT = Case(
    train=fits, autolog=mlflow.sklearn.autolog, params={"C": "0.5"}, metric="training_roc_auc"
)
GRID = Case(
    train=searches_a_grid,
    autolog=mlflow.sklearn.autolog,
    params={"best_C": "1.0", "cv": "2"},
    metric="best_cv_score",
    children=2,
)
CASES = {
    "sklearn": FIT,
    "sklearn-pipeline": Case(
        train=fits_a_pipeline,
        autolog=mlflow.sklearn.autolog,
        params={"standardscaler__with_mean": "True"},
        metric="training_f1_score",
    ),
    "xgboost-sklearn": Case(
        train=boosts_like_scikit_learn,
        autolog=mlflow.xgboost.autolog,
        params={"max_depth": "2"},
        metric="validation_0-logloss",
        points=3,
    ),
    "xgboost": Case(
        train=boosts,
        autolog=mlflow.xgboost.autolog,
        params={"max_depth": "2", "num_boost_round": "3"},
        metric="train-rmse",
        points=3,
    ),
    "lightgbm": Case(
        train=boosts_lightly,
        autolog=mlflow.lightgbm.autolog,
        params={"num_leaves": "3"},
        metric="valid_0-binary_logloss",
        points=3,
    ),
    "pytorch": Case(
        train=trains_by_hand,
        autolog=None,
        params={"rate": "0.1"},
        metric="loss",
        points=3,
        datasets=(),
        rows=ROWS,
        files=("MLmodel", "data/model.pth"),
    ),
    "lightning": Case(
        train=trains_with_lightning,
        autolog=mlflow.pytorch.autolog,
        params={"epochs": "3", "optimizer_name": "SGD"},
        metric="loss",
        points=3,
        datasets=(),
        rows=ROWS,
        files=("MLmodel", "data/model.pth"),
    ),
    "keras": Case(
        train=trains_with_keras,
        autolog=mlflow.keras.autolog,
        params={"epochs": "3", "batch_size": "40"},
        metric="loss",
        points=3,
        rows=ROWS,
    ),
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which packages a model needs is not our question: finding out takes a process of its own."""
    monkeypatch.setenv("MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT", "0")
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One control plane for all frameworks, on SQLite."""
    settings = load_settings(tmp_path_factory.mktemp("autolog") / "project", environment={})
    workspace = open_workspace(settings, durable=False)
    with BackgroundControlPlane(workspace) as plane:
        yield plane.url
    workspace.close()


@contextmanager
def logging_automatically(case: Case) -> Iterator[None]:
    if case.autolog is None:
        yield
        return
    case.autolog(silent=True)
    try:
        yield
    finally:
        case.autolog(disable=True)


def check(case: Case, client: Any, experiment: str, tmp_path: Path) -> None:
    """Train, and find everything that the training logged, and its model, by every name."""
    mlflow.set_experiment(experiment)
    with logging_automatically(case):
        expected = case.train()
    runs: list[Any] = mlflow.search_runs(experiment_names=[experiment], output_format="list")
    (run,) = [one for one in runs if "mlflow.parentRunId" not in one.data.tags]
    assert len(runs) == 1 + case.children
    run_id = run.info.run_id
    assert run.info.status == "FINISHED"
    assert case.params.items() <= run.data.params.items()
    history = client.get_metric_history(run_id, case.metric)
    assert [point.step for point in history] == list(range(case.points))
    assert history[-1].value == run.data.metrics[case.metric]
    used = [tag.value for one in run.inputs.dataset_inputs for tag in one.tags]
    assert set(case.datasets) <= set(used)
    model_id = run.outputs.model_outputs[0].model_id
    check_model(case, client, run_id, model_id)
    files = mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(tmp_path))
    assert all((Path(files) / name).stat().st_size for name in case.files)
    check_predictions(case, client, run_id, model_id, expected)


def check_model(case: Case, client: Any, run_id: str, model_id: str) -> None:
    logged = client.get_logged_model(model_id)
    assert (logged.source_run_id, logged.status) == (run_id, "READY")
    assert case.metric in {one.key for one in logged.metrics or []}
    found = mlflow.search_logged_models(
        experiment_ids=[logged.experiment_id],
        filter_string=f"source_run_id = '{run_id}'",
        output_format="list",
    )
    assert model_id in [one.model_id for one in found]


def check_predictions(case: Case, client: Any, run_id: str, model_id: str, expected: Any) -> None:
    name = client.get_logged_model(model_id).name
    version = mlflow.register_model(f"models:/{model_id}", f"m-{run_id}")
    client.set_registered_model_alias(version.name, "champion", version.version)
    for uri in (
        f"runs:/{run_id}/{name}",
        f"models:/{model_id}",
        f"models:/{version.name}@champion",
        f"models:/{version.name}/{version.version}",
    ):
        loaded = mlflow.pyfunc.load_model(uri)
        np.testing.assert_allclose(loaded.predict(case.rows), expected, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_each_framework_logs_by_itself_and_its_model_predicts_the_same(
    plane: str, pointed_at: Callable[[str], None], name: str, tmp_path: Path
) -> None:
    pointed_at(plane)
    check(CASES[name], MlflowClient(), name, tmp_path)


def test_it_is_the_same_on_every_database_and_without_a_server(client: Any, tmp_path: Path) -> None:
    check(FIT, client, "everywhere", tmp_path)


def test_the_runs_of_a_search_lie_below_it(
    plane: str, pointed_at: Callable[[str], None], tmp_path: Path
) -> None:
    pointed_at(plane)
    check(GRID, MlflowClient(), "below", tmp_path)
    runs = mlflow.search_runs(experiment_names=["below"], output_format="list")
    (parent,) = [one for one in runs if "mlflow.parentRunId" not in one.data.tags]
    children = [one for one in runs if one is not parent]
    assert {one.data.tags["mlflow.parentRunId"] for one in children} == {parent.info.run_id}
    assert {one.data.params["C"] for one in children} == {"0.1", "1.0"}
    assert all(0 < one.data.metrics["mean_test_score"] <= 1 for one in children)
    table = mlflow.artifacts.download_artifacts(f"runs:/{parent.info.run_id}/cv_results.csv")
    assert list(pd.read_csv(table)["param_C"]) == [0.1, 1.0]
