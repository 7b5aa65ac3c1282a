"""The unmodified MLflow client: run by an interpreter that has MLflow, told by lines on stdin.

Each line asks for one thing and is answered with one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module


def log_metric(uri: str) -> Callable[[int], object]:
    """Return what logs one metric."""
    client = import_module("mlflow").MlflowClient(uri)
    run = client.create_run(client.create_experiment("client's metrics"))

    def once(turn: int) -> object:
        return client.log_metric(run.info.run_id, "loss", turn / 7, step=turn)

    return once


def session(uri: str) -> Callable[[int], object]:
    """Return what starts a run, logs a metric and a param, and ends it."""
    mlflow = import_module("mlflow")
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("client's runs")

    def once(turn: int) -> object:
        with mlflow.start_run():
            mlflow.log_metric("loss", turn / 7)
            return mlflow.log_param("rate", turn)

    return once


def main(uri: str, seconds: float) -> None:
    works = {"log_metric": log_metric(uri), "session": session(uri)}
    print("ready", flush=True)
    for line in sys.stdin:
        once, turn = works[line.strip()], 0
        started, used = time.perf_counter(), time.process_time()
        while time.perf_counter() - started < seconds:
            once(turn)
            turn += 1
        taken = {
            "done": turn,
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time() - used,
        }
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
