"""The server as a process of its own: killed, drained, and refused a bad address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import polars as pl
import psutil
import pytest
from sklearn.linear_model import LinearRegression
from tests.serving.conftest import ENDPOINT, Shop

from everfit.errors import Conflict, Invalid, Refused
from everfit.kernel import Workspace
from everfit.monitoring import PROBE
from everfit.packages import Field, Kind, Signature
from everfit.serving import serve
from everfit.web import listen

CODE = """
import sys
from pathlib import Path
from everfit.kernel import load_settings, open_workspace
from everfit.serving import serve
workspace = open_workspace(load_settings(Path(sys.argv[1]), environment={}))
at = {"host": "127.0.0.1", "port": int(sys.argv[2]), "poll_seconds": 0.05}
serve(workspace, ["bike"], workers=int(sys.argv[3]), **at)
print("closed")
"""
SIGNATURE = Signature(
    inputs=(Field(name="temp", kind=Kind.NUMBER),),
    output=Field(name="cnt", kind=Kind.NUMBER),
    task="regression",
)


def line(slope: float) -> LinearRegression:
    frame = pl.DataFrame({"temp": [0.0, 1.0]})
    return LinearRegression().fit(frame, [0.0, slope])


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def started(workspace: Workspace, port: int, *, workers: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", CODE]
    arguments = [str(workspace.home.parent), str(port), str(workers)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [*command, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def server(workspace: Workspace, port: int, *, workers: int = 1) -> Iterator[subprocess.Popen[str]]:
    process = started(workspace, port, workers=workers)
    try:
        deadline = time.monotonic() + 30
        while not _ready(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        # The workers notice that it is gone, and end: then nobody holds the pipes any more.
        process.kill()
        process.communicate()


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").is_success
    except httpx.TransportError:
        return False


def ask(port: int, acknowledged: list[str]) -> None:
    """Ask until the server is gone, keeping the id of every answer."""
    url = f"http://127.0.0.1:{port}/predict/{ENDPOINT}"
    body = {"rows": [{"temp": 0.5}, {"temp": 0.6}]}
    with httpx.Client() as client:
        while True:
            try:
                response = client.post(url, json=body)
            except httpx.TransportError:
                return
            acknowledged += [item["id"] for item in response.json()["predictions"]]


def test_what_was_acknowledged_before_a_kill_is_logged_exactly_once(shop: Shop) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    port, acknowledged = free_port(), list[str]()
    for _ in range(2):
        with server(shop.workspace, port) as process, ThreadPoolExecutor(4) as pool:
            before = len(acknowledged)
            asking = [pool.submit(ask, port, acknowledged) for _ in range(4)]
            while len(acknowledged) < before + 200:
                time.sleep(0.01)
            [worker] = psutil.Process(process.pid).children()
            process.send_signal(signal.SIGSTOP)  # which keeps it from starting another worker
            worker.kill()
            for done in asking:
                done.result()
    logged = shop.logged()["id"]
    assert logged.n_unique() == len(logged)
    assert set(acknowledged) <= set(logged)
    # At most what was under way at the two kills was logged without its answer being received.
    assert len(logged) - len(acknowledged) <= 2 * 4 * 2


def test_a_new_plan_is_taken_up_and_sigterm_ends_it_cleanly(shop: Shop) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    port = free_port()
    url = f"http://127.0.0.1:{port}/predict/{ENDPOINT}"
    with server(shop.workspace, port) as process:
        assert _prediction(url) == pytest.approx(1.0)
        shop.release(shop.add(line(4.0), SIGNATURE))
        deadline = time.monotonic() + 10
        while _prediction(url) != pytest.approx(2.0):
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
        assert process.returncode == 0
    assert said.strip() == "closed"
    requests = shop.logged("requests").filter(pl.col("arm").ne_missing(PROBE))
    assert requests.height == shop.logged().height


def _prediction(url: str) -> float:
    answer = httpx.post(url, json={"temp": 0.5}).json()
    return float(answer["predictions"][0]["prediction"])


@pytest.mark.parametrize("host", ["10.1.1.1", "192.168.1.5", "example.org", "::"])
def test_an_address_that_others_can_reach_is_refused(workspace: Workspace, host: str) -> None:
    with pytest.raises(Refused, match="other machines") as caught:
        serve(workspace, [ENDPOINT], host=host, port=0)
    assert "127.0.0.1" in caught.value.hint


def test_a_port_in_use_is_told(workspace: Workspace) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port}"):
            serve(workspace, [ENDPOINT], host="127.0.0.1", port=port)


@pytest.mark.parametrize("port", [-1, 65_536, 99_999])
def test_a_port_that_does_not_exist_is_told(workspace: Workspace, port: int) -> None:
    with pytest.raises(Invalid, match=f"{port} is no port") as caught:
        serve(workspace, [ENDPOINT], host="127.0.0.1", port=port)
    assert "65535" in caught.value.hint
