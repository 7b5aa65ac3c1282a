"""The calls by which MLflow's clients log traces and read them back, as they send them."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest

from everfit.errors import Invalid, NotFound
from everfit.kernel import Workspace
from everfit.mlflow_api import ROUTES, Api, Call, Endpoint, Request
from everfit.tracking import create_experiment, create_run, ensure_default, files_below, put_file

V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
AT = "2026-01-01T00:00:00.123Z"
AT_MS = 1_767_225_600_123


def find(method: str, path: str) -> tuple[Endpoint, dict[str, str]]:
    """Return the endpoint of a call; a path that is spelled out goes before one with names."""
    for route in sorted(ROUTES, key=lambda route: "{" in route.path):
        for known in route.paths:
            found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", known), path)
            if found and route.method == method:
                return route.endpoint, found.groupdict()
    raise AssertionError(f"no {method} {path}")


def ask(workspace: Workspace, method: str, path: str, **content: Any) -> Any:
    """Return the answer to a call, sent as MLflow's client sends it, as plain JSON."""
    endpoint, names = find(method, path)
    query = urlencode(content, doseq=True, quote_via=quote) if method == "GET" else ""
    body = b"" if method == "GET" else json.dumps(content).encode()
    message = endpoint.decode(Request(path_values=names, query=query, body=body))
    begin = workspace.transaction if endpoint.writes else workspace.reading
    with begin() as tx:
        answer = endpoint.handler(Call(tx=tx, api=Api(blobs=workspace.blobs)), message)
        return json.loads(msgspec.json.encode(answer))


def info(number: int, **changed: Any) -> dict[str, Any]:
    """Return what a client says of a trace."""
    known = {
        "trace_id": f"tr-{number}",
        "trace_location": in_experiment("0"),
        "request_preview": '{"x": 1}',
        "response_preview": "2",
        "request_time": AT,
        "execution_duration": "1.500s",
        "state": "OK",
        "trace_metadata": {"mlflow.traceInputs": '{"x": 1}', "odd key?": "yes"},
        "tags": {"mlflow.traceName": "f", "team": "red"},
    }
    return known | changed


def in_experiment(id: str) -> dict[str, Any]:
    return {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id}}


def start(workspace: Workspace, number: int, **changed: Any) -> Any:
    sent = {"trace_info": info(number, **changed)}
    return ask(workspace, "POST", f"{V3}/traces", trace=sent)["trace"]["trace_info"]


def search(workspace: Workspace, **asked: Any) -> tuple[list[str], str | None]:
    asked = {"locations": [in_experiment("0")]} | asked
    answer = ask(workspace, "POST", f"{V3}/traces/search", **asked)
    return [one["trace_id"] for one in answer["traces"]], answer.get("next_page_token")


@pytest.fixture
def opened(any_workspace: Workspace) -> Workspace:
    """A workspace with the default experiment."""
    with any_workspace.transaction() as tx:
        ensure_default(tx)
    return any_workspace


def test_a_trace_comes_back_with_where_its_spans_go(opened: Workspace) -> None:
    answer = start(opened, 1, client_request_id="req-7")
    location = "mlflow-artifacts:/0/traces/tr-1/artifacts"
    expected = info(1, client_request_id="req-7", request_time="2026-01-01T00:00:00.123000Z")
    expected["tags"]["mlflow.artifactLocation"] = location
    assert answer == expected
    found = ask(opened, "GET", f"{V3}/traces/tr-1", trace_id="tr-1")
    assert found == {"trace": {"trace_info": expected}}
    with pytest.raises(NotFound, match="Trace with ID 'get' not found"):
        ask(opened, "GET", f"{V3}/traces/get", trace_id="tr-1")


def test_the_files_of_a_trace_lie_where_its_experiment_keeps_its_own(opened: Workspace) -> None:
    with opened.transaction() as tx:
        made = create_experiment(tx, "away", location="s3://bucket/away/").id
    tags = start(opened, 1, trace_location=in_experiment(made))["tags"]
    assert tags["mlflow.artifactLocation"] == "s3://bucket/away/traces/tr-1/artifacts"


def test_a_client_does_not_say_where_a_trace_lies(opened: Workspace) -> None:
    own = {
        "mlflow.artifactLocation": "file:///etc",
        "mlflow.trace.spansLocation": "TRACKING_STORE",
        "mlflow.trace.archiveLocation": "file:///etc",
    }
    tags = start(opened, 1, tags=own)["tags"]
    assert tags == {"mlflow.artifactLocation": "mlflow-artifacts:/0/traces/tr-1/artifacts"}
    for key in own:
        with pytest.raises(Invalid, match=re.escape(key)):
            ask(opened, "PATCH", f"{V2}/traces/tr-1/tags", key=key, value="file:///etc")
        with pytest.raises(Invalid, match=re.escape(key)):
            ask(opened, "DELETE", f"{V3}/traces/tr-1/tags", key=key)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("0s", "0.000s"),
        ("1s", "1.000s"),
        ("0.000999s", "0.000s"),
        ("12.3456s", "12.345s"),
        ("-1.5s", "-1.500s"),
        ("315576000000s", "315576000000.000s"),
    ],
)
def test_durations_are_kept_to_the_millisecond(
    workspace: Workspace, sent: str, answered: str
) -> None:
    with workspace.transaction() as tx:
        ensure_default(tx)
    assert start(workspace, 1, execution_duration=sent)["execution_duration"] == answered


def test_times_are_kept_to_the_millisecond(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        ensure_default(tx)
    times = {
        "2026-01-01T01:00:00.123987654+01:00": "2026-01-01T00:00:00.123000Z",
        "1969-12-31T23:59:59.9Z": "1969-12-31T23:59:59.900000Z",
        "2026-01-01T00:00:00Z": "2026-01-01T00:00:00Z",
    }
    for number, (sent, answered) in enumerate(times.items()):
        assert start(workspace, number, request_time=sent)["request_time"] == answered
    bare = start(workspace, 9, request_time=None, execution_duration=None, state=None)
    assert bare["request_time"] == "2026-01-01T00:00:00Z"
    assert (bare["state"], "execution_duration" in bare) == ("STATE_UNSPECIFIED", False)


@pytest.mark.parametrize(
    "changed",
    [
        {"trace_id": "../../etc"},
        {"trace_id": "a%2Fb"},
        {"trace_location": {"type": "INFERENCE_TABLE"}},
        {"trace_location": in_experiment("")},
        {"execution_duration": "1.5"},
        {"execution_duration": "9999999999999s"},
        {"request_time": "2026-01-01T00:00:00"},
        {"request_time": "yesterday"},
        {"state": "FINE"},
        {"tags": {"a": 1}},
        {"trace_metadata": ["a"]},
        {"tags": {"a": "\0"}},
    ],
    ids=str,
)
def test_a_trace_that_cannot_be_is_refused(workspace: Workspace, changed: dict[str, Any]) -> None:
    with workspace.transaction() as tx:
        ensure_default(tx)
    with pytest.raises(Invalid):
        start(workspace, 1, **changed)
    assert search(workspace) == ([], None)


def test_traces_are_searched_page_by_page(opened: Workspace) -> None:
    for number in range(5):
        at = f"2026-01-01T00:00:0{number}Z"
        start(opened, number, request_time=at, state="OK" if number else "ERROR")
    assert search(opened)[0] == ["tr-4", "tr-3", "tr-2", "tr-1", "tr-0"]
    first, token = search(opened, max_results=2, order_by=["timestamp ASC"])
    second, token = search(opened, max_results=2, order_by=["timestamp ASC"], page_token=token)
    last, end = search(opened, max_results=2, order_by=["timestamp ASC"], page_token=token)
    assert (first + second + last, end) == (["tr-0", "tr-1", "tr-2", "tr-3", "tr-4"], None)
    assert search(opened, filter="status = 'ERROR' AND tags.team = 'red'")[0] == ["tr-0"]
    assert search(opened, filter="request_metadata.`odd key?` = 'no'")[0] == []
    infos = ask(opened, "POST", f"{V3}/traces/batchGetInfos", trace_ids=["tr-3", "tr-9", "tr-0"])
    assert [one["trace_id"] for one in infos["trace_infos"]] == ["tr-3", "tr-0"]
    within = {"trace_ids": ["tr-3"], "experiment_ids": ["1"]}
    assert ask(opened, "POST", f"{V3}/traces/batchGetInfos", **within) == {"trace_infos": []}


@pytest.mark.parametrize(
    "asked",
    [
        {"max_results": 501},
        {"max_results": 0},
        {"locations": []},
        {"locations": [in_experiment(str(n)) for n in range(10_001)]},
        {"filter": "span.name = 'f'"},
        {"filter": "tags.team RLIKE '(a+)+'"},
        {"filter": "status"},
        {"order_by": ["nothing"]},
        {"page_token": "x"},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_a_search_that_cannot_be_is_refused(workspace: Workspace, asked: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        search(workspace, **asked)


def test_tags_are_set_and_deleted_by_both_versions(opened: Workspace) -> None:
    start(opened, 1)
    for version in (V2, V3):
        ask(opened, "PATCH", f"{version}/traces/tr-1/tags", key="a", value="b" * 9_000)
        found = ask(opened, "GET", f"{V3}/traces/tr-1")["trace"]["trace_info"]
        assert found["tags"]["a"] == "b" * 8_000
        ask(opened, "DELETE", f"{version}/traces/tr-1/tags", key="a")
        with pytest.raises(NotFound, match="no tag 'a'"):
            ask(opened, "DELETE", f"{version}/traces/tr-1/tags", key="a")


def test_traces_are_linked_to_a_run(opened: Workspace) -> None:
    with opened.transaction() as tx:
        run = create_run(tx, "0").run.id
    start(opened, 1, trace_metadata={"mlflow.sourceRun": run, "mlflow.modelId": "m-1"})
    start(opened, 2)
    start(opened, 3)
    ask(opened, "POST", f"{V2}/traces/link-to-run", trace_ids=["tr-2"], run_id=run)
    assert search(opened, filter=f"attribute.run_id = '{run}'")[0] == ["tr-1", "tr-2"]
    assert search(opened, filter="request_metadata.`mlflow.modelId` = 'm-1'")[0] == ["tr-1"]
    many = [f"tr-{number}" for number in range(101)]
    with pytest.raises(Invalid, match="101 trace_ids at once"):
        ask(opened, "POST", f"{V2}/traces/link-to-run", trace_ids=many, run_id=run)
    with pytest.raises(NotFound):
        ask(opened, "POST", f"{V2}/traces/link-to-run", trace_ids=["tr-3"], run_id="run_9")


def test_traces_are_deleted_with_their_files(opened: Workspace) -> None:
    for number in range(4):
        start(opened, number, request_time=f"2026-01-01T00:00:0{number}Z")
    with opened.transaction() as tx:
        for number in range(4):
            path = f"0/traces/tr-{number}/artifacts/traces.json"
            put_file(tx, path, "0" * 64, bytes=1, media="application/json")

    def delete(**asked: Any) -> int:
        answer = ask(opened, "POST", f"{V2}/traces/delete-traces", experiment_id="0", **asked)
        return int(answer["traces_deleted"])

    assert delete(request_ids=["tr-3", "tr-9"]) == 1
    assert delete(max_timestamp_millis=str(AT_MS), max_traces=9) == 1
    assert search(opened)[0] == ["tr-2", "tr-1"]
    assert delete(max_timestamp_millis=2**63 - 1, max_traces=1) == 1
    with opened.reading() as tx:
        [kept] = files_below(tx, "0")
    assert kept.name == "0/traces/tr-2/artifacts/traces.json"


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"request_ids": []},
        {"request_ids": ["tr-1"], "max_timestamp_millis": AT_MS},
        {"request_ids": ["tr-1"], "max_traces": 1},
        {"max_timestamp_millis": AT_MS, "max_traces": 0},
        {"max_traces": 1},
        {"request_ids": [f"tr-{number}" for number in range(1_001)]},
    ],
    ids=lambda asked: " ".join(asked) or "nothing",
)
def test_an_unclear_deletion_deletes_nothing(workspace: Workspace, asked: dict[str, Any]) -> None:
    with workspace.transaction() as tx:
        ensure_default(tx)
    start(workspace, 1)
    with pytest.raises(Invalid):
        ask(workspace, "POST", f"{V3}/traces/delete-traces", experiment_id="0", **asked)
    assert search(workspace) == (["tr-1"], None)


def test_older_clients_begin_and_end_a_trace(opened: Workspace) -> None:
    begun = ask(
        opened,
        "POST",
        f"{V2}/traces",
        experiment_id="0",
        timestamp_ms=AT_MS,
        request_metadata=[{"key": "mlflow.traceInputs", "value": "{}"}],
        tags=[{"key": "mlflow.traceName", "value": "f"}],
    )["trace_info"]
    trace_id = begun["request_id"]
    location = f"mlflow-artifacts:/0/traces/{trace_id}/artifacts"
    assert begun == {
        "request_id": trace_id,
        "experiment_id": "0",
        "timestamp_ms": AT_MS,
        "execution_time_ms": 0,
        "status": "IN_PROGRESS",
        "request_metadata": [{"key": "mlflow.traceInputs", "value": "{}"}],
        "tags": [
            {"key": "mlflow.traceName", "value": "f"},
            {"key": "mlflow.artifactLocation", "value": location},
        ],
    }
    ended = ask(
        opened,
        "PATCH",
        f"{V2}/traces/{trace_id}",
        request_id=trace_id,
        timestamp_ms=AT_MS + 77,
        status="OK",
        request_metadata=[{"key": "mlflow.traceOutputs", "value": "2"}],
        tags=begun["tags"],
    )["trace_info"]
    assert (ended["status"], ended["execution_time_ms"]) == ("OK", 77)
    assert ended["tags"] == begun["tags"]
    assert len(ended["request_metadata"]) == 2
    assert ask(opened, "GET", f"{V2}/traces/{trace_id}/info") == {"trace_info": ended}
    asked = {"experiment_ids": ["0"], "filter": "status = 'OK'", "max_results": 1}
    assert ask(opened, "GET", f"{V2}/traces", **asked) == {"traces": [ended]}
    found = ask(opened, "GET", f"{V3}/traces/{trace_id}")["trace"]["trace_info"]
    assert (found["state"], found["execution_duration"]) == ("OK", "0.077s")
    with pytest.raises(Invalid, match="'DONE' is no status"):
        ask(opened, "PATCH", f"{V2}/traces/{trace_id}", timestamp_ms=1, status="DONE")
    with pytest.raises(NotFound):
        ask(opened, "PATCH", f"{V2}/traces/tr-9", timestamp_ms=1, status="OK")
