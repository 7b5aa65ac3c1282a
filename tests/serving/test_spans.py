"""Traces as a collector receives them: OpenTelemetry's SDK, over OTLP/HTTP, decoded."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.serving.conftest import ENDPOINT, Constant, Shop, Slow
from tests.serving.test_process import free_port

from everfit.serving import BackgroundServer

Rows = Callable[[int], list[dict[str, Any]]]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = "01", "00"


class Collector(ThreadingHTTPServer):
    """Keeps the spans that are sent to it, with the attributes of their resource."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"
        self.spans: list[Any] = []
        self.resource: dict[str, Any] = {}


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.resource = attributes(sent.resource.attributes)
            self.server.spans += [span for scope in sent.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return getattr(value, kind)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@contextmanager
def traced(shop: Shop, url: str) -> Iterator[BackgroundServer]:
    settings = replace(shop.workspace.settings, traces_to=url)
    workspace = replace(shop.workspace, settings=settings)
    with BackgroundServer(workspace, [ENDPOINT], durable=False) as server:
        yield server


def test_a_span_continues_the_callers_trace_and_says_what_was_answered(
    shop: Shop, collector: Collector, rows: Rows
) -> None:
    shop.release(shop.add(Constant(4.5)))
    before = time.time_ns()
    with traced(shop, collector.url) as server:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-{SAMPLED}"}
        answer = httpx.post(f"{server.url}/predict/bike", json=rows(7), headers=headers).json()
    (span,) = collector.spans
    assert (span.name, span.trace_id.hex()) == ("POST /predict/{name}", TRACE)
    assert span.parent_span_id.hex() == PARENT
    assert span.kind == span.SPAN_KIND_SERVER
    assert before < span.start_time_unix_nano < span.end_time_unix_nano < time.time_ns()
    assert attributes(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/predict/{name}",
        "http.response.status_code": 200,
        "url.path": "/predict/bike",
        "url.scheme": "http",
        "everfit.endpoint": "bike",
        "everfit.rows": 7,
        "everfit.batch_rows": 7,
        "everfit.versions": [1],
        "everfit.arms": ["champion"],
        "everfit.prediction_ids": [item["id"] for item in answer["predictions"][:5]],
    }
    assert collector.resource["service.name"] == "everfit"


def test_refusals_and_failures_are_told_apart(shop: Shop, collector: Collector) -> None:
    with traced(shop, collector.url) as server:
        httpx.get(f"{server.url}/nowhere")
        httpx.post(f"{server.url}/predict/bike", json=[])
    lost, failed = collector.spans
    assert (lost.name, lost.status.code) == ("GET", lost.status.STATUS_CODE_UNSET)
    assert (failed.status.code, failed.parent_span_id) == (failed.status.STATUS_CODE_ERROR, b"")
    found = attributes(failed.attributes)
    assert (found["error.type"], found["http.response.status_code"]) == ("no-release", 503)


def test_what_was_asked_together_is_told(shop: Shop, collector: Collector, rows: Rows) -> None:
    shop.release(shop.add(Slow(4.5)))
    slow = [{**rows(1)[0], "hour": 7}]
    with traced(shop, collector.url) as server, ThreadPoolExecutor(4) as pool:
        url = f"{server.url}/predict/bike"
        first = pool.submit(httpx.post, url, json=slow)
        while not server.in_flight:
            time.sleep(0.01)
        time.sleep(0.1)
        others = [pool.submit(httpx.post, url, json=rows(2)) for _ in range(3)]
        assert {done.result().status_code for done in (first, *others)} == {200}
    sizes = [attributes(span.attributes)["everfit.batch_rows"] for span in collector.spans]
    assert sorted(sizes) == [1, 6, 6, 6]


def test_a_trace_that_is_not_sampled_is_not_sent(
    shop: Shop, collector: Collector, rows: Rows
) -> None:
    shop.release(shop.add(Constant(4.5)))
    with traced(shop, collector.url) as server:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-{NOT_SAMPLED}"}
        httpx.post(f"{server.url}/predict/bike", json=rows(1), headers=headers)
    assert collector.spans == []


def test_a_collector_that_is_away_delays_nobody(
    shop: Shop, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    shop.release(shop.add(Constant(4.5)))
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    with traced(shop, f"http://127.0.0.1:{free_port()}/v1/traces") as server:
        began = time.monotonic()
        assert httpx.post(f"{server.url}/predict/bike", json=rows(1)).status_code == 200
        assert time.monotonic() - began < 2
        began = time.monotonic()
    assert time.monotonic() - began < 5
