"""Clients in processes of their own: ``python children.py NAME URL ARGUMENTS``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

PROCESSES = 8


def create(url: str, names: str) -> None:
    """Make so many experiments, each of them in every process; print the code of each answer."""
    _together(partial(_create, url, int(names)))


def _create(url: str, names: int, _number: int) -> None:
    client = MlflowClient(url)
    for name in range(names):
        try:
            client.create_experiment(f"experiment {name}")
            said = "made"
        except MlflowException as error:
            said = error.error_code
        os.write(1, f"{name} {said}\n".encode())


def log(url: str, runs: str, steps: str) -> None:
    """Log so many runs from every process, all at once, and steps of each."""
    _together(partial(_log, url, int(runs), int(steps)))


def _log(url: str, runs: int, steps: int, number: int) -> None:
    client = MlflowClient(url)
    for count in range(runs):
        run = client.create_run("0", tags={"process": str(number)}).info.run_id
        client.log_param(run, "count", count)
        for step in range(steps):
            client.log_metric(run, "loss", 1 / (step + 1), timestamp=step, step=step)
        metrics = [Metric(f"m{one}", float(one), 0, 0) for one in range(50)]
        client.log_batch(run, metrics, [Param("a", "b")], [RunTag("c", "d")])
        client.log_text(run, f"{number} {count}", "notes/who.txt")
        client.set_terminated(run)


def _together(work: Callable[[int], None]) -> None:
    # Forked from a process with the libraries loaded: all work at the same time.
    children = []
    for number in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            work(number)  # An error ends the child through the interpreter, with its traceback.
            os._exit(0)
        children.append(pid)
    if any(os.waitpid(pid, 0)[1] for pid in children):
        raise SystemExit("a child failed")


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {"create": create, "log": log}
    programs[sys.argv[1]](*sys.argv[2:])
