"""gRPC from a server that is a process of its own, to clients that are killed, and at its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import polars as pl
import psutil
import pytest
import tritonclient.grpc as triton
from sklearn.linear_model import LinearRegression
from tests.serving.conftest import ENDPOINT, Shop
from tests.serving.test_process import SIGNATURE, free_port

from everfit.errors import Conflict
from everfit.kernel import Workspace
from everfit.serving import serve
from everfit.web import listen

SERVE = """
import sys
from pathlib import Path
from everfit.kernel import load_settings, open_workspace
from everfit.serving import serve
workspace = open_workspace(load_settings(Path(sys.argv[1]), environment={}))
at = {"host": "127.0.0.1", "port": int(sys.argv[2]), "grpc_port": int(sys.argv[3])}
serve(workspace, ["bike"], workers=int(sys.argv[4]), poll_seconds=0.05, **at)
print("closed")
"""
ASK = """
import sys
import numpy as np
import tritonclient.grpc as triton
client = triton.InferenceServerClient(sys.argv[1])
temp = triton.InferInput("temp", [5000], "FP64")
temp.set_data_from_numpy(np.zeros(5000))
while True:
    client.infer("bike", [temp])
    print("answered", flush=True)
"""
WITHOUT = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "grpc":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from everfit.errors import Invalid
from everfit.serving import serve
try:
    serve(None, [], host="127.0.0.1", port=0, grpc_port=1)
except Invalid as error:
    print(error, error.hint)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@contextmanager
def server(
    workspace: Workspace, *, workers: int = 1
) -> Iterator[tuple[subprocess.Popen[str], triton.InferenceServerClient, str]]:
    port = free_port()
    process = started(SERVE, workspace.home.parent, free_port(), port, workers)
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 30
        while not _ready(client):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, client, f"127.0.0.1:{port}"
    finally:
        client.close()
        process.kill()
        process.communicate()


def _ready(client: triton.InferenceServerClient) -> bool:
    try:
        return bool(client.is_server_ready(client_timeout=5))
    except triton.InferenceServerException:
        return False


def line(slope: float) -> LinearRegression:
    return LinearRegression().fit(pl.DataFrame({"temp": [0.0, 1.0]}), [0.0, slope])


def asked(client: triton.InferenceServerClient, temps: list[float]) -> list[float]:
    temp = triton.InferInput("temp", [len(temps)], "FP64")
    temp.set_data_from_numpy(np.array(temps))
    found: list[float] = client.infer(ENDPOINT, [temp]).as_numpy("cnt").tolist()
    return found


def test_clients_that_are_killed_leave_the_server_unharmed(shop: Shop) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    with server(shop.workspace) as (process, client, address):
        for _ in range(3):
            killed = [started(ASK, address) for _ in range(2)]
            for other in killed:
                assert other.stdout is not None
                assert other.stdout.readline() == "answered\n"
                other.kill()
                other.communicate()
        assert asked(client, [0.5, 1.0]) == pytest.approx([1.0, 2.0])
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
    assert (process.returncode, said.strip()) == (0, "closed")
    # Every request was logged whole or not at all.
    logged = shop.logged()
    assert logged["id"].n_unique() == logged.height
    assert logged.height % 5000 == 2


def test_sigterm_ends_it_once_all_that_it_took_on_is_answered(shop: Shop) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    with server(shop.workspace) as (process, client, _), ThreadPoolExecutor(4) as pool:

        def ask() -> tuple[int, str]:
            answered = 0
            while True:
                try:
                    assert asked(client, [0.5]) == pytest.approx([1.0])
                except triton.InferenceServerException as error:
                    return answered, error.status()
                answered += 1

        asking = [pool.submit(ask) for _ in range(4)]
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        ended = [done.result() for done in asking]
        process.communicate(timeout=20)
    assert process.returncode == 0
    # What it does not take on any more is refused; no call that it had begun is broken off.
    assert {status for _, status in ended} == {str(grpc.StatusCode.UNAVAILABLE)}
    answered = sum(count for count, _ in ended)
    assert shop.logged().height == shop.logged("requests").height == answered > 0


def test_two_workers_share_the_port_and_one_that_is_killed_is_back(shop: Shop) -> None:
    shop.release(shop.add(line(2.0), SIGNATURE))
    with server(shop.workspace, workers=2) as (process, _, address):
        running = psutil.Process(process.pid)
        for _ in range(2):
            deadline = time.monotonic() + 30
            while (answering := _answering(running, address)) != 2:
                assert time.monotonic() < deadline, answering
            running.children()[0].kill()
    logged = shop.logged()
    assert logged["id"].n_unique() == logged.height


def _answering(running: psutil.Process, address: str) -> int:
    """Return how many workers answer, of connections that are opened anew and spread over them."""
    apart = ("grpc.use_local_subchannel_pool", 1)
    found = set()
    for _ in range(8):
        client = triton.InferenceServerClient(address, channel_args=[apart])
        try:
            assert asked(client, [0.5]) == pytest.approx([1.0])
            found |= {
                child.pid
                for child in running.children()
                for one in child.net_connections("tcp")
                if one.status == "ESTABLISHED"
            }
        except (triton.InferenceServerException, psutil.NoSuchProcess):
            continue
        finally:
            client.close()
    return len(found)


def test_a_grpc_port_in_use_is_told_and_nothing_is_left_open(shop: Shop) -> None:
    port = free_port()
    with listen("127.0.0.1", 0) as taken:
        busy = taken.getsockname()[1]
        with pytest.raises(Conflict) as caught:
            serve(shop.workspace, [ENDPOINT], host="127.0.0.1", port=port, grpc_port=busy)
    assert "--grpc-port" in caught.value.hint
    listen("127.0.0.1", port).close()


def test_without_the_extra_the_option_says_what_to_install() -> None:
    said, _ = started(WITHOUT).communicate(timeout=30)
    assert "No module named 'grpc'" in said
    assert "pip install 'everfit[grpc]'" in said


@pytest.mark.parametrize("module", ["everfit", "everfit.cli", "everfit.cli.serve"])
def test_nobody_imports_grpc_who_does_not_use_it(module: str) -> None:
    heavy = ["grpc", "google.protobuf"]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    said, _ = started(code).communicate(timeout=30)
    assert said.strip() == "[]"
