"""Requests that say how long their answer is worth having, and clients that say who they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.serving.conftest import ENDPOINT, Shop, Slow

from everfit.serving import BackgroundServer, Bounds
from everfit.serving.terms import CLIENT, TIMEOUT

GOOD = {"temp": 0.5, "hour": 3, "sky": "clear", "holiday": False}
LATE = {**GOOD, "hour": 7}  # takes half a second


@pytest.fixture
def server(shop: Shop) -> Iterator[BackgroundServer]:
    shop.release(shop.add(Slow(4.5)))
    with BackgroundServer(
        shop.workspace, [ENDPOINT], durable=False, bounds=Bounds(in_flight=8, crowd=8)
    ) as running:
        yield running


def tensors(row: dict[str, Any], timeout: object = None) -> dict[str, Any]:
    kinds = {"temp": "FP64", "hour": "INT64", "sky": "BYTES", "holiday": "BOOL"}
    inputs = [
        {"name": name, "shape": [1], "datatype": kinds[name], "data": [value]}
        for name, value in row.items()
    ]
    return {"inputs": inputs, **({"parameters": {"timeout": timeout}} if timeout else {})}


def test_an_answer_that_nobody_wants_any_more_is_not_waited_for(
    shop: Shop, server: BackgroundServer
) -> None:
    url = f"{server.url}/predict/{ENDPOINT}"
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(httpx.post, url, json=LATE)
        while not server.in_flight:
            time.sleep(0.001)
        started = time.monotonic()
        response = httpx.post(url, json=GOOD, headers={TIMEOUT: "100"})
        assert 0.05 < time.monotonic() - started < 0.4
        assert response.status_code == 504
        assert response.json()["error"]["code"] == "deadline-exceeded"
        assert busy.result().status_code == 200
        assert httpx.post(url, json=GOOD, headers={TIMEOUT: "2000"}).status_code == 200
        assert httpx.post(url, json=GOOD, headers={TIMEOUT: "0"}).status_code == 200
    server.refresh()
    # It was dropped before the model was asked for it.
    assert shop.logged().height == 3
    assert sorted(shop.logged("requests")["status"]) == [200, 200, 200, 504]


def test_tritons_parameter_counts_in_microseconds(server: BackgroundServer) -> None:
    url = f"{server.url}/v2/models/{ENDPOINT}/infer"
    response = httpx.post(url, json=tensors(LATE, 100_000))
    assert response.status_code == 504
    assert "is over" in response.json()["error"]
    assert httpx.post(url, json=tensors(GOOD, 2_000_000)).status_code == 200


@pytest.mark.parametrize("given", [-1, 1.5, "soon", [1], True])
def test_a_timeout_that_is_none_is_refused(server: BackgroundServer, given: object) -> None:
    url = f"{server.url}/v2/models/{ENDPOINT}/infer"
    response = httpx.post(url, json=tensors(GOOD, given))
    assert response.status_code == 422
    assert [one["path"] for one in response.json()["problems"]] == ["parameters.timeout"]


@pytest.mark.parametrize("given", ["-1", "1.5", "soon", "9" * 40])
def test_a_header_that_is_no_time_is_refused(server: BackgroundServer, given: str) -> None:
    response = httpx.post(f"{server.url}/predict/{ENDPOINT}", json=GOOD, headers={TIMEOUT: given})
    assert response.status_code == 422
    assert f"{TIMEOUT} is {given!r}" in response.json()["error"]["message"]


def test_mlflows_callers_are_told_in_its_words(server: BackgroundServer) -> None:
    response = httpx.post(
        f"{server.url}/invocations", json={"instances": [LATE]}, headers={TIMEOUT: "50"}
    )
    assert response.status_code == 504
    assert response.json()["error_code"] == "DEADLINE_EXCEEDED"


def test_a_client_that_asks_always_leaves_room_for_others(server: BackgroundServer) -> None:
    url = f"{server.url}/predict/{ENDPOINT}"

    def ask(client: str) -> httpx.Response:
        return httpx.post(url, json=LATE, headers={CLIENT: client})

    def ask_often() -> list[httpx.Response]:
        return [ask("hog") for _ in range(4)]

    with ThreadPoolExecutor(20) as pool:
        hogs = [pool.submit(ask_often) for _ in range(16)]
        time.sleep(0.2)
        # The first finds the place that is kept for newcomers, those after it their share.
        others = [pool.submit(ask, "other") for _ in range(1)]
        assert others[0].result().status_code == 200
        statuses = [response.status_code for hog in hogs for response in hog.result()]
        refused = [r for hog in hogs for r in hog.result() if r.status_code == 429]
    assert set(statuses) == {200, 429, 503}
    assert refused[0].json()["error"]["code"] == "overloaded"
    assert int(refused[0].headers["retry-after"]) >= 1
