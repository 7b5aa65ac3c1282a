"""Calls and replies over real HTTP: bodies within bounds, streams that end with their reader."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from itertools import repeat

import httpx
import pytest

from everfit.errors import NotFound
from everfit.web import (
    Background,
    Disconnected,
    Receive,
    Reply,
    Scope,
    Send,
    StreamedReply,
    answered,
    body_chunks,
    json_reply,
    read_body,
    send_reply,
    send_stream,
)

MOST = 1_000_000
Answer = Callable[[Scope, Receive], Awaitable[Reply]]


async def everything(scope: Scope, receive: Receive) -> Reply:
    """Reply with the length of the body."""
    return json_reply(len(await read_body(scope, receive, most=MOST)))


def answering(answer: Answer) -> Background:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send_reply(send, await answered(scope, answer(scope, receive)))

    return Background(application)


def streaming(make: Callable[[], StreamedReply]) -> Background:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send_stream(scope, receive, send, make())

    return Background(application)


def connected(server: Background, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> socket.socket:
    """Return a connection on which ``request`` was sent; the answer may be read or not."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(request)
    return connection


class Source:
    """Gives chunks, counts them, and knows when it was closed."""

    def __init__(self, *, chunk: bytes, pause_seconds: float = 0.0, count: int = 1_000_000) -> None:
        self.chunk = chunk
        self.pause_seconds = pause_seconds
        self.count = count
        self.given = 0
        self.closed = threading.Event()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            while self.given < self.count:
                self.given += 1
                yield self.chunk
                await asyncio.sleep(self.pause_seconds)
        finally:
            self.closed.set()


@pytest.mark.parametrize("told", [True, False])
def test_a_body_is_read_up_to_the_bound(told: bool) -> None:
    with answering(everything) as server, httpx.Client(base_url=server.url) as client:
        for size, status in ((0, 200), (MOST, 200), (MOST + 1, 413)):
            body = bytes(size)
            content = body if told else iter([body[:400_000], body[400_000:]])
            response = client.post("/", content=content)
            assert response.status_code == status
            assert response.json() == size or response.json()["error"]["code"] == "too-large"


def test_a_body_announced_too_large_is_refused_before_it_is_sent() -> None:
    announced = b"PUT / HTTP/1.1\r\ncontent-length: 1000001\r\n\r\n"
    with answering(everything) as server, connected(server, announced) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_is_handed_on_while_it_arrives() -> None:
    arrived = threading.Event()

    async def answer(scope: Scope, receive: Receive) -> Reply:
        total = 0
        async for chunk in body_chunks(scope, receive, most=10 * MOST):
            arrived.set()
            total += len(chunk)
        return json_reply(total)

    def body() -> Iterator[bytes]:
        yield b"first"
        # The rest is sent only once the first piece was seen at the other end.
        assert arrived.wait(10)
        yield from repeat(bytes(MOST), 5)

    with answering(answer) as server:
        assert httpx.put(server.url, content=body()).json() == 5 + 5 * MOST


def test_a_caller_that_leaves_in_its_body_is_noticed() -> None:
    left = threading.Event()

    async def application(scope: Scope, receive: Receive, _send: Send) -> None:
        try:
            await answered(scope, everything(scope, receive))
        except Disconnected:
            left.set()

    half = b"PUT / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf"
    with Background(application) as server:
        connected(server, half).close()
        assert left.wait(10)


def test_errors_are_told_in_the_one_shape(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(scope: Scope, _receive: Receive) -> Reply:
        if scope["path"] == "/known":
            raise NotFound("no such thing", hint="Make it.", number=7)
        raise LookupError("secret")

    with answering(answer) as server:
        known, unknown = (httpx.get(f"{server.url}/{name}") for name in ("known", "unknown"))
    assert (known.status_code, unknown.status_code) == (404, 500)
    assert known.json()["error"] == {
        "code": "not-found",
        "message": "no such thing",
        "hint": "Make it.",
        "problems": [],
        "context": {"number": 7},
    }
    assert unknown.json()["error"].keys() == known.json()["error"].keys()
    # What went wrong inside is for the log, not for the caller.
    assert "secret" not in unknown.text
    assert "secret" in caplog.text


@pytest.mark.parametrize("length", [None, 300_000])
def test_a_stream_arrives_whole(length: int | None) -> None:
    source = Source(chunk=bytes(range(100)) * 1000, count=3)

    def reply() -> StreamedReply:
        return StreamedReply(
            status=206, chunks=source.chunks(), length=length, headers=((b"etag", b'"x"'),)
        )

    with streaming(reply) as server:
        response = httpx.get(server.url)
    assert response.status_code == 206
    assert response.content == source.chunk * 3
    assert response.headers["etag"] == '"x"'
    assert response.headers.get("content-length") == (None if length is None else "300000")
    assert source.closed.is_set()


def test_the_head_of_a_stream_draws_nothing_from_it() -> None:
    source = Source(chunk=b"x", count=5)
    with streaming(lambda: StreamedReply(status=200, chunks=source.chunks(), length=5)) as server:
        response = httpx.head(server.url)
    assert (response.headers["content-length"], source.given) == ("5", 0)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(Source(chunk=bytes(100_000)), id="while-it-is-sent"),
        pytest.param(Source(chunk=b"x", pause_seconds=60), id="while-it-is-made"),
    ],
)
def test_a_stream_ends_when_its_reader_leaves(source: Source) -> None:
    with streaming(lambda: StreamedReply(status=200, chunks=source.chunks())) as server:
        with connected(server) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert source.closed.wait(10)
    assert source.given < source.count


def test_a_reader_that_does_not_read_stops_the_making() -> None:
    source = Source(chunk=bytes(1_000_000))
    with streaming(lambda: StreamedReply(status=200, chunks=source.chunks())) as server:
        with connected(server):
            before = -1
            while source.given != before:
                before = source.given
                time.sleep(0.3)
        assert source.closed.wait(10)
    # What sockets buffer, a few megabytes.
    assert 0 < before < 50


def test_a_stream_that_fails_breaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield b"half"
        raise OSError("the disk is gone")

    with (
        streaming(lambda: StreamedReply(status=200, chunks=broken())) as server,
        pytest.raises(httpx.RemoteProtocolError, match="incomplete"),
    ):
        httpx.get(server.url)
    assert "the disk is gone" in caplog.text


def test_one_connection_carries_stream_after_stream() -> None:
    source = Source(chunk=b"x" * 70_000, count=2)

    def reply() -> StreamedReply:
        source.given = 0
        return StreamedReply(status=200, chunks=source.chunks())

    with streaming(reply) as server, httpx.Client(base_url=server.url) as client:
        sizes = [len(client.post("/", content=b"y" * 200_000).content) for _ in range(5)]
    assert sizes == [140_000] * 5
