"""``everfit.log``: what a call costs, and how fast what it logs arrives, beside MLflow's client.

    python -m bench.logging [points]

A call returns once its record is in the journal. The server is ours both times; MLflow's client
waits for its answer to each call.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from bench.tracking.servers import ROOT, Server, ours
from bench.tracking.wire import HOST

POINTS = 100_000
MLFLOW_POINTS = 1_000

# Each in a fresh interpreter: calls per second, then points per second until all is delivered.
LOG = """
import sys, time
import everfit
from everfit.sdk.current import _process
count = int(sys.argv[2])
run = everfit.start_run(to=sys.argv[1])
began = time.perf_counter()
for step in range(count):
    everfit.log(loss=0.5, step=step)
logged = time.perf_counter() - began
run.end()
_process.end()
print(count / logged, count / (time.perf_counter() - began))
"""
MLFLOW = """
import sys, time
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
count = int(sys.argv[2])
run = client.create_run("0").info.run_id
began = time.perf_counter()
for step in range(count):
    client.log_metric(run, "loss", 0.5, step=step)
rate = count / (time.perf_counter() - began)
print(rate, rate)
"""


def measured(code: str, to: str, count: int, environment: Mapping[str, str]) -> tuple[float, float]:
    """Return calls and delivered points per second."""
    done = subprocess.run(
        [sys.executable, "-c", code, to, str(count)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
    )
    calls, delivered = map(float, done.stdout.split())
    return calls, delivered


def line(what: str, rates: tuple[float, float], *, arrives: bool = True) -> None:
    calls, delivered = rates
    arrived = f"{delivered:,.0f}" if arrives else "-"
    print(f"{what:<36}{calls:>12,.0f}{1e6 / calls:>12.1f}{arrived:>16}", flush=True)


def main(arguments: list[str]) -> None:
    count = int(arguments[0]) if arguments else POINTS
    with tempfile.TemporaryDirectory(prefix="logging-") as name:
        folder = Path(name)
        state = {"XDG_STATE_HOME": str(folder / "state"), "MLFLOW_DISABLE_TELEMETRY": "true"}
        print(f"{count:,} points, one a call ({MLFLOW_POINTS:,} for MLflow)")
        print(f"{'':<36}{'calls/s':>12}{'us a call':>12}{'delivered/s':>16}")
        line("everfit.log, to a folder", measured(LOG, str(folder / "project"), count, state))
        away = measured(LOG, f"http://{HOST}:9", count, state)
        line("everfit.log, server away", away, arrives=False)
        server = Server(kind=ours(), folder=folder / "server")
        server.start()
        try:
            url = f"http://{HOST}:{server.port}"
            line("everfit.log, to a server", measured(LOG, url, count, state))
            if find_spec("mlflow") is not None:
                rates = measured(MLFLOW, url, MLFLOW_POINTS, state)
                line("MlflowClient.log_metric, to it", rates)
        finally:
            server.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
