"""Reading back: search over many runs, and the history of a long metric."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.tracking import fill
from bench.tracking.fill import Filler
from bench.tracking.servers import Meter, Server
from bench.tracking.sizes import Sizes
from bench.tracking.table import Line
from bench.tracking.wire import API, Connection, get, post

MILLI = 1e3
PAGE = 1_000  # runs, as the client asks for
SCREEN = 100  # runs, as one screen of the web page asks for
POINTS = 25_000  # as the client asks for
CHART = 2_500  # points, as the web page asks for
# The answers are not decoded: that would cost the client more than some servers take.
TOKEN = re.compile(rb'"next_page_token"\s*:\s*("[^"]+")')
BY_METRIC = "metrics.m1 DESC"


@dataclass(frozen=True, kw_only=True)
class Query:
    """A search, and the test that says which runs it should find."""

    what: str
    filter: str
    order: str | None = None
    page: int = PAGE
    finds: Callable[[int], bool]

    def request(self, experiment: str) -> bytes:
        body = {
            "experiment_ids": [experiment],
            "filter": self.filter,
            "max_results": self.page,
            "order_by": [self.order] if self.order else [],
        }
        return post(f"{API}/runs/search", json.dumps(body).encode())

    def expected(self, runs: int) -> list[str]:
        """Return the names of the runs of the first page, in order."""
        found = [run for run in range(runs) if self.finds(run)]
        found.sort(key=lambda run: -fill.number(run, 1) if self.order else -fill.started(run))
        return [fill.name(run) for run in found[: self.page]]


def _half(run: int) -> bool:
    return fill.number(run, 0) > 0.5


def _hundredth(run: int) -> bool:
    return fill.number(run, 0) > 0.9 and run % 10 == 3


HALF = "metrics.m0 > 0.5 AND params.p9 = 'same'"
HUNDREDTH = "metrics.m0 > 0.9 AND params.p0 = 'v3'"
NONE = "metrics.m0 > 0.5 AND params.p0 = 'absent'"
QUERIES = {
    "half": Query(what="matches 50 %", filter=HALF, finds=_half),
    "half by": Query(what="matches 50 %, by a metric", filter=HALF, order=BY_METRIC, finds=_half),
    "screen": Query(
        what="matches 50 %, by a metric, page of 100",
        filter=HALF,
        order=BY_METRIC,
        page=SCREEN,
        finds=_half,
    ),
    "one": Query(what="matches 1 %", filter=HUNDREDTH, finds=_hundredth),
    "one by": Query(
        what="matches 1 %, by a metric", filter=HUNDREDTH, order=BY_METRIC, finds=_hundredth
    ),
    "none": Query(
        what="matches none, by a metric", filter=NONE, order=BY_METRIC, finds=lambda _: False
    ),
    "all": Query(what="no filter", filter="", finds=lambda _: True),
}


@dataclass(kw_only=True)
class Search:
    """The runs of one experiment, found by a metric and a param."""

    sizes: Sizes
    filler: Filler
    count: int
    at_most: float | None = None  # milliseconds
    _experiments: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"runs/search, {self.count:,} runs x 10 metrics x 10 params, pages of 1,000"

    @property
    def lines(self) -> Mapping[str, Line]:
        lines = {}
        for key, query in QUERIES.items():
            times = None if self.at_most or not query.filter else 10
            lines[key] = Line(what=query.what, unit="ms, p50", times=times, at_most=self.at_most)
            lines[f"{key} cpu"] = Line(what="  server CPU", unit="ms", times=times)
        return lines

    def prepare(self, server: Server) -> None:
        with Connection(server.port) as connection:
            experiment = fill.new_experiment(connection, f"{self.count} runs")
            self._experiments[server.name] = experiment
        self.filler.runs(server, experiment, self.count)
        with Connection(server.port) as connection:  # a new one: a server closes what is idle
            for query in QUERIES.values():
                answer = json.loads(connection.send(query.request(experiment)).body)
                names = [run["info"]["run_name"] for run in answer.get("runs", [])]
                right = names == query.expected(self.count)
                assert right, f"{server.name} finds other runs: {query.what}"

    def once(self, server: Server) -> Mapping[str, float]:
        figures = {}
        with Connection(server.port) as connection:
            for key, query in QUERIES.items():
                request = query.request(self._experiments[server.name])
                taken: list[float] = []
                meter = Meter(server)
                while len(taken) < 3 or meter.wall() < self.sizes.seconds / 5:
                    started = time.perf_counter()
                    assert connection.send(request).status == 200
                    taken.append(time.perf_counter() - started)
                figures[key] = statistics.median(taken) * MILLI
                figures[f"{key} cpu"] = meter.cpu() / len(taken) * MILLI
        return figures

    def floor(self) -> Mapping[str, float]:
        return {}


@dataclass(kw_only=True)
class History:
    """Every point of one long metric in pages, and the sample of it that a chart shows."""

    sizes: Sizes
    filler: Filler
    _runs: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"the history of a metric of {self.sizes.points:,} points"

    @property
    def lines(self) -> Mapping[str, Line]:
        return {
            "pages": Line(what=f"get-history, pages of {POINTS:,}", unit="s", times=20),
            "pages cpu": Line(what="  server CPU", unit="s", times=20),
            "chart": Line(what=f"get-history-bulk-interval, {CHART:,} points", unit="s", times=20),
            "chart cpu": Line(what="  server CPU", unit="s", times=20),
        }

    def prepare(self, server: Server) -> None:
        with Connection(server.port) as connection:
            experiment = fill.new_experiment(connection, "history")
            self._runs[server.name] = fill.new_run(connection, experiment, "long")
        self.filler.points(server, self._runs[server.name], self.sizes.points)

    def once(self, server: Server) -> Mapping[str, float]:
        with Connection(server.port) as connection:
            meter = Meter(server)
            self._read(connection, self._runs[server.name])
            pages, pages_cpu = meter.wall(), meter.cpu()
            chart, chart_cpu = self._charted(connection, server)
        return {"pages": pages, "pages cpu": pages_cpu, "chart": chart, "chart cpu": chart_cpu}

    def floor(self) -> Mapping[str, float]:
        return {}

    def _read(self, connection: Connection, run_id: str) -> None:
        question: dict[str, object] = {"run_id": run_id, "metric_key": "metric0"}
        question["max_results"] = POINTS
        came, more = 0, True
        while more:
            answer = connection.send(get(f"{API}/metrics/get-history", **question))
            assert answer.status == 200, answer.body[:500]
            came += answer.body.count(b'"step"')
            token = TOKEN.search(answer.body)
            more = token is not None
            question["page_token"] = json.loads(token[1]) if token else None
        assert came == self.sizes.points, f"{came:,} points came"

    def _charted(self, connection: Connection, server: Server) -> tuple[float, float]:
        path = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
        question = {"run_ids": self._runs[server.name], "metric_key": "metric0"}
        taken: list[float] = []
        meter = Meter(server)
        while not taken or meter.wall() < self.sizes.seconds / 5:
            started = time.perf_counter()
            answer = connection.send(get(path, max_results=CHART, **question))
            taken.append(time.perf_counter() - started)
            assert answer.body.count(b'"step"') >= CHART, answer.body[:500]
        return statistics.median(taken), meter.cpu() / len(taken)
