"""What the servers are filled with, the same rows for each: over REST, or put into SQLite.

Over REST stock MLflow takes minutes for what its tables hold after seconds of plain SQL.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.tracking.servers import Server
from bench.tracking.wire import API, Clients, Connection, Driven, post

EPOCH = 1_700_000_000_000  # milliseconds
KEYS = 10  # metrics of a run, and as many params
BATCH = 1_000
CONNECTIONS = 24  # enough for each of a few workers to get one
_LATEST = (
    "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
    " SELECT key, value, timestamp, step, is_nan, run_uuid FROM metrics"
)
_PRIME = 1_000_003  # above every count used, so that values of one metric are all different


def number(run: int, key: int) -> float:
    """Return a metric's value in [0, 1), the same in every server."""
    return ((run + 1) * (7919 * key + 15_485_863) % _PRIME) / _PRIME


def text(run: int, key: int) -> str:
    """Return a param's value: p0 has ten values, p9 one, the others are of one run each."""
    return {0: f"v{run % 10}", 9: "same"}.get(key, f"{key}-{run:06d}")


def started(run: int) -> int:
    """Return when a run began, in milliseconds."""
    return EPOCH + run * 1_000


def name(run: int) -> str:
    """Return a run's name."""
    return f"run-{run:06d}"


def batch(run_id: str, first: int, *, keys: int = KEYS) -> bytes:
    """Return the request that logs 1,000 metrics: of some keys and consecutive steps."""
    metrics = ",".join(
        f'{{"key":"metric{key}","value":{(first + step) % 997 / 997},'
        f'"timestamp":{EPOCH + first + step},"step":{first + step}}}'
        for step in range(BATCH // keys)
        for key in range(keys)
    )
    body = f'{{"run_id":"{run_id}","metrics":[{metrics}],"params":[],"tags":[]}}'
    return post(f"{API}/runs/log-batch", body.encode())


def batches(run_id: str, count: int) -> list[bytes]:
    """Return requests that log 1,000 metrics each."""
    return [batch(run_id, index * (BATCH // KEYS)) for index in range(count)]


def new_experiment(connection: Connection, title: str) -> str:
    """Return the id of a new experiment."""
    return str(connection.call(f"{API}/experiments/create", name=title)["experiment_id"])


def new_run(connection: Connection, experiment: str, title: str) -> str:
    """Return the id of a new run."""
    return str(_created(connection, experiment, title, EPOCH)["run_id"])


def warm(server: Server) -> None:
    """Use what is measured in every worker, so that nothing is loaded while a clock runs."""
    with Connection(server.port) as connection:
        experiment = new_experiment(connection, "warm")
    for turn in range(CONNECTIONS):
        with Connection(server.port) as connection:
            run_id = new_run(connection, experiment, f"warm {turn}")
            assert connection.send(batch(run_id, 0)).status == 200
            fields = {"run_id": run_id, "key": "loss", "value": 1.5, "timestamp": EPOCH}
            connection.call(f"{API}/runs/log-metric", **fields)
            connection.call(f"{API}/runs/search", experiment_ids=[experiment])
            connection.ask(f"{API}/metrics/get-history", run_id=run_id, metric_key="metric0")


def artifact_path(connection: Connection, experiment: str) -> str:
    """Return the path below which the server takes the artifacts of a new run."""
    uri = str(_created(connection, experiment, "artifacts", EPOCH)["artifact_uri"])
    scheme, _, below = uri.partition(":/")
    assert scheme == "mlflow-artifacts", f"artifacts do not pass through the server: {uri}"
    return f"/api/2.0/mlflow-artifacts/artifacts/{below.lstrip('/')}"


@dataclass(frozen=True, kw_only=True)
class Filler:
    """Fills a server with runs and points by the fastest way that its kind allows."""

    clients: Clients

    def runs(self, server: Server, experiment: str, count: int) -> None:
        """Bring in so many runs, each with ten metrics and ten params."""
        if server.kind.sqlite is not None:
            with closing(_opened(server.folder / server.kind.sqlite)) as database, database:
                _insert_runs(database, experiment, range(count))
            return
        share = -(-count // self.clients.count)
        firsts = range(0, share * self.clients.count, share)
        parts = [range(first, min(first + share, count)) for first in firsts]
        jobs = [
            partial(_ready, partial(_log_runs, server.port, experiment, part)) for part in parts
        ]
        refused = sum(driven.refused for driven in self.clients.run(jobs, lambda: None))
        assert refused == 0, f"{server.name} refused {refused} of the runs"

    def points(self, server: Server, run_id: str, count: int) -> None:
        """Bring in points of the metric `metric0` of a run, a multiple of 1,000."""
        if server.kind.sqlite is not None:
            with closing(_opened(server.folder / server.kind.sqlite)) as database, database:
                _insert_points(database, run_id, count)
            return
        with Connection(server.port) as connection:
            for first in range(0, count, BATCH):
                answer = connection.send(batch(run_id, first, keys=1))
                assert answer.status == 200, answer.body[:500]


def _created(connection: Connection, experiment: str, title: str, at: int) -> dict[str, Any]:
    fields = {"experiment_id": experiment, "run_name": title, "start_time": at}
    return dict(connection.call(f"{API}/runs/create", **fields)["run"]["info"])


def _ready(work: Callable[[], Driven]) -> Callable[[], Driven]:
    return work


def _log_runs(port: int, experiment: str, part: range) -> Driven:
    refused, began = 0, time.perf_counter()
    with Connection(port) as connection:
        for run in part:
            run_id = _created(connection, experiment, name(run), started(run))["run_id"]
            at = started(run)
            metrics = [
                {"key": f"m{key}", "value": number(run, key), "timestamp": at, "step": 0}
                for key in range(KEYS)
            ]
            params = [{"key": f"p{key}", "value": text(run, key)} for key in range(KEYS)]
            body = {"run_id": run_id, "metrics": metrics, "params": params, "tags": []}
            answer = connection.send(post(f"{API}/runs/log-batch", json.dumps(body).encode()))
            refused += answer.status != 200
    return Driven(len(part), refused, began, time.perf_counter())


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=60)


def _insert_runs(database: sqlite3.Connection, experiment: str, part: range) -> None:
    ids = {run: uuid.uuid4().hex for run in part}
    database.executemany(
        "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id,"
        " status, start_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
        " VALUES (?, ?, 'UNKNOWN', '', '', '', 'RUNNING', ?, '', 'active', ?, ?)",
        (
            (run_id, name(run), started(run), _artifacts(experiment, run_id), int(experiment))
            for run, run_id in ids.items()
        ),
    )
    database.executemany(
        "INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', ?, ?)",
        ((name(run), run_id) for run, run_id in ids.items()),
    )
    database.executemany(
        "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
        ((f"p{key}", text(run, key), ids[run]) for run in part for key in range(KEYS)),
    )
    _insert_metrics(
        database,
        (
            (f"m{key}", number(run, key), started(run), ids[run], 0)
            for run in part
            for key in range(KEYS)
        ),
    )
    database.executemany(
        _LATEST + " WHERE run_uuid = ?",
        ((run_id,) for run_id in ids.values()),
    )


def _insert_points(database: sqlite3.Connection, run_id: str, count: int) -> None:
    points = (("metric0", at % 997 / 997, EPOCH + at, run_id, at) for at in range(count))
    _insert_metrics(database, points)
    database.execute(
        _LATEST + " WHERE run_uuid = ? ORDER BY step DESC LIMIT 1",
        (run_id,),
    )


def _insert_metrics(
    database: sqlite3.Connection, rows: Iterator[tuple[str, float, int, str, int]]
) -> None:
    database.executemany(
        "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)"
        " VALUES (?, ?, ?, ?, ?, 0)",
        rows,
    )


def _artifacts(experiment: str, run_id: str) -> str:
    return f"mlflow-artifacts:/{experiment}/{run_id}/artifacts"
