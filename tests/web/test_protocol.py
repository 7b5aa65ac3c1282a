"""Connections over real sockets: refusals at the door, and peers that are slow, silent or many."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from everfit.web import Background, Patience, Receive, Reply, Scope, Send, as_http
from everfit.web.asgi import Disconnected, read_body, send_reply

FULL = as_http(Reply(status=503, body=b"full", headers=((b"retry-after", b"1"),)))
QUICK = Patience(idle=0.6, head=0.3, body=0.3, unread=0.3)
BODY = b"x" * 40


@dataclass
class Door:
    """Refuses what asks for /full."""

    seen: list[bytes] = field(default_factory=list)

    def is_open(self, target: bytes) -> bool:
        return target != b"/full"

    def refusal(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        self.seen.append(target)
        return None if (b"let", b"in") in headers else FULL


@dataclass
class Echo:
    """Answers how many bytes it was sent; /slow late, /large with more than buffers hold."""

    seen: list[tuple[str, int]] = field(default_factory=list)
    gone: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        import asyncio

        try:
            body = await read_body(scope, receive, most=10_000_000)
        except Disconnected:
            self.gone += 1
            return
        self.seen.append((scope["path"], len(body)))
        if scope["path"] == "/slow":
            await asyncio.sleep(0.5)
        answer = b"." * 50_000_000 if scope["path"] == "/large" else b"%d" % len(body)
        await send_reply(send, Reply(status=200, body=answer))


@dataclass
class Site:
    """A server with a door, and sockets to it."""

    echo: Echo
    door: Door
    port: int
    opened: ExitStack

    def connected(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.opened.enter_context(made)


@contextmanager
def site(patience: Patience = QUICK) -> Iterator[Site]:
    echo, door = Echo(), Door()
    with Background(echo, door=door, patience=patience) as server, ExitStack() as opened:
        port = int(server.url.rpartition(":")[2])
        yield Site(echo, door, port, opened)


def post(path: str, body: bytes = BODY, *more: str, version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *more, "", ""]).encode() + body


def answers(caller: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Return the status and body of so many answers."""
    data, found = b"", list[tuple[int, bytes]]()
    while len(found) < count:
        head, split, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if split and length and len(rest) >= int(length[1]):
            found.append((int(head[9:12]), rest[: int(length[1])]))
            data = rest[int(length[1]) :]
            continue
        more = caller.recv(65_536)
        assert more, f"closed after {found} and {data!r}"
        data += more
    assert not data
    return found


def rest(caller: socket.socket) -> bytes:
    """Return what still comes until the other end closes."""
    data = b""
    try:
        while more := caller.recv(65_536):
            data += more
    except ConnectionResetError:
        pass
    return data


def test_what_is_refused_at_the_door_is_dropped_in_whatever_packets_it_comes() -> None:
    request = post("/full")
    with site() as at:
        caller = at.connected()
        for cut in range(1, len(request)):
            caller.sendall(request[:cut])
            if cut % 8 == 0:
                time.sleep(0.002)
            caller.sendall(request[cut:])
            assert answers(caller, 1) == [(503, b"full")]
        caller.sendall(post("/open"))
        assert answers(caller, 1) == [(200, b"40")]
        assert at.echo.seen == [("/open", 40)]


def test_requests_in_a_row_are_answered_in_their_order() -> None:
    with site() as at:
        caller = at.connected()
        row = ["/full", "/open", "/full", "/full", "/slow", "/full", "/open", "/full"]
        caller.sendall(b"".join(map(post, row)))
        statuses = [status for status, _ in answers(caller, len(row))]
        # What comes behind one that is not answered yet waits for it, and is let in.
        assert statuses[0] == 503
        assert len(statuses) == len(row)
        assert statuses[1] == statuses[4] == statuses[6] == 200
        caller.sendall(post("/full") * 3)
        assert answers(caller, 3) == [(503, b"full")] * 3


@pytest.mark.parametrize(
    "request_",
    [
        post("/full", BODY, "Connection: close"),
        post("/full", BODY, version="1.0"),
        post("/full", BODY, "Let: in"),
        post("/full", b"x" * 100_000),
        b"POST /full HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"28\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"GET /full HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["close", "1.0", "let in", "large", "chunked", "GET"],
)
def test_what_cannot_be_dropped_easily_is_the_applications_to_refuse(request_: bytes) -> None:
    with site() as at:
        caller = at.connected()
        caller.sendall(request_)
        ((status, _),) = answers(caller, 1)
        assert status == 200
        assert len(at.echo.seen) == 1


def test_who_waits_to_be_asked_for_the_body_is_answered() -> None:
    with site() as at:
        caller = at.connected()
        caller.sendall(post("/full", BODY, "Expect: 100-continue").removesuffix(BODY))
        assert caller.recv(1_000).startswith(b"HTTP/1.1 100")
        caller.sendall(BODY)
        assert answers(caller, 1) == [(200, b"40")]


@pytest.mark.parametrize("path", ["/open", "/full"])
def test_a_head_that_trickles_is_ended_with_408(path: str) -> None:
    with site() as at:
        caller = at.connected()
        caller.sendall(post(path))
        answers(caller, 1)
        started, answer = time.monotonic(), b""
        for byte in post(path, BODY, "X: " + "y" * 500):
            try:
                caller.sendall(bytes([byte]))
            except ConnectionError:
                break
            time.sleep(0.01)
        answer = rest(caller)
        assert time.monotonic() - started < 3
        assert answer.startswith(b"HTTP/1.1 408") or not answer  # unless it was reset
        assert len(at.echo.seen) == (path == "/open")


def test_half_a_head_and_half_a_body_then_silence_are_told_408() -> None:
    with site() as at:
        callers = [at.connected() for _ in range(2)]
        callers[0].sendall(post("/open")[:30])
        callers[1].sendall(post("/open")[:-10])
        for caller in callers:
            answer = rest(caller)
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert b'"code":"request-timeout"' in answer
            assert b"connection: close" in answer
    assert (at.echo.seen, at.echo.gone) == ([], 1)


def test_a_body_may_take_its_time_where_the_application_says_so() -> None:
    with site(Patience(idle=0.3, head=0.3)) as at:
        caller = at.connected()
        request = post("/open")
        caller.sendall(request[:-10])
        time.sleep(0.8)
        caller.sendall(request[-10:])
        assert answers(caller, 1) == [(200, b"40")]


def test_the_body_of_a_refused_request_that_never_comes_ends_the_connection() -> None:
    with site() as at:
        caller = at.connected()
        caller.sendall(post("/full")[:-10])
        assert rest(caller) == FULL


def test_connections_that_say_nothing_are_closed() -> None:
    with site() as at:
        new, asked, refused = (at.connected() for _ in range(3))
        asked.sendall(post("/open"))
        refused.sendall(post("/full"))
        assert [answers(asked, 1)[0][0], answers(refused, 1)[0][0]] == [200, 503]
        started = time.monotonic()
        assert [rest(one) for one in (new, asked, refused)] == [b"", b"", b""]
        assert 0.3 < time.monotonic() - started < 3


def test_an_answer_that_takes_long_is_waited_for() -> None:
    with site(Patience(idle=0.1, head=0.1, body=0.1)) as at:
        caller = at.connected()
        caller.sendall(post("/slow"))
        assert answers(caller, 1) == [(200, b"40")]


def test_who_does_not_read_loses_the_connection() -> None:
    with site() as at:
        hanging = at.connected()
        hanging.sendall(post("/large"))
        time.sleep(1.5)
        assert len(rest(hanging)) < 50_000_000
        reading = at.connected()
        reading.sendall(post("/open"))
        assert answers(reading, 1)[0][0] == 200


def test_a_connection_too_many_takes_the_place_of_the_longest_idle_one() -> None:
    with site(Patience(connections=20, idle=60)) as at:
        idle = []
        for _ in range(20):
            idle.append(at.connected())
            idle[-1].sendall(post("/open"))
            answers(idle[-1], 1)
            time.sleep(0.003)  # the loop counts in milliseconds
        for _ in range(5):
            caller = at.connected()
            caller.sendall(post("/open"))
            assert answers(caller, 1)[0][0] == 200
        assert [rest(one) for one in idle[:5]] == [b""] * 5
        idle[5].sendall(post("/open"))
        assert answers(idle[5], 1)[0][0] == 200


def test_a_connection_too_many_is_told_so_where_none_is_idle() -> None:
    with site(Patience(connections=16, idle=60, body=60)) as at:
        busy = [at.connected() for _ in range(16)]
        for one in busy:
            one.sendall(post("/open")[:-10])
        answer = rest(at.connected())
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in answer
        for one in busy:
            one.sendall(BODY[-10:])
            assert answers(one, 1)[0][0] == 200


def test_a_caller_that_resets_harms_nobody() -> None:
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    with site() as at:
        for path in ("/open", "/slow", "/full"):
            for cut in (20, -10, None):
                caller = at.connected()
                caller.sendall(post(path)[:cut])
                time.sleep(0.01)
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                caller.close()
        caller = at.connected()
        caller.sendall(b"\x00\xff nonsense\r\n\r\n")
        assert rest(caller).startswith(b"HTTP/1.1 400")
        caller = at.connected()
        caller.sendall(post("/open"))
        assert answers(caller, 1)[0][0] == 200
