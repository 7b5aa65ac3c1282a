"""Requests as OpenTelemetry spans, sent over OTLP; needs the extra ``everfit[otel]``.

What the SDK reads of the environment holds: ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``,
``OTEL_TRACES_SAMPLER``, ``OTEL_EXPORTER_OTLP_HEADERS`` and the others of its specification.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from everfit import __version__
from everfit.serving.model import Answers
from everfit.serving.observed import Noted
from everfit.web import fields

# Of a request's predictions, the ids of so many first ones are named.
MOST_IDS = 5
FAILED = 500
CLOSE_SECONDS = 1.0
CARRIED = (b"traceparent", b"tracestate")


class Spans:
    """Makes a span of each request once it is answered, and sends them from a thread of its own.

    A span continues the trace that the caller names in ``traceparent``, and is sampled as that
    is. Nobody waits for it: what cannot be sent in time is dropped.
    """

    def __init__(self, url: str) -> None:
        own = Resource({"service.name": "everfit", "service.version": __version__})
        resource = own.merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter(endpoint=url)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("everfit.serving", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, call: Noted, status: int, seconds: float) -> None:
        """Make the span of a request that has just been answered and took so many seconds."""
        sent = fields(call.scope)
        carrier = {name.decode(): sent[name].decode("latin-1") for name in CARRIED if name in sent}
        end = time.time_ns()
        span = self._tracer.start_span(
            call.route,
            context=self._propagator.extract(carrier) if carrier else None,
            kind=SpanKind.SERVER,
            start_time=end - int(seconds * 1e9),
        )
        if span.is_recording():
            span.set_attributes(_of_request(call, status))
            if call.counted is not None:
                span.set_attributes({"everfit.endpoint": call.counted.endpoint})
            if call.answers is not None:
                span.set_attributes(_of_answers(call.answers))
            if status >= FAILED:
                span.set_status(StatusCode.ERROR)
        span.end(end)

    def close(self) -> None:
        """Send what is not sent yet, and end the thread; a collector that is away is given up."""
        giving_up = threading.Timer(CLOSE_SECONDS, self._exporter.shutdown)
        giving_up.start()
        self._provider.shutdown()
        giving_up.cancel()


def _of_request(call: Noted, status: int) -> dict[str, Any]:
    method, _, route = call.route.partition(" ")
    found: dict[str, Any] = {
        "http.request.method": method,
        "http.response.status_code": status,
        "url.path": call.scope["path"],
        "url.scheme": call.scope["scheme"],
    }
    if route:
        found["http.route"] = route
    if call.refused is not None:
        found["error.type"] = call.refused
    return found


def _of_answers(answers: Answers) -> dict[str, Any]:
    return {
        "everfit.rows": len(answers.ids),
        "everfit.batch_rows": answers.together or len(answers.ids),
        "everfit.versions": sorted(set(answers.versions)),
        "everfit.arms": sorted(set(answers.arms)),
        "everfit.prediction_ids": answers.ids[:MOST_IDS],
    }
