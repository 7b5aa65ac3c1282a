"""What is measured of one server with one model, one thing after the other."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.serving.client import Client
from bench.serving.kinds import Running
from bench.serving.load import Arrivals
from bench.serving.project import ENVIRONMENT, Model
from bench.serving.rows import Row, pieces
from bench.serving.schedule import Report, poisson
from bench.serving.sizes import Sizes

MICRO = 1e6
SEED = 4
PATIENCE_SECONDS = 1.0  # an answer that comes later is no good to whoever asked
OVERLOADS = (2, 10)  # times the capacity

Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all measurements share: the client, the sizes, the rows that are asked for."""

    client: Client
    sizes: Sizes
    rows: Sequence[Row]

    def singles(self, server: Running) -> list[bytes]:
        """Return different requests of one row."""
        return self._requests(server, 1, self.sizes.singles)

    def batches(self, server: Running) -> list[bytes]:
        """Return different requests of many rows."""
        return self._requests(server, self.sizes.batch_rows, self.sizes.batches)

    def bulk(self, server: Running) -> list[bytes]:
        """Return the same in the form that is meant for them."""
        size, count = self.sizes.batch_rows, self.sizes.batches
        return [server.contender.many(piece) for piece in pieces(self.rows[: size * count], size)]

    def arrivals(self, rate: float, seconds: float, *, queued: bool = True) -> Arrivals:
        """Return callers who come at a rate, as a Poisson process."""
        return Arrivals(
            due=poisson(rate, seconds, seed=SEED),
            connections=self.sizes.overload_clients,
            patience=PATIENCE_SECONDS,
            queued=queued,
        )

    def _requests(self, server: Running, size: int, count: int) -> list[bytes]:
        rows = self.rows[: size * count]
        return [server.contender.request(piece) for piece in pieces(rows, size)]


def started(server: Running) -> Figures:
    """Start the server and return how long that took."""
    return {"ready": server.start()}


def singles(bench: Bench, server: Running) -> Figures:
    """Return what one row a request comes to, at the capacity."""
    requests, sizes = bench.singles(server), bench.sizes
    bench.client.closed(
        server.port, requests, connections=sizes.clients, seconds=sizes.warm_seconds
    )
    report, share = _watched(bench, server, requests, connections=sizes.clients)
    assert report.answered, "nothing was answered"
    return {
        "rate": report.rate,
        "p50": report.p50_ms,
        "p99": report.p99_ms,
        "cpu": share / report.rate * MICRO,
        "core": 100 * share,
        "client": 100 * report.client_cpu / report.seconds,
        "failed": report.failed + report.refused,
    }


def _watched(
    bench: Bench, server: Running, requests: Sequence[bytes], *, connections: int
) -> tuple[Report, float]:
    """Return what a closed loop comes to, and the cores that the server used meanwhile."""
    before, began = server.cpu(), time.perf_counter()
    report = bench.client.closed(
        server.port, requests, connections=connections, seconds=bench.sizes.seconds
    )
    return report, (server.cpu() - before) / (time.perf_counter() - began)


def half_load(bench: Bench, server: Running, capacity: float) -> Figures:
    """Return the latency while half of what the server can do is asked of it."""
    arrivals = bench.arrivals(capacity / 2, bench.sizes.seconds)
    report = bench.client.arriving(server.port, bench.singles(server), arrivals)
    return {"half p50": report.p50_ms, "half p99": report.p99_ms, "half late": report.late_ms}


def batches(bench: Bench, server: Running) -> Figures:
    """Return what many rows a request come to: as JSON, and in the server's own form for them."""
    figures = _many(bench, server, bench.batches(server), "batch")
    if server.contender.bulk is None:
        return figures | {"bulk": figures["batch"], "bulk cpu": figures["batch cpu"]}
    return figures | _many(bench, server, bench.bulk(server), "bulk")


def _many(bench: Bench, server: Running, requests: Sequence[bytes], name: str) -> Figures:
    sizes = bench.sizes
    report, share = _watched(bench, server, requests, connections=sizes.batch_clients)
    assert report.answered, f"no batch was answered; {report.refused + report.failed} were not"
    rate = report.rate * sizes.batch_rows
    return {name: rate, f"{name} cpu": share / rate * MICRO}


def at_rest(bench: Bench, server: Running) -> Figures:
    """Return what the server holds after its work, and burns with none."""
    time.sleep(bench.sizes.idle_seconds / 2)
    before, began = server.cpu(), time.perf_counter()
    time.sleep(bench.sizes.idle_seconds)
    burned = (server.cpu() - before) / (time.perf_counter() - began)
    return {
        "idle": burned * 1e3,
        "resident": server.resident(),
        "largest": server.largest(),
        "processes": server.processes(),
    }


def overload(bench: Bench, server: Running, capacity: float) -> Figures:
    """Return what becomes of callers who are too many."""
    figures: Figures = {}
    for times in OVERLOADS:
        arrivals = bench.arrivals(times * capacity, bench.sizes.seconds, queued=False)
        report = bench.client.arriving(server.port, bench.singles(server), arrivals)
        figures |= {f"over {times} {key}": value for key, value in _over(report, capacity).items()}
        server.ask(server.first)  # what was left to do is done
    return figures


def _over(report: Report, capacity: float) -> Figures:
    lost = report.failed + report.unanswered + report.unsent
    return {
        "reached": (report.due - report.unsent) / report.seconds / capacity,
        "goodput": report.goodput / capacity,
        "refused": 100 * report.refused / report.due,
        "lost": 100 * lost / report.due,
        "p99": report.p99_ms,
        **(_refusals(report) if report.refused else {}),
    }


def _refusals(report: Report) -> Figures:
    return {"hinted": 100 * report.hinted / report.refused, "refused p99": report.refused_p99_ms}


def swapping(bench: Bench, server: Running, model: Model, capacity: float) -> Figures:
    """Return how callers fare at half load while revisions are swapped, and while none is."""
    seconds = bench.sizes.swap_seconds
    requests = bench.singles(server)
    steady = bench.client.arriving(
        server.port, requests, bench.arrivals(capacity / 2, min(seconds, 10))
    )
    with _swapper(model, server) as ended:
        sent = bench.client.begin(server.port, requests, bench.arrivals(capacity / 2, seconds))
        time.sleep(seconds)
        swaps = ended()
        report = sent.get()
    return {
        "swaps": swaps,
        "swap failed": report.due - report.answered,
        "swap p99": report.p99_ms,
        "swap times": report.p99_ms / steady.p99_ms,
    }


@contextlib.contextmanager
def _swapper(model: Model, server: Running) -> Iterator[Callable[[], int]]:
    """Yield what ends the swapping and tells how often it swapped; it begins at once."""
    command = [sys.executable, "-m", "bench.serving.swap", str(model.project), str(server.port)]
    with subprocess.Popen(
        command,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def told() -> str:
            stdin.write("\n")
            stdin.flush()
            return stdout.readline()

        try:
            assert stdout.readline() == "ready\n"
            stdin.write("\n")
            stdin.flush()
            yield lambda: int(told())
        finally:
            process.kill()
