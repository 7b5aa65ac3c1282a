"""MLflow's calls about inputs, outputs and logged models, asked and answered as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from everfit.errors import EverfitError
from everfit.kernel import Workspace
from everfit.mlflow_api import ROUTES, Api, Call, Endpoint, Request, refusal
from everfit.tracking import create_experiment, create_run, put_file

AFTER = "/api/2.0/mlflow"


def found(method: str, path: str) -> tuple[Endpoint, Mapping[str, str]]:
    """Return the endpoint of a call, and what stands in its path."""
    for route in ROUTES:
        for whole in route.paths:
            fits = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", whole), path)
            if route.method == method and fits:
                return route.endpoint, fits.groupdict()
    raise AssertionError(f"no call {method} {path}")


@dataclass(frozen=True)
class Server:
    """Answers calls on a workspace."""

    workspace: Workspace
    experiment: str
    run: str

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Return the answer to a call; an error as its status and code."""
        path, _, query = path.partition("?")
        endpoint, values = found(method, f"{AFTER}{path}")
        sent = json.dumps(body).encode() if body else b""
        begin = self.workspace.transaction if endpoint.writes else self.workspace.reading
        try:
            message = endpoint.decode(Request(path_values=values, query=query, body=sent))
            with begin() as tx:
                call = Call(tx=tx, api=Api(blobs=self.workspace.blobs))
                return json.loads(msgspec.json.encode(endpoint.handler(call, message)))
        except EverfitError as error:
            status, content = refusal(error)
            return status, json.loads(content)["error_code"]

    def new_model(self, **fields: Any) -> str:
        """Return the id of a new logged model."""
        sent = {"experiment_id": self.experiment} | fields
        id: str = self.call("POST", "/logged-models", **sent)["model"]["info"]["model_id"]
        return id

    def search(self, **asked: Any) -> Any:
        """Return the names of the models found and the token of the next page, or the error."""
        sent = {"experiment_ids": [self.experiment]} | asked
        answer = self.call("POST", "/logged-models/search", **sent)
        if isinstance(answer, tuple):
            return answer
        return [one["info"]["name"] for one in answer["models"]], answer.get("next_page_token")


@pytest.fixture
def server(any_workspace: Workspace) -> Server:
    with any_workspace.transaction() as tx:
        experiment = create_experiment(tx, "bikes").id
        run = create_run(tx, experiment).run.id
    return Server(any_workspace, experiment, run)


INVALID = (400, "INVALID_PARAMETER_VALUE")
ABSENT = (404, "RESOURCE_DOES_NOT_EXIST")
DATASET = {"name": "a", "digest": "1", "source_type": "local", "source": "a.csv", "schema": "{}"}
TRAIN = [{"key": "mlflow.data.context", "value": "train"}]


def test_inputs_and_outputs_stand_in_the_answers_about_runs(server: Server) -> None:
    inputs = {
        "dataset_inputs": [
            {"dataset": DATASET, "tags": TRAIN},
            {"dataset": {**DATASET, "name": "b"}},
        ],
        "model_inputs": [{"model_id": "m-1"}],
    }
    sent = {"datasets": inputs["dataset_inputs"], "models": inputs["model_inputs"]}
    assert server.call("POST", "/runs/log-inputs", run_id=server.run, **sent) == {}
    outputs = [{"model_id": "m-2", "step": 0}, {"model_id": "m-3", "step": 4}]
    assert server.call("POST", "/runs/outputs", run_id=server.run, models=outputs) == {}
    got = server.call("GET", f"/runs/get?run_id={server.run}")["run"]
    assert (got["inputs"], got["outputs"]) == (inputs, {"model_outputs": outputs})
    asked = {"experiment_ids": [server.experiment], "filter": "datasets.name = 'b'"}
    assert server.call("POST", "/runs/search", **asked) == {"runs": [got]}
    summary = {"experiment_id": server.experiment, "digest": "1"}
    assert server.call(
        "POST", "/experiments/search-datasets", experiment_ids=[server.experiment]
    ) == {
        "dataset_summaries": [
            {**summary, "name": "a", "context": "train"},
            {**summary, "name": "b"},
        ]
    }


def test_inputs_that_make_no_sense_are_refused(server: Server) -> None:
    assert server.call("POST", "/runs/log-inputs", datasets=[]) == INVALID
    assert server.call("POST", "/runs/log-inputs", run_id="run_9") == ABSENT
    for datasets in ([{"tags": TRAIN}], [{"dataset": {**DATASET, "name": "a" * 501}}]):
        assert server.call("POST", "/runs/log-inputs", run_id=server.run, datasets=datasets) == (
            INVALID
        )
    assert server.call("POST", "/runs/outputs", run_id=server.run) == INVALID
    for experiments in ([], [str(number) for number in range(21)]):
        assert (
            server.call("POST", "/experiments/search-datasets", experiment_ids=experiments)
            == INVALID
        )


def test_a_logged_model_is_made_ended_changed_and_deleted(server: Server) -> None:
    made = server.call(
        "POST",
        "/logged-models",
        experiment_id=server.experiment,
        name="tree",
        model_type="sklearn",
        source_run_id=server.run,
        params=[{"key": "depth", "value": "4"}],
        tags=[{"key": "team", "value": "red"}],
    )["model"]
    id = made["info"]["model_id"]
    at = made["info"]["creation_timestamp_ms"]
    assert made == {
        "info": {
            "model_id": id,
            "experiment_id": server.experiment,
            "name": "tree",
            "creation_timestamp_ms": at,
            "last_updated_timestamp_ms": at,
            "artifact_uri": f"mlflow-artifacts:/{server.experiment}/models/{id}/artifacts",
            "status": "LOGGED_MODEL_PENDING",
            "model_type": "sklearn",
            "source_run_id": server.run,
            "tags": [{"key": "team", "value": "red"}],
        },
        "data": {"params": [{"key": "depth", "value": "4"}]},
    }
    assert server.call("GET", f"/logged-models/{id}") == {"model": made}
    path = f"/logged-models/{id}"
    for status, name in (("LOGGED_MODEL_UPLOAD_FAILED",) * 2, (2, "LOGGED_MODEL_READY")):
        ended = server.call("PATCH", path, model_id=id, status=status)["model"]
        assert ended["info"]["status"] == name
    assert server.call("PATCH", path, model_id=id, status=9) == INVALID
    assert server.call("PATCH", path, model_id=id) == INVALID
    assert server.call("POST", f"{path}/params", params=[{"key": "b", "value": "1"}]) == {}
    assert server.call("POST", f"{path}/params", params=[{"key": "b", "value": "2"}]) == INVALID
    assert server.call("PATCH", f"{path}/tags", tags=[{"key": "note", "value": "x"}]) == {}
    assert server.call("DELETE", f"{path}/tags/team") == {}
    assert server.call("DELETE", f"{path}/tags/team") == ABSENT
    changed = server.call("GET", path)["model"]
    assert changed["info"]["tags"] == [{"key": "note", "value": "x"}]
    assert [param["key"] for param in changed["data"]["params"]] == ["b", "depth"]
    for _ in range(2):
        assert server.call("DELETE", path, model_id=id) == {}
    assert server.call("GET", path) == ABSENT
    assert server.call("GET", f"{path}?allow_deleted=true")["model"] == changed


def test_a_model_that_cannot_be_is_refused(server: Server) -> None:
    assert server.call("POST", "/logged-models", experiment_id="99") == ABSENT
    sent = {"experiment_id": server.experiment, "name": "a/b"}
    assert server.call("POST", "/logged-models", **sent) == INVALID
    twice = {"experiment_id": server.experiment, "params": [{"key": "a", "value": "1"}] * 2}
    assert server.call("POST", "/logged-models", **twice) == INVALID
    assert server.call("GET", "/logged-models/m-9") == ABSENT


def test_metrics_of_a_model_are_those_of_its_run(server: Server) -> None:
    id = server.new_model()
    on = {"dataset_name": "eval", "dataset_digest": "1"}
    acc = {"key": "acc", "value": 0.5, "timestamp": 5, "step": 1}
    assert (
        server.call("POST", "/runs/log-metric", run_id=server.run, model_id=id, **acc, **on) == {}
    )
    loss = {"key": "loss", "value": "NaN", "timestamp": 6, "step": 2}
    plain = {"key": "plain", "value": 1.0, "timestamp": 7, "step": 0}
    batch = [{**loss, "model_id": id}, plain]
    assert server.call("POST", "/runs/log-batch", run_id=server.run, metrics=batch) == {}
    got = server.call("GET", f"/runs/get?run_id={server.run}")["run"]
    assert got["data"]["metrics"] == [acc, loss, plain]
    asked = f"/metrics/get-history?run_id={server.run}&metric_key=acc"
    assert server.call("GET", asked) == {"metrics": [acc]}
    of_model = {"model_id": id, "run_id": server.run}
    assert server.call("GET", f"/logged-models/{id}")["model"]["data"]["metrics"] == [
        {**acc, **on, **of_model},
        {**loss, **of_model},
    ]


def test_a_metric_of_an_unknown_model_is_not_logged_at_all(server: Server) -> None:
    acc = {"key": "acc", "value": 0.5, "timestamp": 5}
    batch = [acc, {**acc, "model_id": "m-9"}]
    assert server.call("POST", "/runs/log-batch", run_id=server.run, metrics=batch) == ABSENT
    sent = {**acc, "model_id": server.new_model(), "dataset_name": "eval"}
    assert server.call("POST", "/runs/log-metric", run_id=server.run, **sent) == INVALID
    got = server.call("GET", f"/runs/get?run_id={server.run}")["run"]
    assert "metrics" not in got["data"]


def test_models_are_searched_page_by_page(server: Server) -> None:
    for name, value in (("a", 0.1), ("b", 0.9), ("c", 0.5)):
        sent = {
            "model_id": server.new_model(name=name),
            "dataset_name": "d",
            "dataset_digest": name,
        }
        acc = {"key": "acc", "value": value, "timestamp": 5}
        server.call("POST", "/runs/log-metric", run_id=server.run, **acc, **sent)
    order = [{"field_name": "metrics.acc", "ascending": False}]
    first, token = server.search(order_by=order, max_results=2)
    assert first == ["b", "c"]
    assert server.search(order_by=order, max_results=2, page_token=token) == (["a"], None)
    assert server.search(max_results=2, page_token=token) == INVALID
    assert server.search(page_token=first[0]) == INVALID
    assert server.search(filter="metrics.acc > 0.3 AND name != 'c'") == (["b"], None)
    on_a = {"dataset_name": "d", "dataset_digest": "a"}
    assert server.search(datasets=[on_a]) == (["a"], None)
    assert server.search(datasets=[{"dataset_digest": "a"}]) == INVALID
    assert server.search(order_by=[{"field_name": "metrics.acc", **on_a}])[0][0] == "a"
    assert server.search(order_by=[{"field_name": "params.depth"}]) == INVALID
    assert server.search(filter="depth = 4") == INVALID
    assert server.search(experiment_ids=["1"] * 10_001) == INVALID
    assert server.search(experiment_ids=[]) == ([], None)


def test_the_files_of_a_model_are_listed_folder_by_folder(server: Server) -> None:
    id = server.new_model()
    root = f"{server.experiment}/models/{id}/artifacts"
    with server.workspace.transaction() as tx:
        for name, size in (("MLmodel", 3), ("data/a.bin", 5), ("data/b/c.bin", 7)):
            put_file(tx, f"{root}/{name}", "0" * 64, bytes=size, media="text/plain")
    path = f"/logged-models/{id}/artifacts/directories"
    assert server.call("GET", path) == {
        "root_uri": f"mlflow-artifacts:/{root}",
        "files": [
            {"path": "MLmodel", "is_dir": False, "file_size": 3},
            {"path": "data", "is_dir": True},
        ],
    }
    assert server.call("GET", f"{path}?artifact_directory_path=data")["files"] == [
        {"path": "data/a.bin", "is_dir": False, "file_size": 5},
        {"path": "data/b", "is_dir": True},
    ]
    assert server.call("GET", f"{path}?artifact_directory_path=../x") == INVALID


def test_files_of_a_model_lie_where_its_experiment_says(server: Server) -> None:
    with server.workspace.transaction() as tx:
        experiment = create_experiment(tx, "far", location="s3://bucket/far/").id
    id = server.new_model(experiment_id=experiment)
    uri = f"s3://bucket/far/models/{id}/artifacts"
    assert server.call("GET", f"/logged-models/{id}")["model"]["info"]["artifact_uri"] == uri
    asked = {"experiment_ids": [experiment], "filter": f"artifact_location = '{uri}'"}
    assert len(server.search(**asked)[0]) == 1


def test_older_clients_note_their_models_in_a_tag(server: Server) -> None:
    model = {
        "artifact_path": "model",
        "run_id": server.run,
        "utc_time_created": "2026-01-01",
        "flavors": {"sklearn": {"config": {"a": 1}, "version": 2}, "python": "x"},
        "model_uuid": "u",
        "signature": None,
    }
    for text in ("{", "[]", "{}", json.dumps({**model, "flavors": []})):
        assert server.call("POST", "/runs/log-model", run_id=server.run, model_json=text) == INVALID
    for _ in range(2):
        sent = {"run_id": server.run, "model_json": json.dumps(model)}
        assert server.call("POST", "/runs/log-model", **sent) == {}
    got = server.call("GET", f"/runs/get?run_id={server.run}")["run"]
    history = {tag["key"]: tag["value"] for tag in got["data"]["tags"]}["mlflow.log-model.history"]
    kept = {key: value for key, value in model.items() if key != "signature"}
    kept["flavors"] = {"sklearn": {"version": 2}, "python": "x"}
    assert json.loads(history) == [kept, kept]
