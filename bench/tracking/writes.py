"""Metrics written: batches of 1,000, single ones, and by the real client."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.tracking import fill
from bench.tracking.floor import rows_per_second
from bench.tracking.servers import QUIET, Meter, Server
from bench.tracking.sizes import Sizes
from bench.tracking.table import Line
from bench.tracking.wire import API, HOST, Clients, Connection, Driven, drive, post, prepared

CLIENT = Path(__file__).with_name("real_client.py")
MICRO = 1e6


@dataclass(kw_only=True)
class Batches:
    """Requests of 1,000 metrics: one client, then several processes at once."""

    sizes: Sizes
    clients: Clients
    folder: Path
    title: str = "log-batch of 1,000 metrics, 10 keys; floor: bare sqlite3 executemany"
    _experiments: dict[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> Mapping[str, Line]:
        many = f"{self.clients.count} clients"
        return {
            "rate 1": _rate("1 client", "metrics/s", times=30),
            "cpu 1": Line(what="  server CPU", unit="us/metric", times=30),
            "rate n": _rate(many, "metrics/s", times=30),
            "cpu n": Line(what="  server CPU", unit="us/metric", times=30),
            "refused": Line(what="  requests refused", compared=False, unit="of 100", at_most=0),
            "lost": Line(
                what="  acknowledged metrics that are not there",
                compared=False,
                unit="metrics",
                at_most=0,
            ),
            "full": _rate("bare sqlite3, a commit each 1,000, FULL", "metrics/s"),
            "full cpu": Line(what="  CPU", unit="us/metric"),
            "normal": _rate("bare sqlite3, a commit each 1,000, NORMAL", "metrics/s"),
            "normal cpu": Line(what="  CPU", unit="us/metric"),
        }

    def prepare(self, server: Server) -> None:
        with Connection(server.port) as connection:
            self._experiments[server.name] = fill.new_experiment(connection, "batches")

    def once(self, server: Server) -> Mapping[str, float]:
        one, cpu_one = _alone(
            server, fill.batches(self._run(server), self.sizes.batches), self.sizes.seconds
        )
        share = -(-self.sizes.batches // 4)
        runs = [self._run(server) for _ in range(self.clients.count)]
        plans = [partial(fill.batches, run_id, share) for run_id in runs]
        many, cpu_many = _together(server, self.clients, plans, self.sizes.seconds)
        total = sum(driven.done for driven in many)
        refused = sum(driven.refused for driven in many)
        acknowledged = zip(runs, (driven.done for driven in many), strict=True)
        return {
            "rate 1": one.done * fill.BATCH / (one.ended - one.started),
            "cpu 1": cpu_one / (one.done * fill.BATCH) * MICRO,
            "rate n": total * fill.BATCH / _span(many),
            "cpu n": cpu_many / (total * fill.BATCH) * MICRO,
            "refused": 100 * refused / (refused + total),
            "lost": sum(_lost(server, run_id, done) for run_id, done in acknowledged),
        }

    def floor(self) -> Mapping[str, float]:
        seconds = self.sizes.seconds
        full, full_cpu = rows_per_second(self.folder, "FULL", fill.BATCH, seconds)
        normal, normal_cpu = rows_per_second(self.folder, "NORMAL", fill.BATCH, seconds)
        return {
            "full": full,
            "full cpu": full_cpu * MICRO,
            "normal": normal,
            "normal cpu": normal_cpu * MICRO,
        }

    def _run(self, server: Server) -> str:
        with Connection(server.port) as connection:
            return fill.new_run(connection, self._experiments[server.name], "batches")


@dataclass(kw_only=True)
class Singles:
    """One metric a request."""

    sizes: Sizes
    clients: Clients
    folder: Path
    title: str = "log-metric; floor: bare sqlite3, FULL, a commit each row"
    _runs: dict[str, list[str]] = field(default_factory=dict)

    @property
    def lines(self) -> Mapping[str, Line]:
        return {
            "rate 1": _rate("1 client", "requests/s"),
            "cpu 1": Line(what="  server CPU", unit="us/request", times=50),
            "rate n": _rate(f"{self.clients.count} clients", "requests/s"),
            "cpu n": Line(what="  server CPU", unit="us/request", times=50),
            "refused": Line(what="  requests refused", compared=False, unit="of 100", at_most=0),
        }

    def prepare(self, server: Server) -> None:
        with Connection(server.port) as connection:
            experiment = fill.new_experiment(connection, "singles")
            self._runs[server.name] = [
                fill.new_run(connection, experiment, "singles") for _ in range(self.clients.count)
            ]

    def once(self, server: Server) -> Mapping[str, float]:
        runs = self._runs[server.name]
        one, cpu_one = _alone(server, _singles(runs[0]), self.sizes.seconds)
        plans = [partial(_singles, run_id) for run_id in runs]
        many, cpu_many = _together(server, self.clients, plans, self.sizes.seconds)
        total = sum(driven.done for driven in many)
        refused = sum(driven.refused for driven in many)
        return {
            "rate 1": one.done / (one.ended - one.started),
            "cpu 1": cpu_one / one.done * MICRO,
            "rate n": total / _span(many),
            "cpu n": cpu_many / total * MICRO,
            "refused": 100 * refused / (refused + total),
        }

    def floor(self) -> Mapping[str, float]:
        rate, cpu = rows_per_second(self.folder, "FULL", 1, self.sizes.seconds)
        return {"rate 1": rate, "cpu 1": cpu * MICRO}


@dataclass(kw_only=True)
class RealClient:
    """What a user's own process sees, with the client that they have."""

    sizes: Sizes
    python: str
    title: str = "the unmodified MLflow client, one process"
    _processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    @property
    def lines(self) -> Mapping[str, Line]:
        client, share, server = "  the client's own CPU", "  of the wall time", "  server CPU"
        return {
            "log_metric": _rate("MlflowClient.log_metric", "calls/s"),
            "log_metric client": Line(what=client, unit="us/call"),
            "log_metric share": Line(what=share, unit="%", compared=False),
            "log_metric cpu": Line(what=server, unit="us/call", times=50),
            "session": _rate("start_run, metric, param, end", "runs/s"),
            "session client": Line(what=client, unit="us/run"),
            "session share": Line(what=share, unit="%", compared=False),
            "session cpu": Line(what=server, unit="us/run"),
        }

    def prepare(self, server: Server) -> None:
        silent = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
        with self._log(server).open("w") as log:
            process = subprocess.Popen(
                [self.python, CLIENT, f"http://{HOST}:{server.port}", str(self.sizes.seconds)],
                env={**os.environ, **QUIET, **silent},
                cwd=server.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._processes[server.name] = process
        assert self._answer(server) == "ready"

    def once(self, server: Server) -> Mapping[str, float]:
        figures = {}
        for work in ("log_metric", "session"):
            taken, cpu = self._asked(server, work)
            figures[work] = taken["done"] / taken["seconds"]
            figures[f"{work} client"] = taken["cpu"] / taken["done"] * MICRO
            figures[f"{work} share"] = 100 * taken["cpu"] / taken["seconds"]
            figures[f"{work} cpu"] = cpu / taken["done"] * MICRO
        return figures

    def floor(self) -> Mapping[str, float]:
        return {}

    def stop(self) -> None:
        """Stop the clients."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def _asked(self, server: Server, work: str) -> tuple[dict[str, float], float]:
        stdin = self._processes[server.name].stdin
        assert stdin is not None
        meter = Meter(server)
        stdin.write(f"{work}\n")
        stdin.flush()
        answer = self._answer(server)
        return json.loads(answer), meter.cpu()

    def _answer(self, server: Server) -> str:
        stdout = self._processes[server.name].stdout
        assert stdout is not None
        line = stdout.readline()
        assert line, f"the MLflow client ended:\n{self._log(server).read_text()[-2000:]}"
        return line.strip()

    def _log(self, server: Server) -> Path:
        return server.folder.with_suffix(".client.log")


def _rate(what: str, unit: str, times: float | None = None) -> Line:
    return Line(what=what, unit=unit, more_is_better=True, times=times)


def _alone(server: Server, requests: Iterable[bytes], seconds: float) -> tuple[Driven, float]:
    meter = Meter(server)
    driven = drive(server.port, requests, seconds)
    assert driven.done, "every request was refused"
    return driven, meter.cpu()


def _together(
    server: Server,
    clients: Clients,
    plans: list[partial[list[bytes]]] | list[partial[Iterator[bytes]]],
    seconds: float,
) -> tuple[list[Driven], float]:
    meter = Meter(server)
    jobs: list[Callable[[], Callable[[], Driven]]] = [
        partial(prepared, server.port, plan, seconds) for plan in plans
    ]
    driven, cpu = clients.run(jobs, meter.start), meter.cpu()
    assert any(each.done for each in driven), "every request was refused"
    return driven, cpu


def _singles(run_id: str) -> Iterator[bytes]:
    """Yield requests that log one metric each, endlessly, steps of one length."""
    step = 1_000_000_000
    body = f'{{"run_id":"{run_id}","key":"loss","value":0.5,"timestamp":%d,"step":%d}}'
    request = post(f"{API}/runs/log-metric", (body % (fill.EPOCH, step)).encode())
    head, _, rest = request.partition(str(fill.EPOCH).encode())
    middle, _, end = rest.partition(str(step).encode())
    for turn in range(step):
        yield b"%b%d%b%d%b" % (head, fill.EPOCH + turn, middle, step + turn, end)


def _span(driven: list[Driven]) -> float:
    return max(each.ended for each in driven) - min(each.started for each in driven)


def _lost(server: Server, run_id: str, batches: int) -> int:
    """Return how many metrics are missing of one key of acknowledged batches, times the keys."""
    path = f"{API}/metrics/get-history"
    with Connection(server.port) as connection:
        answer = connection.ask(path, run_id=run_id, metric_key="metric0")
    there = len(answer.get("metrics", []))
    return max(batches * fill.BATCH // fill.KEYS - there, 0) * fill.KEYS
