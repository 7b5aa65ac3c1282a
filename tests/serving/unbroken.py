"""A load generator in a process of its own, which keeps every answer: who gave it, and when.

Each connection sends its next request as soon as the last one is answered. A connection stays with
one worker, so what it is told in turn one worker said in turn.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from bench.serving.load import CLOSED, Wire

clock = time.monotonic  # the same for all processes
BROKEN = -1  # what is said once no connection is left


@dataclass(frozen=True, slots=True)
class Told:
    """One answer: which connection it came on, when it was asked for and came, and what it says."""

    connection: int
    asked: float
    came: float
    status: int
    version: int
    prediction: object
    id: str

    @property
    def seconds(self) -> float:
        return self.came - self.asked


@dataclass(kw_only=True)
class Generator:
    """The process's side of ``Load``: asks until it hears from the other side, or all broke off."""

    port: int
    requests: Sequence[bytes]
    line: Connection
    connections: int
    least: int = 0
    wires: dict[int, tuple[int, Wire]] = field(default_factory=dict)
    asked: dict[int, float] = field(default_factory=dict)
    latest: dict[int, int] = field(default_factory=dict)
    broken: int = 0
    told: list[Told] = field(default_factory=list)

    def run(self) -> None:
        poll = select.epoll()
        poll.register(self.line, select.EPOLLIN)
        for number in range(self.connections):
            wire = Wire(self.port)
            poll.register(wire.socket, select.EPOLLIN)
            self.wires[wire.socket.fileno()] = number, wire
            # One after the other, and at work at once: so both of two workers get some of them.
            self._send(number, wire)
            self._answers(poll, 0.02)
        while self.wires and not self.line.poll():
            self._answers(poll, 1.0)
        if not self.wires:
            self.line.send(BROKEN)
        self.line.poll(None)
        self.line.send((self.told, self.broken))

    def _answers(self, poll: select.epoll, seconds: float) -> None:
        for file, _ in poll.poll(seconds):
            if file not in self.wires:
                continue
            number, wire = self.wires[file]
            try:
                answer = wire.take()
                if answer == CLOSED:
                    raise ConnectionResetError
                if answer is not None:
                    self._note(number, answer, clock())
                    self._send(number, wire)
            except ConnectionError:
                self.broken += 1
                poll.unregister(file)
                del self.wires[file]
                wire.socket.close()

    def _send(self, number: int, wire: Wire) -> None:
        self.asked[number] = clock()
        wire.socket.sendall(self.requests[number % len(self.requests)])

    def _note(self, number: int, answer: bytes, now: float) -> None:
        status, said = int(answer[9:12]), dict[str, object]()
        if status == 200:
            [said] = json.loads(answer[answer.index(b"\r\n\r\n") :])["predictions"]
        version = int(str(said.get("version", 0)))
        one = Told(
            number,
            self.asked[number],
            now,
            status,
            version,
            said.get("prediction"),
            str(said.get("id")),
        )
        self.told.append(one)
        self.latest[number] = version
        least = min(self.latest.values())
        if len(self.latest) == self.connections and least > self.least:
            self.least = least
            self.line.send(least)


@dataclass
class Load:
    """What a generator is asked and tells: call ``ended`` for all that it was answered."""

    line: Connection
    least: int = 0

    def wait_for(self, version: int, seconds: float = 30.0) -> None:
        """Return once every connection was last answered by ``version`` or a later one."""
        deadline = clock() + seconds
        while self.least < version:
            assert self.line.poll(deadline - clock()), f"version {version} is not taken up"
            self.least = self.line.recv()

    def wait_until_broken(self, seconds: float = 30.0) -> None:
        """Return once every connection was broken off."""
        while self.line.poll(seconds) and self.line.recv() != BROKEN:
            continue

    def ended(self) -> tuple[list[Told], int]:
        """Return every answer, and how many connections were broken off."""
        self.line.send(None)
        while isinstance(found := self.line.recv(), int):
            continue
        told, broken = found
        return told, broken


@contextmanager
def load(port: int, requests: Sequence[bytes], *, connections: int) -> Iterator[Load]:
    """Ask at a port over so many connections, without a pause, until the block ends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_run, args=(port, requests, connections, there))
    process.start()
    try:
        yield Load(here)
    finally:
        process.kill()
        process.join()


def _run(port: int, requests: Sequence[bytes], connections: int, line: Connection) -> None:
    gc.disable()  # It would look through all that was told, while answers wait.
    Generator(port=port, requests=requests, connections=connections, line=line).run()
