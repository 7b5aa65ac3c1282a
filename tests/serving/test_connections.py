"""Slow, silent, broken and many callers beside those who are answered all the while."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from tests.serving.conftest import ENDPOINT, Constant, Shop

from everfit.serving import BackgroundServer, Bounds

GOOD = {"temp": 0.5, "hour": 3, "sky": "clear", "holiday": False}
LINGER = b"\x01\x00\x00\x00\x00\x00\x00\x00"
# One place, and half a second for a request to come.
NARROW = Bounds(in_flight=1, crowd=1, threads=1, read_seconds=0.5)


@pytest.fixture
def server(shop: Shop) -> Iterator[BackgroundServer]:
    shop.release(shop.add(Constant(4.5)))
    with BackgroundServer(shop.workspace, [ENDPOINT], durable=False, bounds=NARROW) as running:
        yield running


def connected(server: BackgroundServer, stack: ExitStack) -> socket.socket:
    place = httpx.URL(server.url)
    made = socket.create_connection((place.host, place.port or 0), timeout=10)
    return stack.enter_context(made)


def head(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def answers_well(server: BackgroundServer, times: int = 10) -> None:
    with httpx.Client(base_url=server.url) as client:
        for _ in range(times):
            started = time.monotonic()
            response = client.post(f"/predict/{ENDPOINT}", json=GOOD)
            assert response.status_code == 200, response.text
            assert time.monotonic() - started < 0.4


@pytest.mark.parametrize("length", [60, 10_000_000], ids=["small", "large"])
def test_who_sends_its_body_slowly_holds_no_place(server: BackgroundServer, length: int) -> None:
    with ExitStack() as stack:
        slow = [connected(server, stack) for _ in range(20)]
        for caller in slow:
            caller.sendall(head(f"/predict/{ENDPOINT}", length) + b'{"rows"')
        answers_well(server)
        assert server.in_flight == 0
        answers = [caller.recv(4_096) for caller in slow]
        assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}


def test_a_thousand_idle_connections_stop_nobody(server: BackgroundServer) -> None:
    with ExitStack() as stack:
        idle = [connected(server, stack) for _ in range(1_000)]
        for caller in idle[::2]:
            caller.sendall(b"POST /pre")
        answers_well(server)
        assert idle[0].recv(4_096).startswith(b"HTTP/1.1 408")
        answers_well(server)


def test_callers_that_break_off_leave_their_places(server: BackgroundServer) -> None:
    whole = (
        head(f"/predict/{ENDPOINT}", 62)
        + b'{"temp": 0.5, "hour": 3, "sky": "clear", "holiday": false}    '
    )
    with ExitStack() as stack:
        for cut in range(5, len(whole) + 1, 6):
            caller = connected(server, stack)
            caller.sendall(whole[:cut])
            time.sleep(0.002)
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            caller.close()
        answers_well(server)
    assert server.in_flight == 0


def test_uploads_beyond_the_memory_for_them_are_refused_and_small_ones_are_not(shop: Shop) -> None:
    shop.release(shop.add(Constant(4.5)))
    bounds = Bounds(body_bytes=1_000_000, upload_bytes=1_500_000, read_seconds=5)
    with (
        BackgroundServer(shop.workspace, [ENDPOINT], durable=False, bounds=bounds) as server,
        ExitStack() as stack,
    ):
        uploading = connected(server, stack)
        uploading.sendall(head(f"/predict/{ENDPOINT}", 900_000) + b" " * 10)
        time.sleep(0.1)
        answers_well(server, 3)
        url = f"{server.url}/predict/{ENDPOINT}"
        refused = httpx.post(url, content=b" " * 900_000)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "endpoint-full"
        assert refused.headers["retry-after"] == "1"
        uploading.close()
        deadline = time.monotonic() + 5
        while httpx.post(url, content=b" " * 900_000).status_code != 422:
            assert time.monotonic() < deadline
