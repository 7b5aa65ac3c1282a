"""Swaps two versions of a project's endpoint until told to stop; says how often it did.

``python -m bench.serving.swap FOLDER PORT``: a line on its input begins, another ends. A swap is
over when the server says that it answers by the new revision. Version 1 is live in the end.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from bench.serving.project import NAME
from bench.tracking.wire import Connection, get
from everfit.automation import open_project
from everfit.deployment import parse_rollout, serving_plan, start_release
from everfit.kernel import Workspace

LOOKING_SECONDS = 0.02
TAKING_UP_SECONDS = 30


def main(folder: Path, port: int) -> None:
    workspace = open_project(folder).workspace
    print("ready", flush=True)
    sys.stdin.readline()
    stop = threading.Event()
    threading.Thread(target=_wait_for_a_line, args=(stop,), daemon=True).start()
    swaps = 0
    with Connection(port) as connection:
        while not stop.is_set() or swaps % 2:
            _swap(workspace, connection, version=1 + (swaps + 1) % 2)
            swaps += 1
    print(swaps, flush=True)
    workspace.close()


def _wait_for_a_line(stop: threading.Event) -> None:
    sys.stdin.readline()
    stop.set()


def _swap(workspace: Workspace, connection: Connection, version: int) -> None:
    with workspace.transaction() as tx:
        start_release(tx, endpoint=NAME, version=version, steps=parse_rollout("100%"))
    with workspace.reading() as tx:
        plan = serving_plan(tx, NAME)
    assert plan is not None
    deadline = time.perf_counter() + TAKING_UP_SECONDS
    while time.perf_counter() < deadline:
        answer = connection.send(get(f"/v2/models/{NAME}/ready"))
        if json.loads(answer.body)["plan"]["revision"] == plan.revision:
            return
        time.sleep(LOOKING_SECONDS)
    raise TimeoutError(f"revision {plan.revision} was not taken up")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
