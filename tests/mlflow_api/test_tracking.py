"""What MLflow's tracking client does against MLflow, it does against Everfit."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import ExperimentTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

pytestmark = pytest.mark.filterwarnings("default")


def test_the_default_experiment_is_there(client: Any) -> None:
    default = client.get_experiment("0")
    assert (default.name, default.lifecycle_stage) == ("Default", "active")
    assert client.get_experiment_by_name("Default").experiment_id == "0"


def test_an_experiment_lives_through_its_stages(client: Any) -> None:
    before = int(time.time() * 1000)
    made = client.create_experiment("bikes", tags={"team": "red"})
    found = client.get_experiment(made)
    assert (found.name, found.tags) == ("bikes", {"team": "red"})
    assert before - 1 <= found.creation_time <= time.time() * 1000
    client.set_experiment_tag(made, "team", "blue")
    client.rename_experiment(made, "trams")
    assert client.get_experiment_by_name("bikes") is None
    assert client.get_experiment_by_name("trams").tags == {"team": "blue"}
    run = client.create_run(made)
    client.delete_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    client.restore_experiment(made)
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "active"
    client.delete_experiment_tag(made, "team")
    assert client.get_experiment(made).tags == {}


def code_of(raised: pytest.ExceptionInfo[MlflowException]) -> str:
    return str(raised.value.error_code)


def test_errors_are_told_as_mlflow_tells_them(client: Any) -> None:
    client.create_experiment("bikes")
    with pytest.raises(MlflowException, match="already") as raised:
        client.create_experiment("bikes")
    assert code_of(raised) == "RESOURCE_ALREADY_EXISTS"
    with pytest.raises(MlflowException, match="no experiment '77'") as raised:
        client.get_experiment("77")
    assert code_of(raised) == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(MlflowException, match="no run") as raised:
        client.get_run("a" * 32)
    assert code_of(raised) == "RESOURCE_DOES_NOT_EXIST"
    run = client.create_run("0").info.run_id
    client.log_param(run, "depth", 8)
    with pytest.raises(MlflowException, match="depth") as raised:
        client.log_param(run, "depth", 9)
    assert code_of(raised) == "INVALID_PARAMETER_VALUE"
    client.delete_run(run)
    with pytest.raises(MlflowException, match="deleted") as raised:
        client.log_metric(run, "mae", 1.0)
    assert code_of(raised) == "INVALID_PARAMETER_VALUE"


def test_a_run_keeps_what_is_logged(client: Any) -> None:
    experiment = client.create_experiment("bikes")
    run = client.create_run(experiment, run_name="first", tags={"a": "b"}, start_time=1_000)
    run_id = run.info.run_id
    assert run.info.run_name == "first"
    client.log_param(run_id, "depth", 8)
    client.log_metric(run_id, "mae", 2.5, timestamp=5, step=1)
    client.log_batch(
        run_id,
        metrics=[Metric("mae", 1.5, 6, 2), Metric("loss", math.nan, 6, 0)],
        params=[Param("depth", "8"), Param("loss", "absolute")],
        tags=[RunTag("mlflow.note.content", "fine")],
    )
    client.set_terminated(run_id, "FINISHED", end_time=9_000)
    found = client.get_run(run_id)
    assert found.data.params == {"depth": "8", "loss": "absolute"}
    assert found.data.metrics["mae"] == 1.5
    assert math.isnan(found.data.metrics["loss"])
    assert found.data.tags["mlflow.runName"] == "first"
    assert found.data.tags["mlflow.note.content"] == "fine"
    info = found.info
    assert (info.status, info.start_time, info.end_time) == ("FINISHED", 1_000, 9_000)
    history = client.get_metric_history(run_id, "mae")
    assert [(m.value, m.timestamp, m.step) for m in history] == [(2.5, 5, 1), (1.5, 6, 2)]
    client.update_run(run_id, name="second")
    client.delete_tag(run_id, "a")
    found = client.get_run(run_id)
    assert found.info.run_name == found.data.tags["mlflow.runName"] == "second"
    assert "a" not in found.data.tags
    client.set_tag(run_id, "mlflow.runName", "third")
    assert client.get_run(run_id).info.run_name == "third"


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.1, 1e308, -0.0, 5e-324])
def test_every_value_of_a_metric_comes_back(client: Any, value: float) -> None:
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "loss", value)
    assert client.get_run(run_id).data.metrics["loss"] == value
    assert client.get_metric_history(run_id, "loss")[0].value == value


def test_the_fluent_interface_logs_nested_runs(client: Any) -> None:
    mlflow.set_experiment("fluent")
    with mlflow.start_run(run_name="outer") as outer:
        mlflow.log_params({f"p{number}": number for number in range(150)})
        mlflow.log_metrics({"a": 1.0, "b": 2.0}, step=3)
        with mlflow.start_run(nested=True) as inner:
            mlflow.log_metric("a", 3.0)
    found = client.get_run(inner.info.run_id)
    assert found.data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert len(client.get_run(outer.info.run_id).data.params) == 150
    frame = mlflow.search_runs(experiment_names=["fluent"], order_by=["metrics.a DESC"])
    assert list(frame["metrics.a"]) == [3.0, 1.0]


def test_runs_are_searched_page_by_page(client: Any) -> None:
    experiment = client.create_experiment("bikes")
    ids = []
    for number in range(7):
        run = client.create_run(experiment, start_time=number, tags={"even": str(number % 2 == 0)})
        client.log_metric(run.info.run_id, "mae", float(number))
        client.log_param(run.info.run_id, "depth", number)
        ids.append(run.info.run_id)
    client.delete_run(ids[0])
    page = client.search_runs([experiment], max_results=4)
    assert [run.info.run_id for run in page] == ids[6:2:-1]
    page = client.search_runs([experiment], max_results=4, page_token=page.token)
    assert [run.info.run_id for run in page] == [ids[2], ids[1]]
    assert page.token is None
    found = client.search_runs(
        [experiment],
        "metrics.mae >= 2 and params.depth != '3' and tags.even = 'False'",
        order_by=["metrics.mae ASC"],
    )
    assert [run.data.metrics["mae"] for run in found] == [5.0]
    found = client.search_runs([experiment], "", run_view_type=ViewType.DELETED_ONLY)
    assert [run.info.run_id for run in found] == ids[:1]
    with pytest.raises(MlflowException, match="filter"):
        client.search_runs([experiment], "metrics.mae ~ 3")


def test_experiments_are_searched(client: Any) -> None:
    ids = [client.create_experiment(f"bikes {number}") for number in range(5)]
    client.set_experiment_tag(ids[2], "team", "red")
    page = client.search_experiments(max_results=3)
    assert [one.experiment_id for one in page] == ids[4:1:-1]
    page = client.search_experiments(max_results=3, page_token=page.token)
    assert [one.experiment_id for one in page] == [ids[1], ids[0], "0"]
    found = client.search_experiments(filter_string="tags.team = 'red' AND name LIKE 'bikes%'")
    assert [one.experiment_id for one in found] == [ids[2]]


def test_a_long_history_is_read_in_pages(client: Any) -> None:
    run_id = client.create_run("0").info.run_id
    for start in range(0, 3_000, 1_000):
        metrics = [Metric("loss", float(n), 3_000 - n, n) for n in range(start, start + 1_000)]
        client.log_batch(run_id, metrics=metrics)
    history = client.get_metric_history(run_id, "loss")
    assert [metric.step for metric in history] == list(range(2_999, -1, -1))


def test_artifacts_go_up_and_come_down(client: Any, tmp_path: Path) -> None:
    run_id = client.create_run("0").info.run_id
    content = bytes(range(256)) * 10_000
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a b+ü%.bin").write_bytes(content)
    (tmp_path / "in/sub").mkdir()
    (tmp_path / "in/sub/empty.txt").write_text("")
    client.log_artifacts(run_id, str(tmp_path / "in"), "folder")
    client.log_text(run_id, "hello", "notes/hello.txt")
    client.log_dict(run_id, {"a": 1}, "notes/a.json")
    assert [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id)] == [
        ("folder", True, None),
        ("notes", True, None),
    ]
    assert [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id, "folder")] == [
        ("folder/a b+ü%.bin", False, len(content)),
        ("folder/sub", True, None),
    ]
    (tmp_path / "out").mkdir()
    client.download_artifacts(run_id, "folder", str(tmp_path / "out"))
    assert (tmp_path / "out/folder/a b+ü%.bin").read_bytes() == content
    assert (tmp_path / "out/folder/sub/empty.txt").read_bytes() == b""
    uri = client.get_run(run_id).info.artifact_uri
    assert mlflow.artifacts.load_text(f"{uri}/notes/hello.txt") == "hello"


def test_ten_thousand_tags_are_kept_and_read(client: Any) -> None:
    run_id = client.create_run("0").info.run_id
    for start in range(0, 10_000, 100):
        client.log_batch(run_id, tags=[RunTag(f"t{n}", "x") for n in range(start, start + 100)])
    assert len(client.get_run(run_id).data.tags) == 10_001


def test_batches_past_the_bounds_are_refused_whole(client: Any) -> None:
    run_id = client.create_run("0").info.run_id
    with pytest.raises(MlflowException, match="250"):
        client.log_metric(run_id, "k" * 251, 1.0)
    client.log_metric(run_id, "k" * 250, 1.0)
    with pytest.raises(MlflowException, match=r"6,000"):
        client.log_param(run_id, "p", "x" * 6_001)
    client.log_param(run_id, "p", "x" * 6_000)
    assert list(client.get_run(run_id).data.metrics) == ["k" * 250]
    assert isinstance(ExperimentTag("a", "b").value, str)
