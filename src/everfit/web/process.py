"""uvicorn around an ASGI application, as this process or as a thread of it."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Self

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from everfit.web.asgi import Receive, Scope, Send
from everfit.web.loopback import listen

DRAIN_SECONDS = 30

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# Where a call says when the first byte of it was read.
RECEIVED = "everfit.received"


class _Stamping(AutoHTTPProtocol):  # type: ignore[valid-type,misc]
    """uvicorn's protocol, which notes in the scope of each call when it began to be read."""

    def on_message_begin(self) -> None:
        """Begin a message."""
        super().on_message_begin()
        self.scope[RECEIVED] = time.perf_counter()


def received(scope: Scope) -> float:
    """Return when the first byte of a call was read, in ``time.perf_counter``'s seconds.

    A request whose bytes wait behind others in the event loop has been waiting since then; what
    waits in the kernel, because the loop does not come to reading, cannot be seen from here.
    """
    return float(scope.get(RECEIVED) or time.perf_counter())


class Server:
    """Answers with ``application`` what comes in at a socket."""

    def __init__(self, application: Application) -> None:
        config = uvicorn.Config(
            application,
            http=_Stamping,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        self._uvicorn = uvicorn.Server(config)

    def run(self, listening: socket.socket) -> None:
        """Answer until ``stop`` is called, then finish what is being answered."""
        self._uvicorn.run(sockets=[listening])

    def stop(self) -> None:
        """Ask ``run`` to end."""
        self._uvicorn.should_exit = True


class Background:
    """Answers with ``application`` at ``url``, a free port, on a thread of this process."""

    def __init__(self, application: Application) -> None:
        self._server = Server(application)
        self._listening = listen("127.0.0.1", 0)
        self.url = "http://{}:{}".format(*self._listening.getsockname())
        self._thread = threading.Thread(
            target=self._server.run, args=(self._listening,), name="serve", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        # The socket listens already: a request sent before the loop runs waits in its backlog.
        self._thread.start()

    def close(self) -> None:
        """Finish what is being answered, then end the thread and close the socket."""
        self._server.stop()
        self._thread.join()
        self._listening.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def stopping_on_signals(server: Server) -> Iterator[None]:
    """End ``server`` on SIGTERM and SIGINT; call it on the main thread.

    uvicorn handles them as well, but raises them again once it is done: without handlers of our
    own that would end the process before its logs are closed.
    """
    previous = {
        number: signal.signal(number, lambda _number, _frame: server.stop())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
