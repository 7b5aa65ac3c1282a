"""The server over real HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.client import HTTPResponse
from typing import Any

import httpx
import msgspec
import polars as pl
import pytest
from tests.serving.conftest import (
    CLASSIFICATION,
    ENDPOINT,
    Broken,
    Constant,
    Shop,
    Slow,
    WarmIsBusy,
)

from everfit.serving import BackgroundServer, Bounds, HttpPredictor
from everfit.web.asgi import LINGER_SECONDS

Rows = Callable[[int], list[dict[str, Any]]]
GOOD = {"temp": 0.5, "hour": 3, "sky": "clear", "holiday": False}
# More than the buffers of a connection hold, on both sides.
LARGE = 30_000_000
HEAD = f"POST /predict/{ENDPOINT} HTTP/1.1\r\nHost: localhost\r\n"
SMALL = Bounds(body_bytes=20_000, rows=50, in_flight=2, threads=2)


@pytest.fixture
def server(shop: Shop) -> Iterator[BackgroundServer]:
    shop.release(shop.add(Constant(4.5)))
    with BackgroundServer(
        shop.workspace, [ENDPOINT, "churn"], durable=False, bounds=SMALL
    ) as running:
        yield running


@pytest.fixture
def http(server: BackgroundServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=10) as client:
        yield client


def refusal(response: httpx.Response) -> dict[str, Any]:
    """Return the error of a response, which must have the one shape."""
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = response.json()
    said = body.pop("error")
    # The Open Inference Protocol wants a text there; all else stands beside it.
    error = {**body, "message": said} if isinstance(said, str) else dict(said)
    assert error.keys() == {"code", "message", "hint", "problems", "context"}
    assert error["hint"]
    assert all(found.keys() == {"path", "found", "remedy"} for found in error["problems"])
    return error


def test_rows_are_answered_and_logged(shop: Shop, http: httpx.Client, rows: Rows) -> None:
    response = http.post(f"/predict/{ENDPOINT}", json={"rows": rows(3), "keys": ["a", "b", "c"]})
    assert response.status_code == 200
    answer = response.json()
    assert answer["model"] == ENDPOINT
    assert [item["prediction"] for item in answer["predictions"]] == [4.5] * 3
    assert {item["version"] for item in answer["predictions"]} == {1}
    logged = shop.logged()
    assert logged["id"].to_list() == [item["id"] for item in answer["predictions"]]
    assert logged["key"].to_list() == ["a", "b", "c"]


def test_the_open_inference_protocol_is_spoken(shop: Shop, http: httpx.Client) -> None:
    about = http.get("/v2").json()
    assert about["name"] == "everfit"
    model = http.get(f"/v2/models/{ENDPOINT}").json()
    assert model["inputs"] == [
        {"name": "temp", "datatype": "FP64", "shape": [-1]},
        {"name": "hour", "datatype": "INT64", "shape": [-1]},
        {"name": "sky", "datatype": "BYTES", "shape": [-1]},
        {"name": "holiday", "datatype": "BOOL", "shape": [-1]},
    ]
    inputs = [
        {"name": tensor["name"], "shape": [1], "datatype": tensor["datatype"], "data": [value]}
        for tensor, value in zip(model["inputs"], GOOD.values(), strict=True)
    ]
    answer = http.post(f"/v2/models/{ENDPOINT}/infer", json={"id": "7", "inputs": inputs}).json()
    assert answer["id"] == "7"
    assert (answer["model_name"], answer["model_version"]) == (ENDPOINT, "1")
    by_name = {tensor["name"]: tensor for tensor in answer["outputs"]}
    assert by_name["cnt"] == {"name": "cnt", "shape": [1], "datatype": "FP64", "data": [4.5]}
    assert by_name["prediction_id"]["data"] == shop.logged()["id"].to_list()
    assert list(by_name) == [tensor["name"] for tensor in model["outputs"]]
    asked = {"inputs": inputs, "outputs": [{"name": "version"}]}
    answer = http.post(f"/v2/models/{ENDPOINT}/infer", json=asked).json()
    assert [tensor["name"] for tensor in answer["outputs"]] == ["version"]


def test_classes_come_with_their_scores(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(WarmIsBusy(), CLASSIFICATION))
    with BackgroundServer(shop.workspace, [ENDPOINT], durable=False) as server:
        answer = httpx.post(f"{server.url}/predict/{ENDPOINT}", json=rows(4)).json()
        outputs = httpx.get(f"{server.url}/v2/models/{ENDPOINT}").json()["outputs"]
    assert [(item["prediction"], item["score"]) for item in answer["predictions"]] == [
        (False, 1.0),
        (False, 0.75),
        (False, 0.5),
        (True, 0.75),
    ]
    assert [(output["name"], output["datatype"]) for output in outputs[:2]] == [
        ("busy", "BOOL"),
        ("score", "FP64"),
    ]


def test_health_tells_alive_from_ready(
    shop: Shop, server: BackgroundServer, http: httpx.Client
) -> None:
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.head("/v2/health/live").status_code == 200
    assert http.get(f"/v2/models/{ENDPOINT}/ready").json()["ready"] is True
    for path in ("/v2/health/ready", "/v2/models/churn/ready", "/v2/models/churn"):
        response = http.get(path)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert refusal(response)["code"] == "no-release"
    shop.release(shop.add(Constant(1.0), model="churn"), model="churn")
    server.refresh()
    assert http.get("/v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/v2/models", 404, "not-found"),
        ("GET", "/v2/models/none", 404, "not-found"),
        ("POST", "/predict/none", 404, "not-found"),
        ("POST", "/labels/none", 404, "not-found"),
        ("GET", f"/predict/{ENDPOINT}", 405, "method-not-allowed"),
        ("DELETE", "/metrics", 405, "method-not-allowed"),
        ("POST", "/v2/health/live", 405, "method-not-allowed"),
    ],
)
def test_a_wrong_address_is_told_in_the_one_shape(
    http: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    response = http.request(method, path)
    assert response.status_code == status
    assert refusal(response)["code"] == code


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/predict/bike", b"", 422, "invalid"),
        ("/predict/bike", b"{", 422, "invalid"),
        ("/predict/bike", b'{"rows": [{"temp": NaN}]}', 422, "invalid"),
        ("/predict/bike", b'{"rows": []}', 422, "rows-invalid"),
        ("/predict/bike", b'{"rows": [{"temp": "warm"}]}', 422, "rows-invalid"),
        ("/predict/bike", b"[" + b"{}," * 60 + b"{}]", 413, "too-large"),
        ("/predict/bike", b" " * 20_001, 413, "too-large"),
        ("/v2/models/bike/infer", b"[]", 422, "rows-invalid"),
        ("/v2/models/bike/infer", b"nothing", 422, "invalid"),
        ("/labels/bike", b'{"labels": [{"id": "p_1"}]}', 422, "rows-invalid"),
        ("/labels/bike", b"\xff\xfe", 422, "invalid"),
        ("/predict/churn", b"{}", 503, "no-release"),
    ],
)
def test_wrong_input_is_refused_and_nothing_is_logged(
    shop: Shop, http: httpx.Client, path: str, body: bytes, status: int, code: str
) -> None:
    response = http.post(path, content=body)
    assert response.status_code == status
    assert refusal(response)["code"] == code
    assert shop.logged().height == 0
    assert http.post("/predict/bike", json=GOOD).status_code == 200


@pytest.mark.parametrize("path", ["/v2/health/live", "/predict/bike", "/labels/bike"])
def test_a_name_that_is_not_this_machine_is_not_answered_to(http: httpx.Client, path: str) -> None:
    response = http.post(path, json=GOOD, headers={"host": "evil.example:8080"})
    assert response.status_code == 403
    assert refusal(response)["code"] == "refused"


def test_a_body_that_does_not_tell_its_length_is_bounded_too(http: httpx.Client) -> None:
    response = http.post("/predict/bike", content=(b" " * 1_000 for _ in range(100)))
    assert response.status_code == 413
    assert refusal(response)["code"] == "too-large"


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (f"Content-Length: {LARGE}", bytes(LARGE)),
        ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (LARGE, bytes(LARGE))),
    ],
    ids=["announced", "chunked"],
)
def test_who_sends_too_much_gets_to_read_why(
    server: BackgroundServer, framing: str, body: bytes
) -> None:
    with connected(server) as caller:
        # As most clients do: the answer is read once all is sent.
        caller.sendall(f"{HEAD}{framing}\r\n\r\n".encode() + body)
        reply = HTTPResponse(caller)
        reply.begin()
        error = msgspec.json.decode(reply.read())["error"]
    assert (reply.status, error["code"]) == (413, "too-large")
    assert reply.getheader("connection") == "close"


def test_a_body_that_was_read_is_not_waited_for(server: BackgroundServer) -> None:
    body = b"[" + b"{}," * 60 + b"{}]"
    started = time.perf_counter()
    with connected(server) as caller:
        caller.sendall(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b"".join(iter(lambda: caller.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 413")
    assert time.perf_counter() - started < LINGER_SECONDS / 2


def connected(server: BackgroundServer) -> socket.socket:
    place = httpx.URL(server.url)
    return socket.create_connection((place.host, place.port or 0), timeout=10)


def test_a_failing_champion_is_an_error_of_the_server(shop: Shop) -> None:
    shop.release(shop.add(Broken(0.0)))
    with BackgroundServer(shop.workspace, [ENDPOINT], durable=False) as server:
        body = {"rows": [GOOD, GOOD]}
        response = httpx.post(f"{server.url}/predict/{ENDPOINT}", json=body)
    assert response.status_code == 500
    assert refusal(response)["code"] == "prediction-failed"
    # Every row counts that was not scored: one request may hold hundreds.
    assert shop.logged("requests").select("status", "rows").rows() == [(500, 2)]


def test_past_the_bound_requests_are_refused_not_queued(shop: Shop) -> None:
    shop.release(shop.add(Slow(1.0)))
    with (
        BackgroundServer(shop.workspace, [ENDPOINT], durable=False, bounds=SMALL) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        url, row = f"{server.url}/predict/{ENDPOINT}", {**GOOD, "hour": 7}
        responses = list(pool.map(lambda _: httpx.post(url, json=row), range(8)))
        assert httpx.post(url, json=GOOD).status_code == 200
    statuses = sorted(response.status_code for response in responses)
    assert statuses == [200, 200] + [503] * 6
    refused = next(response for response in responses if response.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert refusal(refused)["code"] == "endpoint-full"


def test_what_is_being_answered_at_the_end_is_finished(shop: Shop) -> None:
    shop.release(shop.add(Slow(1.0)))
    statuses: list[int] = []
    with BackgroundServer(shop.workspace, [ENDPOINT], durable=False) as server:
        url, row = f"{server.url}/predict/{ENDPOINT}", {**GOOD, "hour": 7}
        asking = threading.Thread(
            target=lambda: statuses.append(httpx.post(url, json=row).status_code)
        )
        asking.start()
        while not server.in_flight:
            pass
    asking.join()
    assert statuses == [200]


def test_labels_are_taken_in(shop: Shop, http: httpx.Client) -> None:
    number = http.post("/predict/bike", json=GOOD).json()["predictions"][0]["id"]
    response = http.post("/labels/bike", json={"labels": [{"id": number, "label": 5}]})
    assert response.json() == {"accepted": 1}
    assert shop.logged("labels").select("id", "label").rows() == [(number, 5)]


def test_labels_that_the_model_could_not_mean_are_refused_and_none_is_kept(
    shop: Shop, http: httpx.Client
) -> None:
    labels = [{"id": "p_1", "label": 5}, {"key": "ann", "label": "abc"}]
    response = http.post("/labels/bike", json={"labels": labels})
    assert response.status_code == 422
    (problem,) = refusal(response)["problems"]
    assert (problem["path"], problem["found"]) == ("labels[1].label", "'abc'")
    assert shop.logged("labels").is_empty()


def test_labels_by_id_and_by_key_are_taken_in_together(shop: Shop, http: httpx.Client) -> None:
    labels = [{"id": "p_1", "label": 5}, {"key": "ann", "label": 6}]
    assert http.post("/labels/bike", json={"labels": labels}).json() == {"accepted": 2}
    assert shop.logged("labels").select("id", "key").rows() == [("p_1", None), (None, "ann")]


def test_requests_are_counted_and_logged(
    shop: Shop, server: BackgroundServer, http: httpx.Client, rows: Rows
) -> None:
    for count in (1, 2):
        http.post("/predict/bike", json=rows(count))
    http.post("/predict/bike", content=b"{")
    text = http.get("/metrics").text
    assert 'everfit_requests_total{endpoint="bike",status="200"} 2' in text
    assert 'everfit_requests_total{endpoint="bike",status="422"} 1' in text
    assert 'everfit_predictions_total{endpoint="bike",version="1",arm="champion"} 3' in text
    assert 'everfit_refusals_total{endpoint="bike",reason="invalid"} 1' in text
    server.refresh()
    logged = shop.logged("requests")
    assert logged.select("status", "rows", "version", "arm").rows() == [
        (200, 1, 1, "champion"),
        (200, 2, 1, "champion"),
        (422, 0, None, None),
    ]
    assert (logged["latency_ms"] > 0).all()


def test_a_predictor_asks_over_http(shop: Shop, server: BackgroundServer, rows: Rows) -> None:
    frame = pl.DataFrame(rows(120)).with_columns(cnt=pl.lit(1))
    times = pl.Series([datetime(2025, 5, 5, tzinfo=UTC)] * 120)
    predictor = HttpPredictor(server, ENDPOINT)
    with pytest.raises(Exception, match="120 rows; one request may have 50"):
        predictor.predict(frame, keys=None, times=times)
    answered = predictor.predict(frame[:50], keys=None, times=times[:50])
    predictor.label(answered.select("id", label=pl.lit(2.5)))
    shop.release(shop.add(Constant(9.0)))
    predictor.refresh()
    again = predictor.predict(frame[:1])
    predictor.close()
    assert answered["prediction"].to_list() == [4.5] * 50
    assert again["prediction"].to_list() == [9.0]
    assert shop.logged("labels")["id"].to_list() == answered["id"].to_list()
    assert shop.logged()["time"].to_list()[:50] == times[:50].to_list()


def test_no_request_fails_while_models_change(shop: Shop, rows: Rows) -> None:
    versions = [shop.add(Constant(float(value))) for value in (1, 2)]
    shop.release(versions[0])
    stop = threading.Event()

    def ask() -> int:
        asked = 0
        with httpx.Client(base_url=running.url) as client:
            while not stop.is_set():
                response = client.post(f"/predict/{ENDPOINT}", json=rows(2))
                assert response.status_code == 200, response.text
                found = response.json()["predictions"]
                assert all(item["prediction"] == item["version"] for item in found)
                asked += 1
        return asked

    with (
        BackgroundServer(shop.workspace, [ENDPOINT], durable=False) as running,
        ThreadPoolExecutor(4) as pool,
    ):
        asking = [pool.submit(ask) for _ in range(4)]
        for turn in range(10):
            shop.release(versions[(turn + 1) % 2])
            running.refresh()
        stop.set()
        asked = sum(done.result() for done in asking)
    assert shop.logged()["id"].n_unique() == shop.logged().height == 2 * asked
