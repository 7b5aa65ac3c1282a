"""Many clients at once, and a server that is killed: nothing that was acknowledged is lost."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import API, Site

import everfit

TREE = "/api/2.0/mlflow-artifacts/artifacts"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(everfit.__file__).parents[1]),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A client that waits and asks again would hide what is asked here.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
KILLS = 4
BEFORE_A_KILL = 150
PROCESSES, RUNS, STEPS = 8, 3, 20


def clients(site: Site, *arguments: object) -> str:
    """Return what the clients of ``children.py`` print."""
    program = Path(__file__).with_name("children.py")
    command = [sys.executable, "-W", "ignore", str(program), str(arguments[0]), site.url]
    done = subprocess.run(
        [*command, *map(str, arguments[1:])],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_of_eight_processes_that_make_an_experiment_one_does(any_site: Site) -> None:
    said = Counter(clients(any_site, "create", 10).splitlines())
    for name in range(10):
        assert said[f"{name} made"] == 1
        assert said[f"{name} RESOURCE_ALREADY_EXISTS"] == PROCESSES - 1
    found = any_site.post("/experiments/search", {"max_results": 100})["experiments"]
    assert sorted(one["name"] for one in found) == sorted(
        ["Default", *(f"experiment {name}" for name in range(10))]
    )


def test_eight_clients_at_once_lose_nothing(
    any_site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    clients(any_site, "log", RUNS, STEPS)
    rows = {name: len(found) for name, found in any_site.rows().items()}
    runs = PROCESSES * RUNS
    assert rows["tracking_runs"] == runs
    assert rows["tracking_params"] == 2 * runs
    assert rows["tracking_series"] == 51 * runs
    assert rows["tracking_points"] == (50 + STEPS) * runs
    assert rows["tracking_artifacts"] == runs
    found = any_site.post("/runs/search", {"experiment_ids": ["0"], "max_results": 1_000})["runs"]
    assert {run["info"]["status"] for run in found} == {"FINISHED"}
    process_tags = [
        tag["value"] for r in found for tag in r["data"]["tags"] if tag["key"] == "process"
    ]
    assert Counter(process_tags) == {str(number): RUNS for number in range(PROCESSES)}
    assert [record for record in caplog.records if record.name.startswith("everfit")] == []


@dataclass
class Load:
    """Callers that write without rest, and everything that they were told is written."""

    port: int = 0
    acknowledged: list[tuple[str, str, str]] = field(default_factory=list)

    def call(self, thread: int) -> None:
        """Write until the server is gone; each write has a name of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            run = self._done(connection, "/runs/create", {"experiment_id": "0"})["run"]["info"]
            run_id = run["run_id"]
            self.acknowledged.append((run_id, "run", ""))
            for count in range(1_000_000):
                self._write(connection, run_id, f"{thread}-{count}", count)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _write(self, connection: Any, run: str, name: str, count: int) -> None:
        known = {"run_id": run, "key": name, "timestamp": 1, "value": str(count)}
        kind = ("metric", "param", "tag", "file")[count % 4]
        if kind == "file":
            connection.request("PUT", f"{TREE}/0/{run}/artifacts/{name}", body=name.encode())
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        else:
            call = {"metric": "log-metric", "param": "log-parameter", "tag": "set-tag"}[kind]
            self._done(connection, f"/runs/{call}", known)
        self.acknowledged.append((run, kind, name))

    def _done(self, connection: Any, path: str, body: object) -> Any:
        connection.request("POST", f"{API}{path}", body=json.dumps(body))
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return json.loads(content)


@contextmanager
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server as people start it, and its port; what still runs at the end is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "everfit.cli", "server", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    with process:
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+);", process.stdout.readline())
            assert found is not None
            yield process, int(found[1])
        finally:
            process.kill()


def test_a_killed_server_has_everything_that_it_acknowledged(tmp_path: Path) -> None:
    load = Load()
    for _ in range(KILLS):
        with server(tmp_path / "project") as (process, load.port):
            enough = len(load.acknowledged) + BEFORE_A_KILL
            callers = [threading.Thread(target=load.call, args=(number,)) for number in range(4)]
            for caller in callers:
                caller.start()
            while len(load.acknowledged) < enough and process.poll() is None:
                time.sleep(0.005)
            assert process.poll() is None, "the server ended by itself"
            process.kill()
            for caller in callers:
                caller.join()
    assert len(load.acknowledged) >= KILLS * BEFORE_A_KILL
    assert set(load.acknowledged) <= kept(tmp_path / "project")


def kept(folder: Path) -> set[tuple[str, str, str]]:
    """Return everything that a server started anew has."""
    found: set[tuple[str, str, str]] = set()
    with server(folder) as (_, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def asked(method: str, path: str, body: object = None) -> bytes:
            connection.request(method, path, body=None if body is None else json.dumps(body))
            return connection.getresponse().read()

        search = {"experiment_ids": ["0"], "max_results": 50_000}
        for run in json.loads(asked("POST", f"{API}/runs/search", search))["runs"]:
            run_id, data = run["info"]["run_id"], run["data"]
            found.add((run_id, "run", ""))
            for kind in ("metric", "param", "tag"):
                found |= {(run_id, kind, one["key"]) for one in data.get(f"{kind}s", [])}
            listed = json.loads(asked("GET", f"{API}/artifacts/list?run_id={run_id}"))
            for file in listed["files"]:
                content = asked("GET", f"{TREE}/0/{run_id}/artifacts/{file['path']}")
                assert content.decode() == file["path"]
                found.add((run_id, "file", file["path"]))
        connection.close()
    return found
