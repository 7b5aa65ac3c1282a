"""A load generator: many keep-alive connections from one thread, closed or open loop.

Closed: each connection sends its next request when the last one is answered, which finds the
capacity. Open: requests are due at set times whatever became of those before, and latency counts
from then, so that a server which stands still pays for all who came meanwhile.
"""

from __future__ import annotations

import re
import select
import socket
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

from bench.serving.schedule import REFUSALS, Report, Tally
from bench.tracking.wire import HOST

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
PIECE = 1 << 17
AT_ONCE = 64  # requests sent in a row before answers are looked at
SPIN_SECONDS = 0.002  # a shorter wait is spent looking: epoll counts in milliseconds
RAMP_SECONDS = 0.5
GRACE_SECONDS = 2.0  # for what is under way when a run ends
CLOSED = b""

clock = time.perf_counter


@dataclass(slots=True, eq=False)
class Wire:
    """One connection, with the request that it waits for: when it was due."""

    port: int
    socket: socket.socket = field(init=False)
    due: float = 0.0
    rest: bytearray = field(default_factory=bytearray)
    needed: int = 0  # bytes of the answer, once its head is there

    def __post_init__(self) -> None:
        self.socket = socket.create_connection((HOST, self.port), timeout=GRACE_SECONDS)
        # Sending waits where a large request does not fit; receiving only follows epoll's word.
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def take(self) -> bytes | None:
        """Return the answer, ``CLOSED``, or None while more of it has to come."""
        data = self.socket.recv(PIECE)
        if not data:
            return CLOSED
        if not self.needed and not self.rest:
            end = data.find(b"\r\n\r\n")
            if end > 0 and len(data) == end + 4 + _length(data, end):
                return data
        return self._more(data)

    def _more(self, data: bytes) -> bytes | None:
        self.rest += data
        if not self.needed:
            end = self.rest.find(b"\r\n\r\n")
            if end < 0:
                return None
            self.needed = end + 4 + _length(bytes(self.rest[: end + 2]), end)
        if len(self.rest) < self.needed:
            return None
        whole, self.rest, self.needed = bytes(self.rest), bytearray(), 0
        return whole


def _length(data: bytes, end: int) -> int:
    found = LENGTH.search(data, 0, end)
    if found is None:
        raise ValueError(f"an answer without Content-Length: {data[:200]!r}")
    return int(found[1])


class Wires:
    """Open connections and what they wait for."""

    def __init__(self, port: int, count: int, requests: Sequence[bytes], tally: Tally) -> None:
        self.port, self.tally = port, tally
        self._turns: Iterator[bytes] = cycle(requests)
        self._poll = select.epoll()
        self._wires: dict[int, Wire] = {}
        self.free: list[Wire] = [self._opened() for _ in range(count)]

    @property
    def busy(self) -> int:
        """Return how many requests wait for their answer."""
        return len(self._wires) - len(self.free)

    def send(self, wire: Wire, due: float) -> None:
        """Send the next request, which was due then."""
        wire.due = due
        try:
            wire.socket.sendall(next(self._turns))
        except ConnectionError:
            self._broken(wire)

    def answers(self, seconds: float) -> Iterator[Wire]:
        """Yield each connection whose request is answered, once it is counted."""
        for number, _ in self._poll.poll(seconds):
            wire = self._wires[number]
            try:
                answer = wire.take()
            except ConnectionError:
                answer = CLOSED
            if answer is None:
                continue
            if answer == CLOSED:
                self._broken(wire)
                continue
            status = int(answer[9:12])
            hinted = status in REFUSALS and b"\r\nretry-after:" in answer.lower()
            self.tally.note(status, wire.due, clock(), hinted=hinted)
            yield wire

    def close(self) -> None:
        """Close every connection."""
        for wire in self._wires.values():
            wire.socket.close()
        self._poll.close()

    def _opened(self) -> Wire:
        wire = Wire(self.port)
        self._wires[wire.socket.fileno()] = wire
        self._poll.register(wire.socket.fileno(), select.EPOLLIN)
        return wire

    def _broken(self, wire: Wire) -> None:
        """Count what it waited for as failed and open another in its place."""
        if wire in self.free:
            self.free.remove(wire)
        else:
            self.tally.broken += 1
        self._poll.unregister(wire.socket.fileno())
        del self._wires[wire.socket.fileno()]
        wire.socket.close()
        self.free.append(self._opened())


def closed(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Report:
    """Keep every connection busy for so long, and a moment before in which nothing is counted.

    Who is answered first then was sent before: else every connection's last request, which is
    answered later, would be missing from the rate of a slow server.
    """
    wires = Wires(port, connections, requests, Tally())
    try:
        _busy(wires, clock() + min(seconds, RAMP_SECONDS))
        wires.tally = Tally()
        cpu, began, waiting = time.process_time(), clock(), wires.busy
        sent = _busy(wires, began + seconds)
        used = time.process_time() - cpu
        return wires.tally.report(waiting + sent, clock() - began, used)
    finally:
        wires.close()


def _busy(wires: Wires, end: float) -> int:
    """Keep every connection busy until then; return how many requests were sent."""
    sent = 0
    while (now := clock()) < end:
        while wires.free:
            wires.send(wires.free.pop(), now)
            sent += 1
        for wire in wires.answers(end - now):
            wires.send(wire, clock())
            sent += 1
    return sent


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Requests that come when they come: their times, and what the callers put up with.

    Where ``queued``, a request waits in the client until a connection is free, and its latency
    says so; else it is not sent at all and counts as lost. What is answered after ``patience``
    seconds was answered, but not in time.
    """

    due: array[float]
    connections: int
    patience: float
    queued: bool


def arriving(port: int, requests: Sequence[bytes], arrivals: Arrivals) -> Report:
    """Send each request when it is due, whatever became of the others."""
    tally = Tally(patience=arrivals.patience)
    wires = Wires(port, arrivals.connections, requests, tally)
    try:
        return _arriving(wires, arrivals)
    finally:
        wires.close()


def _arriving(wires: Wires, arrivals: Arrivals) -> Report:
    due, began, at = arrivals.due, clock() + 0.01, 0
    last = due[-1] if due else 0.0
    wires.tally.since, wires.tally.until = began + last / 3, began + last
    over = began + last + max(arrivals.patience, GRACE_SECONDS)
    while (at < len(due) or wires.busy) and clock() < over:
        at = _send_due(wires, arrivals, at, began)
        ahead = began + due[at] - clock() if at < len(due) else GRACE_SECONDS
        waiting = ahead <= 0 and not wires.free
        pause = 0.001 if waiting else max(ahead - SPIN_SECONDS, 0)
        wires.free.extend(wires.answers(min(pause, 0.05)))
    wires.tally.unsent += len(due) - at
    return wires.tally.report(len(due), last)


def _send_due(wires: Wires, arrivals: Arrivals, at: int, began: float) -> int:
    """Send what is due and return the place of the first request that is not."""
    due, tally = arrivals.due, wires.tally
    for _ in range(AT_ONCE):
        if at == len(due) or (late := clock() - began - due[at]) < 0:
            break
        if wires.free:
            tally.late.append(late)
            wires.send(wires.free.pop(), began + due[at])
        elif arrivals.queued:
            break
        else:
            tally.unsent += 1
        at += 1
    return at
