"""Several worker processes at one port: killed, drained, orphaned, counted together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import httpx
import polars as pl
import psutil
import pytest
from tests.serving.conftest import ENDPOINT, Shop
from tests.serving.test_process import SIGNATURE, free_port, line, server, started

from everfit.errors import Conflict
from everfit.kernel import Journal, Workspace
from everfit.monitoring import PROBE
from everfit.monitoring.log import log_folder
from everfit.packages import FittedModel
from everfit.serving import serve
from everfit.serving.observed import DECODER
from everfit.web import listen

REQUESTS = re.compile(r'^everfit_requests_total{endpoint="bike",status="200"} (\d+)$', re.MULTILINE)
POLICY = """\
model: bike
task: regression
data: {source: rows.csv, target: y}
train: {candidates: {linear: {}}}
"""


@dataclass
class Callers:
    """Threads that ask until they are told to stop; a broken connection is opened again."""

    port: int
    ids: list[str] = field(default_factory=list)
    broken: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        while not self.stop.is_set():
            # A few requests for each connection: they come to both workers in the end.
            with closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
                try:
                    for _ in range(5):
                        connection.request("POST", f"/predict/{ENDPOINT}", b'{"temp": 0.5}')
                        answer = connection.getresponse()
                        content = answer.read()
                        assert answer.status == 200, content
                        self.ids += [one["id"] for one in json.loads(content)["predictions"]]
                except (OSError, HTTPException):
                    self.broken += 1
                    time.sleep(0.02)

    @contextmanager
    def asking(self, count: int = 4) -> Iterator[None]:
        with ThreadPoolExecutor(count) as pool:
            asking = [pool.submit(self.ask) for _ in range(count)]
            try:
                yield
            finally:
                self.stop.set()
                for one in asking:
                    one.result()


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def counted(port: int) -> int:
    """Return how many requests were answered, by whichever worker is asked."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
    found = REQUESTS.search(text)
    return int(found[1]) if found else 0


def told(workspace: Workspace, port: int) -> list[int]:
    """Return how many requests each of two workers has told the others of."""
    folder = workspace.home / "run" / f"server-{port}"
    files = [folder / f"server-{port}-{number}.counts" for number in range(2)]
    counts = [DECODER.decode(file.read_bytes())[ENDPOINT] for file in files if file.exists()]
    answered = [sum(one[200].count for one in count.requests.values()) for count in counts]
    return answered + [0] * (2 - len(counts))


def test_all_workers_answer_and_any_of_them_tells_what_all_have_counted(shop: Shop) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    port = free_port()
    callers = Callers(port)
    with server(shop.workspace, port, workers=2) as process:
        wait_until(lambda: len(workers_of(process)) == 2)
        with callers.asking():
            wait_until(lambda: min(told(shop.workspace, port)) > 0)
        wait_until(lambda: counted(port) == len(callers.ids))
        assert callers.broken == 0


def test_a_worker_killed_under_load_is_back_and_nothing_acknowledged_is_missing(shop: Shop) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    port, seen = free_port(), [0]
    callers = Callers(port)

    def all_answer(since: list[int]) -> bool:
        with suppress(httpx.TransportError):
            seen.append(counted(port))
        return all(now > then for now, then in zip(told(shop.workspace, port), since, strict=True))

    with server(shop.workspace, port, workers=2) as process:
        with callers.asking(2):
            wait_until(lambda: all_answer([20, 20]))
            for _ in range(2):
                workers_of(process)[0].kill()
                since = told(shop.workspace, port)
                # A worker goes on from the counts of the one before: only its answers add to them.
                wait_until(lambda since=since: all_answer(since))  # type: ignore[misc]
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert errors.count("ended by signal 9 (Killed)") == 2
    assert "is started again at once" in errors
    assert seen == sorted(seen)
    logged = shop.logged()["id"]
    assert logged.n_unique() == len(logged)
    assert set(callers.ids) <= set(logged)


def test_sigterm_under_load_breaks_off_nothing_that_was_taken_on(shop: Shop) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    port = free_port()
    callers = Callers(port)
    with server(shop.workspace, port, workers=2) as process:
        with callers.asking():
            wait_until(lambda: len(callers.ids) > 100)
            process.send_signal(signal.SIGTERM)
            said, errors = process.communicate(timeout=20)
        assert (process.returncode, said, errors) == (0, "closed\n", "")
    assert set(callers.ids) == set(shop.logged()["id"])
    requests = shop.logged("requests").filter(pl.col("arm").ne_missing(PROBE))
    assert requests.height == len(callers.ids)


def test_workers_end_when_their_supervisor_is_killed(shop: Shop) -> None:
    port = free_port()
    with started(shop.workspace, port, workers=2) as process:
        wait_until(lambda: len(workers_of(process)) == 2)
        workers = workers_of(process)
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=20)
    assert alive == []
    listen("127.0.0.1", port).close()


def test_a_worker_that_cannot_start_ends_the_server_with_its_error(shop: Shop) -> None:
    port = free_port()
    taken = log_folder(shop.workspace, ENDPOINT, "labels")
    with Journal(taken, writer=f"server-{port}-1"), pytest.raises(Conflict, match="-1") as caught:
        serve(shop.workspace, [ENDPOINT], host="127.0.0.1", port=port, workers=2)
    assert "writer name of its own" in caught.value.hint
    listen("127.0.0.1", port).close()


def test_a_compiled_model_is_served_without_scikit_learn(shop: Shop) -> None:
    number = shop.add(line(2.0), SIGNATURE)
    shop.compile(number, FittedModel(line(2.0), SIGNATURE))
    shop.release(number)
    port = free_port()
    with server(shop.workspace, port) as process:
        url = f"http://127.0.0.1:{port}/predict/{ENDPOINT}"
        assert httpx.post(url, json={"temp": 0.5}).is_success
        [worker] = workers_of(process)
        files = {Path(one.path).parts for one in worker.memory_maps(grouped=True)}
    loaded = {part for parts in files for part in parts}
    assert "onnxruntime" in loaded
    assert not loaded & {"sklearn", "pandas", "onnx"}


def test_up_serves_from_processes_of_its_own(tmp_path: Path) -> None:
    pl.DataFrame({"a": [float(i) for i in range(50)], "y": [0.5] * 50}).write_csv(
        tmp_path / "rows.csv"
    )
    (tmp_path / "everfit.yaml").write_text(POLICY)
    port = free_port()
    command = [sys.executable, "-m", "everfit.cli", "up", str(tmp_path), "--every", "60"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [*command, "--port", str(port), "--workers", "2"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert f"POST http://127.0.0.1:{port}/predict/bike" in process.stdout.readline()
            assert httpx.get(f"http://127.0.0.1:{port}/v2/health/live").is_success
            workers = workers_of(process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert len([one for one in workers if not one.is_running()]) == 2
