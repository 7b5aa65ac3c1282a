"""An HTTP client that costs next to nothing, and processes that send with it at the same time.

Head and body leave in one write and Nagle's algorithm is off, so that no server is charged for a
delayed acknowledgement. Only the standard library is imported: the processes start quickly.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

HOST = "127.0.0.1"
API = "/api/2.0/mlflow"
STARTING_SECONDS = 120
ANSWER_SECONDS = 600
PIECE = 1 << 20


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes


class Driven(NamedTuple):
    """What one client got done; the times are of the machine's monotonic clock."""

    done: int
    refused: int
    started: float
    ended: float


def post(path: str, body: bytes, media: str = "application/json") -> bytes:
    """Return the bytes of a POST, head and body together; answers of the same type are taken."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {media}\r\nAccept: {media}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str, **query: object) -> bytes:
    """Return the bytes of a GET."""
    question = f"?{urlencode(query, doseq=True)}" if query else ""
    return f"GET {path}{question} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


class Connection:
    """One keep-alive connection: a request is answered before the next one is sent."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, request: bytes) -> Answer:
        """Send a request and return its answer."""
        self._socket.sendall(request)
        return self._answer()

    def call(self, path: str, **fields: object) -> dict[str, Any]:
        """Return the JSON that a POST of these fields is answered with."""
        return _decoded(path, self.send(post(path, json.dumps(fields).encode())))

    def ask(self, path: str, **query: object) -> dict[str, Any]:
        """Return the JSON that a GET is answered with."""
        return _decoded(path, self.send(get(path, **query)))

    def upload(self, path: str, file: Path) -> Answer:
        """PUT a file."""
        length = file.stat().st_size
        kind = "Content-Type: application/octet-stream"
        head = f"PUT {path} HTTP/1.1\r\nHost: {HOST}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n"
        with file.open("rb") as content:
            self._socket.sendall(head.encode())
            self._socket.sendfile(content)
        return self._answer()

    def download(self, path: str) -> int:
        """GET a file, drop its content and return how many bytes came."""
        self._socket.sendall(get(path))
        head, rest = self._head()
        if _status(head) != 200:
            raise ConnectionError(f"{path} was answered with {head.decode()!r}")
        length = _length(head)
        if length is None:
            return len(self._chunked(rest))
        room, came = memoryview(bytearray(PIECE)), len(rest)
        while came < length:
            came += self._some(self._socket.recv_into(room))
        return came

    def _answer(self) -> Answer:
        head, body = self._head()
        length = _length(head)
        if length is None:
            return Answer(_status(head), self._chunked(body))
        while len(body) < length:
            body += self._received()
        return Answer(_status(head), bytes(body))

    def _head(self) -> tuple[bytes, bytearray]:
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._received()
        return bytes(data[:end]).lower(), data[end + 4 :]

    def _chunked(self, data: bytearray) -> bytes:
        content = bytearray()
        while True:
            while (end := data.find(b"\r\n")) < 0:
                data += self._received()
            size = int(data[:end], 16)
            while len(data) < end + 2 + size + 2:
                data += self._received()
            content += data[end + 2 : end + 2 + size]
            del data[: end + 2 + size + 2]
            if size == 0:
                return bytes(content)

    def _received(self) -> bytes:
        data = self._socket.recv(PIECE)
        self._some(len(data))
        return data

    @staticmethod
    def _some(count: int) -> int:
        if count == 0:
            raise ConnectionError("the server closed the connection before its answer was complete")
        return count


def _status(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


def _length(head: bytes) -> int | None:
    """Return the body's length in bytes; nothing if it comes in chunks."""
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if found:
        return int(rest.partition(b"\r\n")[0])
    return None if b"\r\ntransfer-encoding:" in head else 0


def _decoded(path: str, answer: Answer) -> dict[str, Any]:
    if answer.status != 200:
        raise ConnectionError(f"{path} was answered with {answer.status}: {answer.body[:500]!r}")
    return dict(json.loads(answer.body))


def drive(port: int, requests: Iterable[bytes], seconds: float) -> Driven:
    """Send one request after the other until the seconds are over or there are no more."""
    done = refused = 0
    with Connection(port) as connection:
        started = ended = time.perf_counter()
        for request in requests:
            if connection.send(request).status == 200:
                done += 1
            else:
                refused += 1
            ended = time.perf_counter()
            if ended - started >= seconds:
                break
    return Driven(done, refused, started, ended)


class Clients:
    """Processes that wait for each other and then all begin at once."""

    def __init__(self, count: int) -> None:
        self.count = count
        context = multiprocessing.get_context("spawn")
        self._barrier = context.Barrier(count + 1)
        self._pool = context.Pool(count, initializer=_enter, initargs=(self._barrier,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pool.terminate()
        self._pool.join()

    def run(
        self, jobs: Sequence[Callable[[], Callable[[], Driven]]], ready: Callable[[], None]
    ) -> list[Driven]:
        """Run a job in each process and return what each did.

        A job is called to make itself ready and returns what is to be done; ``ready`` is called
        when all are ready and none has begun.
        """
        assert len(jobs) == self.count
        pending = self._pool.map_async(_at_once, jobs, chunksize=1)
        self._barrier.wait(STARTING_SECONDS)
        ready()
        self._barrier.wait(STARTING_SECONDS)
        return pending.get()


_gate: list[Barrier] = []


def _enter(barrier: Barrier) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its processes itself
    _gate.append(barrier)


def _at_once(job: Callable[[], Callable[[], Driven]]) -> Driven:
    work = job()
    for _ in range(2):
        _gate[0].wait(STARTING_SECONDS)
    return work()


def prepared(
    port: int, requests: Callable[[], Iterable[bytes]], seconds: float
) -> Callable[[], Driven]:
    """Build the requests now and return what sends them."""
    return partial(drive, port, requests(), seconds)
