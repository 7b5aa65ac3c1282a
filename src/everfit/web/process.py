"""uvicorn around an ASGI application, as this process or as a thread of it."""

from __future__ import annotations

import math
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Self

import uvicorn

from everfit.web.asgi import Receive, Scope, Send
from everfit.web.loopback import listen
from everfit.web.protocol import Doorkeeper, Patience, connections

DRAIN_SECONDS = 30

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Server:
    """Answers with ``application`` what comes in at a socket.

    What the ``door`` refuses it answers, and the application does not see.
    """

    def __init__(
        self,
        application: Application,
        *,
        door: Doorkeeper | None = None,
        patience: Patience | None = None,
    ) -> None:
        patience = patience or Patience()
        config = uvicorn.Config(
            application,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            http=connections(door, patience),
            timeout_keep_alive=math.ceil(patience.idle),
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

    def __init__(
        self,
        application: Application,
        *,
        door: Doorkeeper | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._server = Server(application, door=door, patience=patience)
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
