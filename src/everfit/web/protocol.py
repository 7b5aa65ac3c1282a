"""uvicorn's HTTP protocol with limits on what its connections may cost.

A request that the application has no room for is refused as soon as its head is there, without
being made into one; whoever sends slowly, reads slowly or says nothing loses the connection.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from everfit.web.asgi import Scope, as_http, plain_error


class Doorkeeper(Protocol):
    """Who is asked about requests before they are let in to the application."""

    def is_open(self, target: bytes) -> bool:
        """Return whether anybody may come in who asks for ``target``; costs next to nothing."""
        ...

    def refusal(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        """Return the whole answer to a POST that is not let in, or None if it is."""
        ...


# Where a call says when the first byte of it was read.
RECEIVED = "everfit.received"
MOST_SWEEP_SECONDS = 1.0
# What a refused body may have to be read and dropped; longer ones are the application's to refuse.
MOST_DROPPED = 64 * 1024
# Files that are no connections: logs, models, databases.
OTHER_FILES = 200
SLOW = as_http(
    plain_error(
        408,
        "request-timeout",
        "the request did not come in time",
        "Send it faster, on a new connection.",
        ((b"connection", b"close"),),
    )
)
CROWDED = as_http(
    plain_error(
        503,
        "unavailable",
        "this server has as many connections as it can hold",
        "Come again later, and keep fewer connections open.",
        ((b"connection", b"close"), (b"retry-after", b"1")),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a connection may take, in seconds, and how many there may be at once.

    ``idle`` between requests, ``head`` for a request's head and for what comes of a body that was
    refused, ``body`` for a body (None: what it takes), ``unread`` while the other end does not
    read. What an answer takes is for the application to bound.
    """

    # As long as common proxies keep theirs, so that they seldom send into one that is closing.
    idle: float = 75
    head: float = 10
    body: float | None = None
    unread: float = 30
    connections: int = 10_000

    @property
    def most(self) -> int:
        """Return how many connections there may be with the files this process may open."""
        files = os.sysconf("SC_OPEN_MAX") if hasattr(os, "sysconf") else 512
        return max(min(self.connections, files - OTHER_FILES), 16)

    @property
    def sweep(self) -> float:
        """Return how often connections are looked at."""
        times = [self.idle, self.head, self.unread, *([] if self.body is None else [self.body])]
        return min(MOST_SWEEP_SECONDS, min(times) / 4)


class Phase(IntEnum):
    """What a connection is about to send."""

    NOTHING = 0
    HEAD = 1
    BODY = 2


class Watch:
    """Looks after all connections of one server, now and then and not once a request."""

    def __init__(self, door: Doorkeeper | None, patience: Patience) -> None:
        self.door = door
        self.patience = patience
        self.most = patience.most
        self._is_due = False

    def begin(self, connections: set[Any]) -> None:
        """Look at the connections in a while, and again as long as there are any."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(self.patience.sweep, self._sweep, connections)

    def make_room(self, connections: set[Any]) -> bool:
        """Close the connection that was idle longest; return whether there was one."""
        idle = [one for one in connections if isinstance(one, Connection) and one.is_idle]
        if not idle:
            return False
        min(idle, key=lambda one: one.since).transport.close()
        return True

    def _sweep(self, connections: set[Any]) -> None:
        self._is_due = False
        now = asyncio.get_running_loop().time()
        for one in list(connections):
            if isinstance(one, Connection):
                one.look_after(now)
        if connections:
            self.begin(connections)


class Connection(HttpToolsProtocol):
    """One connection. ``since`` is the loop's time of its last answer, or when a request began."""

    watch: Watch

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.phase = Phase.NOTHING
        self.since = self.loop.time()
        self.unread_since: float | None = None

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is being sent either way."""
        return self.phase is Phase.NOTHING and self._is_answered and not self.transport.is_closing()

    @property
    def _is_answered(self) -> bool:
        return self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, in the place of an idle one if there are too many."""
        super().connection_made(transport)
        self.cycle = self._answered = self._over()
        self.watch.begin(self.connections)
        if len(self.connections) > self.watch.most and not self.watch.make_room(
            self.connections - {self}
        ):
            transport.write(CROWDED)
            transport.close()

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        self.phase, self.since = Phase.HEAD, self.loop.time()
        super().on_message_begin()
        self.scope[RECEIVED] = time.perf_counter()  # type: ignore[literal-required]

    def on_headers_complete(self) -> None:
        """Answer at once what there is no room for, else let the application do it."""
        self.phase = Phase.BODY
        door = self.watch.door
        if door is not None and not door.is_open(self.url) and self._can_refuse():
            answer = door.refusal(self.url, self.headers)
            if answer is not None:
                self.cycle = self._answered
                self.server_state.total_requests += 1
                self.transport.write(answer)
                return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a request has come whole."""
        self.phase = Phase.NOTHING
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Count the time of an idle connection from its last answer."""
        if self.phase is Phase.NOTHING:
            self.since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the other end does not read."""
        self.unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self.unread_since = None
        super().resume_writing()

    def look_after(self, now: float) -> None:
        """Close the connection if it takes longer than it may."""
        patience, past = self.watch.patience, now - self.since
        if self.transport.is_closing():
            return
        if self.unread_since is not None and now - self.unread_since > patience.unread:
            self.transport.abort()
        elif self.phase is Phase.NOTHING:
            if self._is_answered and past > patience.idle:
                self.transport.close()
        elif self._is_answered:
            if past > patience.head:
                self._end_slow()
        elif self.phase is Phase.BODY and patience.body is not None and past > patience.body:
            self._end_slow()

    def _end_slow(self) -> None:
        """Say why, if that is not in the midst of an answer, and close."""
        if self.phase is Phase.HEAD or not self.cycle.response_started:
            self.transport.write(SLOW)
        # The application hears of it as of any caller who went away.
        self.transport.close()

    def _can_refuse(self) -> bool:
        """Return whether the answer may be written now, and the connection used after it."""
        return (
            self.parser.get_method() == b"POST"
            and self._is_answered
            and not self.flow.write_paused
            and not self.expect_100_continue
            and self.parser.should_keep_alive()
            and self._drops_easily()
        )

    def _drops_easily(self) -> bool:
        for name, value in self.headers:
            if name == b"transfer-encoding" or name == b"upgrade":
                return False
            if name == b"content-length" and int(value) > MOST_DROPPED:
                return False
        return True

    def _over(self) -> RequestResponseCycle:
        """Return a request that is answered: what still comes of one is dropped by uvicorn."""
        cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.response_started = cycle.response_complete = True
        return cycle


def connections(door: Doorkeeper | None, patience: Patience) -> type[Connection]:
    """Return the class of the connections of one server."""
    return type("Connection", (Connection,), {"watch": Watch(door, patience)})


def received(scope: Scope) -> float:
    """Return when the first byte of a call was read, in ``time.perf_counter``'s seconds.

    A request whose bytes wait behind others in the event loop has been waiting since then; what
    waits in the kernel, because the loop does not come to reading, cannot be seen from here.
    """
    return float(scope.get(RECEIVED) or time.perf_counter())
