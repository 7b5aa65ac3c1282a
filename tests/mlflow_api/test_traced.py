"""What MLflow's client does when a traced function runs, it does against Everfit."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException

pytestmark = pytest.mark.filterwarnings("default")


@mlflow.trace(span_type="CHAIN")
def doubled(x: int) -> int:
    if x < 0:
        raise ValueError("too small")
    return x * 2


@mlflow.trace
def answered(x: int) -> dict[str, int]:
    mlflow.update_current_trace(tags={"team": "red"}, metadata={"mlflow.trace.session": "s 1"})
    return {"doubled": doubled(x)}


@pytest.fixture
def experiment(client: Any) -> str:
    """An experiment in which what is traced is logged."""
    return str(mlflow.set_experiment("traced").experiment_id)


def traced(*values: int) -> list[str]:
    """Call the traced function and return the ids of the traces, all of them logged."""
    ids = []
    for value in values:
        with contextlib.suppress(ValueError):
            answered(value)
        ids.append(str(mlflow.get_last_active_trace_id()))
        # They are told apart, and ordered, by the millisecond.
        time.sleep(0.002)
    mlflow.flush_trace_async_logging()
    return ids


def test_a_trace_comes_back_with_its_spans(client: Any, experiment: str) -> None:
    [trace_id] = traced(3)
    trace = mlflow.get_trace(trace_id)
    assert trace is not None
    assert (str(trace.info.state), trace.info.experiment_id) == ("OK", experiment)
    assert trace.info.tags["team"] == "red"
    assert trace.info.trace_metadata["mlflow.trace.session"] == "s 1"
    assert trace.info.request_preview == '{"x": 3}'
    outer, inner = trace.data.spans
    assert (outer.name, outer.inputs, outer.outputs) == ("answered", {"x": 3}, {"doubled": 6})
    assert (inner.name, inner.span_type, inner.parent_id) == ("doubled", "CHAIN", outer.span_id)


def test_traces_are_searched(client: Any, experiment: str) -> None:
    first, second, failed = traced(1, 2, -1)
    with mlflow.start_run() as run:
        [inside] = traced(3)
    client.link_traces_to_run([first], run.info.run_id)

    def found(text: str | None = None, **asked: Any) -> list[str]:
        traces = mlflow.search_traces(filter_string=text, return_type="list", **asked)
        return [trace.info.trace_id for trace in traces]

    assert found() == [inside, failed, second, first]
    assert found(order_by=["timestamp ASC"], max_results=2) == [first, second]
    assert found("status = 'ERROR' AND tags.team = 'red'") == [failed]
    assert found("name = 'answered' AND metadata.`mlflow.trace.session` = 's 2'") == []
    assert found(run_id=run.info.run_id) == [inside, first]
    page = client.search_traces(locations=[experiment], max_results=3, include_spans=False)
    rest = client.search_traces(locations=[experiment], max_results=3, page_token=page.token)
    assert [trace.info.trace_id for trace in [*page, *rest]] == [inside, failed, second, first]
    assert rest.token is None


def test_tags_change_and_traces_go(client: Any, experiment: str) -> None:
    first, second, third = traced(1, 2, 3)
    client.set_trace_tag(first, "team", "blue")
    client.delete_trace_tag(first, "mlflow.traceName")
    tags = client.get_trace(first).info.tags
    assert (tags["team"], "mlflow.traceName" in tags) == ("blue", False)
    with pytest.raises(MlflowException, match="no tag 'nil'"):
        client.delete_trace_tag(first, "nil")
    assert client.delete_traces(experiment, trace_ids=[second]) == 1
    with pytest.raises(MlflowException, match="not found") as raised:
        client.get_trace(second)
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    now = int(time.time() * 1000)
    assert client.delete_traces(experiment, max_timestamp_millis=now, max_traces=1) == 1
    left = client.search_traces(locations=[experiment])
    assert [trace.info.trace_id for trace in left] == [third]


def test_a_trace_belongs_to_the_model_that_was_active(client: Any, experiment: str) -> None:
    metadata = {"mlflow.modelId": "m-1"}
    with mlflow.start_span("predict") as span:
        mlflow.update_current_trace(metadata=metadata)
    traced(1)
    [found] = mlflow.search_traces(model_id="m-1", return_type="list")
    assert found.info.trace_id == span.trace_id


def test_what_is_not_there_is_said(client: Any, experiment: str) -> None:
    [trace_id] = traced(1)
    with pytest.raises(MlflowException) as raised:
        mlflow.log_feedback(trace_id=trace_id, name="good", value=True)
    assert raised.value.error_code == "ENDPOINT_NOT_FOUND"
    with pytest.raises(MlflowException, match="span") as raised:
        mlflow.search_traces(filter_string="span.name = 'doubled'")
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
