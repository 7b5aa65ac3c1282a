"""What one endpoint was asked and how it answered: counters to scrape, and the request log."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Self

import polars as pl

from everfit.kernel import Workspace
from everfit.monitoring import request_log
from everfit.serving.model import Answers

# Upper edges in seconds, half a decade and less apart: from a warm row to a time-out.
EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MIXED = "mixed"
SCHEMA: dict[str, Any] = {
    "at": pl.Datetime("us", "UTC"),
    "status": pl.Int64,
    "rows": pl.Int64,
    "latency_ms": pl.Float64,
    "version": pl.Int64,
    "arm": pl.String,
}
# So many requests are remembered while none can be logged.
MOST_WAITING = 100_000


class Traffic:
    """Counts the requests of one endpoint and hands them to the request log.

    Requests are logged at the next ``flush``, not before they are answered: what a crash may
    cost is under a second of statistics, never a prediction.
    """

    def __init__(
        self, workspace: Workspace, endpoint: str, *, writer: str, durable: bool = True
    ) -> None:
        self.endpoint = endpoint
        self.requests: Counter[int] = Counter()
        self.predictions: Counter[tuple[int, str]] = Counter()
        self.failures: Counter[int | None] = Counter()
        self.buckets = [0] * (len(EDGES) + 1)
        self.seconds = 0.0
        self._log = request_log(workspace, endpoint, writer=writer, durable=durable)
        self._waiting: list[tuple[Any, ...]] = []
        self._lock = threading.Lock()

    def note(
        self,
        at: datetime,
        status: int,
        latency_ms: float,
        answers: Answers | None = None,
        *,
        rows: int = 0,
    ) -> None:
        """Count one request of ``rows`` that was answered, or refused, with ``status``."""
        with self._lock:
            self.requests[status] += 1
            self.buckets[bisect_left(EDGES, latency_ms / 1000)] += 1
            self.seconds += latency_ms / 1000
            version, arm = None, None
            if answers is not None:
                rows = len(answers.ids)
                pairs = Counter(zip(answers.versions, answers.arms, strict=True))
                self.predictions.update(pairs)
                version, arm = next(iter(pairs)) if len(pairs) == 1 else (None, MIXED)
                if answers.failed is not None:
                    self.failures[answers.candidate] += rows
            self._waiting.append((at, status, rows, latency_ms, version, arm))

    def flush(self) -> None:
        """Write the requests noted since the last time to the request log."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            self._log.append(pl.DataFrame(waiting, schema=SCHEMA, orient="row"))
        except BaseException:
            with self._lock:
                self._waiting = [*waiting, *self._waiting][-MOST_WAITING:]
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Flush, and close the request log."""
        self.flush()
        self._log.close()


def exposition(endpoints: Iterable[Traffic]) -> str:
    """Return the counters in Prometheus' text format."""
    endpoints = list(endpoints)
    lines = []
    for name, kind, samples in FAMILIES:
        lines.append(f"# TYPE {name} {kind}")
        lines += [line for traffic in endpoints for line in samples(name, traffic)]
    return "\n".join(lines) + "\n"


def _requests(name: str, traffic: Traffic) -> Iterator[str]:
    for status, count in sorted(traffic.requests.items()):
        yield _sample(name, {"endpoint": traffic.endpoint, "status": status}, count)


def _latency(name: str, traffic: Traffic) -> Iterator[str]:
    total = 0
    for edge, count in zip((*EDGES, "+Inf"), traffic.buckets, strict=True):
        total += count
        yield _sample(f"{name}_bucket", {"endpoint": traffic.endpoint, "le": edge}, total)
    yield _sample(f"{name}_sum", {"endpoint": traffic.endpoint}, traffic.seconds)
    yield _sample(f"{name}_count", {"endpoint": traffic.endpoint}, total)


def _predictions(name: str, traffic: Traffic) -> Iterator[str]:
    for (version, arm), count in sorted(traffic.predictions.items()):
        labels = {"endpoint": traffic.endpoint, "version": version, "arm": arm}
        yield _sample(name, labels, count)


def _failures(name: str, traffic: Traffic) -> Iterator[str]:
    for version, count in traffic.failures.items():
        yield _sample(name, {"endpoint": traffic.endpoint, "version": version}, count)


FAMILIES = (
    ("everfit_requests_total", "counter", _requests),
    ("everfit_request_seconds", "histogram", _latency),
    ("everfit_predictions_total", "counter", _predictions),
    ("everfit_candidate_errors_total", "counter", _failures),
)


def _sample(name: str, labels: Mapping[str, object], value: float) -> str:
    text = ",".join(f'{key}="{_escaped(str(label))}"' for key, label in labels.items())
    return f"{name}{{{text}}} {value}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
