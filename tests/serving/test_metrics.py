"""What `GET /metrics` of a real server tells after real requests."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.serving.conftest import ENDPOINT, Broken, Constant, Shop, Slow

from everfit.monitoring import PROBE
from everfit.serving import BackgroundServer, Bounds, ModelServer
from everfit.serving.counts import SERVER
from everfit.serving.observed import Observation

Rows = Callable[[int], list[dict[str, Any]]]
SMALL = Bounds(rows=50, in_flight=2, crowd=2, threads=2)


class Busy(Constant):
    """Computes for a while."""

    def predict(self, frame: pl.DataFrame) -> Any:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        return super().predict(frame)


class Page:
    """The samples of one scrape."""

    def __init__(self, url: str) -> None:
        response = httpx.get(f"{url}/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        self.families = {f.name: f for f in text_string_to_metric_families(response.text)}

    def value(self, name: str, **labels: str) -> float:
        """Return the one sample of this name that has these labels."""
        found = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert len(found) == 1, (name, labels, found)
        return float(found[0])


@pytest.fixture
def server(shop: Shop) -> Iterator[BackgroundServer]:
    shop.release(shop.add(Constant(4.5)))
    with BackgroundServer(
        shop.workspace, [ENDPOINT, "churn"], durable=False, bounds=SMALL
    ) as running:
        yield running


def test_requests_have_the_names_of_opentelemetry(server: BackgroundServer, rows: Rows) -> None:
    for count in (1, 3):
        httpx.post(f"{server.url}/predict/bike", json=rows(count))
    httpx.post(f"{server.url}/predict/bike", content=b"{")
    httpx.get(f"{server.url}/nowhere")
    page = Page(server.url)
    name = "http_server_request_duration_seconds_count"
    asked = {"http_request_method": "POST", "http_route": "/predict/{name}", "endpoint": "bike"}
    assert page.value(name, http_response_status_code="200", **asked) == 2
    assert page.value(name, http_response_status_code="422", **asked) == 1
    assert page.value(name, http_response_status_code="404", http_route="") == 1
    assert page.value("everfit_refusals_total", endpoint="bike", reason="invalid") == 1
    assert page.value("everfit_requests_total", endpoint="bike", status="200") == 2
    assert page.value("everfit_batch_rows_count", endpoint="bike") == 2
    assert page.value("everfit_batch_rows_sum", endpoint="bike") == 4
    assert page.value("everfit_batch_rows_bucket", endpoint="bike", le="2") == 1
    assert page.value("everfit_log_append_seconds_count", endpoint="bike") == 2
    assert page.value("http_server_active_requests", endpoint="bike") == 0


def test_no_method_becomes_a_name(server: BackgroundServer) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as opened:
        opened.sendall(b"PROPFIND /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"405" in opened.recv(1000)
    page = Page(server.url)
    name = "http_server_request_duration_seconds_count"
    assert page.value(name, http_request_method="_OTHER") == 1


def test_versions_and_arms_are_told_apart(shop: Shop, server: BackgroundServer, rows: Rows) -> None:
    shop.release(shop.add(Constant(5.0)), "50% -> 100%")
    server.refresh()
    keys = [f"k{number}" for number in range(40)]
    answer = httpx.post(f"{server.url}/predict/bike", json={"rows": rows(40), "keys": keys}).json()
    versions = [item["version"] for item in answer["predictions"]]
    page = Page(server.url)
    for version, arm in ((1, "champion"), (2, "canary")):
        labels = {"endpoint": "bike", "version": str(version), "arm": arm}
        assert page.value("everfit_predictions_total", **labels) == versions.count(version) > 0
        assert page.value("everfit_prediction_duration_seconds_count", **labels) == 1


def test_candidates_that_fail_are_counted_by_version(
    shop: Shop, server: BackgroundServer, rows: Rows
) -> None:
    shop.release(shop.add(Broken(0.0)), "shadow -> 100%")
    server.refresh()
    httpx.post(f"{server.url}/predict/bike", json=rows(4))
    page = Page(server.url)
    assert page.value("everfit_candidate_errors_total", endpoint="bike", version="2") == 4


def test_plan_readiness_and_loading_are_told(shop: Shop, server: BackgroundServer) -> None:
    page = Page(server.url)
    assert page.value("everfit_ready", endpoint="bike") == 1
    assert page.value("everfit_ready", endpoint="churn") == 0
    before = page.value("everfit_plan_revision", endpoint="bike")
    assert page.value("everfit_model_load_seconds_count", endpoint="bike") == 1
    shop.release(shop.add(Constant(1.0)))
    server.refresh()
    page = Page(server.url)
    assert page.value("everfit_plan_revision", endpoint="bike") > before
    assert page.value("everfit_model_load_seconds_count", endpoint="bike") == 2
    assert page.value("everfit_model_load_seconds_sum", endpoint="bike") > 0


def test_saturation_is_the_time_at_the_bound(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Slow(4.5)))
    slow = [{**rows(1)[0], "hour": 7}]
    running = BackgroundServer(shop.workspace, [ENDPOINT], durable=False, bounds=SMALL)
    with running as server, ThreadPoolExecutor(2) as pool:
        url = f"{server.url}/predict/bike"
        asking = [pool.submit(httpx.post, url, json=slow) for _ in range(2)]
        deadline = time.monotonic() + 10
        while server.in_flight < 2:
            assert time.monotonic() < deadline
        refused = httpx.post(url, json=rows(1))
        full = Page(server.url)
        assert [done.result().status_code for done in asking] == [200, 200]
        after = Page(server.url)
    assert refused.status_code == 503
    assert full.value("everfit_in_flight") == full.value("everfit_in_flight_limit") == 2
    assert full.value("http_server_active_requests", http_request_method="POST") == 2
    assert after.value("everfit_in_flight") == 0
    assert after.value("everfit_saturated_seconds_total") > 0.2
    assert after.value("everfit_refusals_total", reason="endpoint-full") == 1


def test_the_clock_runs_from_the_first_byte_that_is_read(
    server: BackgroundServer, shop: Shop
) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as opened:
        opened.sendall(b"POST /predict/bike HT")
        time.sleep(0.3)
        opened.sendall(b"TP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]")
        assert b"422" in opened.recv(1000)
    server.refresh()
    assert shop.logged("requests")["latency_ms"].item() >= 300


def test_a_server_goes_on_from_what_another_one_counted(
    shop: Shop, server: BackgroundServer, rows: Rows
) -> None:
    httpx.post(f"{server.url}/predict/bike", json=rows(3))
    server.refresh()
    bounds = Bounds()
    with ModelServer(shop.workspace, ENDPOINT, writer="next", durable=False) as after:
        observed = Observation(shop.workspace, {ENDPOINT: after})
        observed.begin_from(server.observed.counts())
        before, counts = server.observed.counts(), observed.counts()
    assert counts[ENDPOINT].served == before[ENDPOINT].served
    assert counts[SERVER].requests == before[SERVER].requests
    assert counts[ENDPOINT].present.bound == bounds.in_flight
    own, others = counts[SERVER].process, before[SERVER].process
    assert own is not None
    assert others is not None
    assert own.cpu_seconds > others.cpu_seconds


def test_the_process_has_the_standard_names(server: BackgroundServer) -> None:
    page = Page(server.url)
    assert page.value("process_cpu_seconds_total") > 0
    assert page.value("process_resident_memory_bytes") > 2**20
    assert page.value("process_virtual_memory_bytes") > 2**20
    assert time.time() - 7200 < page.value("process_start_time_seconds") <= time.time()
    assert 0 < page.value("process_open_fds") < page.value("process_max_fds")
    assert page.value("everfit_processes") == 1


def test_probes_are_logged_at_most_once_a_second(shop: Shop, server: BackgroundServer) -> None:
    for path in ("/v2/models/bike/ready", "/v2/health/ready", "/ping", "/v2/health/live"):
        httpx.get(f"{server.url}{path}")
    server.refresh()
    probe = ["status", "rows", "arm", "cpu_ms"]
    assert shop.logged("requests").select(probe).rows() == [(200, 0, PROBE, 0.0)]
    assert shop.logged("requests", "churn").select(probe).rows() == [(503, 0, PROBE, 0.0)]


def test_what_requests_cost_is_metered_shared_out_and_logged(shop: Shop, rows: Rows) -> None:
    shop.release(shop.add(Busy(4.5)))
    with BackgroundServer(shop.workspace, [ENDPOINT], durable=False) as server:
        for _ in range(4):
            httpx.post(f"{server.url}/predict/bike", json=rows(5))
        page = Page(server.url)
        server.refresh()
        logged = shop.logged("requests")
    model = page.value("everfit_cpu_seconds_total", part="model")
    assert 4 * 0.05 <= model < 4 * 0.1
    assert page.value("everfit_cpu_seconds_total", part="shared") > 0
    assert page.value("everfit_memory_gib_seconds_total") > 0
    cost = page.value("everfit_cost_per_1000_predictions", currency="EUR")
    paid = sum(page.value("everfit_cost_total", of=what) for what in ("cpu", "memory"))
    assert cost == pytest.approx(paid / 20 * 1000)
    parts = page.families["everfit_cpu_seconds"].samples
    assert logged["cpu_ms"].sum() == pytest.approx(
        sum(part.value for part in parts) * 1000, rel=0.5
    )
    assert logged["cpu_ms"].n_unique() == 1
    assert (logged["gib_seconds"] > 0).all()
