"""Model servers as a process or a thread: socket, polling for new plans, draining at the end."""

from __future__ import annotations

import errno
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

import uvicorn

from everfit.errors import Conflict, EverfitError, Invalid, Refused, Unavailable
from everfit.kernel import Workspace
from everfit.serving.app import App
from everfit.serving.core import ModelServer
from everfit.serving.model import Bounds

DRAIN_SECONDS = 30
MAX_PORT = 65_535


log = logging.getLogger(__name__)


class HttpServer:
    """Endpoints behind one socket. Closing it closes their logs."""

    def __init__(
        self,
        workspace: Workspace,
        endpoints: Sequence[str],
        *,
        writer: str,
        durable: bool = True,
        bounds: Bounds | None = None,
    ) -> None:
        bounds = bounds or Bounds(body_bytes=workspace.settings.max_body_bytes)
        self.servers: dict[str, ModelServer] = {}
        with ExitStack() as opened:
            for name in endpoints:
                server = ModelServer(workspace, name, writer=writer, durable=durable, bounds=bounds)
                self.servers[name] = opened.enter_context(server)
            self.app = App(workspace, self.servers, bounds)
            opened.callback(self.app.close)
            self._opened = opened.pop_all()
        config = uvicorn.Config(
            self.app,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        self._uvicorn = uvicorn.Server(config)

    def close(self) -> None:
        """Stop the threads, then close the logs."""
        self._opened.close()

    def run(self, listening: socket.socket) -> None:
        """Answer until ``stop`` is called, then finish what is being answered."""
        self._uvicorn.run(sockets=[listening])

    def stop(self) -> None:
        """Ask ``run`` to end."""
        self._uvicorn.should_exit = True

    def refresh(self) -> None:
        """Take up the present plans."""
        for server in self.servers.values():
            server.refresh()

    def poll(self, stop: threading.Event, seconds: float) -> None:
        """Take up new plans every so many seconds until ``stop`` is set."""
        while not stop.wait(seconds):
            for server in self.servers.values():
                try:
                    server.refresh()
                except Exception:
                    # A full disk, say: the next round takes the plan up all the same.
                    log.exception("endpoint %s was not refreshed", server.endpoint)


def serve(
    workspace: Workspace,
    endpoints: Sequence[str],
    *,
    host: str,
    port: int,
    poll_seconds: float = 0.5,
    listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve ``endpoints`` on ``host:port`` until SIGTERM or SIGINT; call it on the main thread.

    What is being answered then is finished first. New plans are taken up within
    ``poll_seconds``, and what is noted of requests is logged as often. ``listening`` is told the
    port once requests can come.

    Raises
    ------
    Refused
        If ``host`` is no loopback address, or this user may not listen on the port.
    Conflict
        If the port is in use.
    Invalid
        If there is no such port.
    """
    with listen(host, port) as opened:
        server = HttpServer(workspace, endpoints, writer=f"server-{port}")
        listening(opened.getsockname()[1])
        stop = threading.Event()
        poller = threading.Thread(target=server.poll, args=(stop, poll_seconds), name="poll")
        poller.start()
        try:
            with _stopping_on_signals(server):
                server.run(opened)
        finally:
            stop.set()
            poller.join()
            server.close()


@contextmanager
def _stopping_on_signals(server: HttpServer) -> Iterator[None]:
    """End ``server`` on SIGTERM and SIGINT.

    uvicorn handles them as well, but raises them again once it is done: without handlers of our
    own that would end the process before the logs are closed.
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


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a loopback address; raises as ``serve`` does."""
    if not _is_loopback(host):
        raise Refused(
            f"{host} can be reached from other machines, and this server asks nobody who they are",
            hint="Use 127.0.0.1, and put a proxy with access control in front of it.",
            host=host,
        )
    if not 0 <= port <= MAX_PORT:
        raise Invalid(
            f"{port} is no port",
            hint=f"Choose one from 1 to {MAX_PORT} with --port; those below 1024 need rights.",
            port=port,
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise _why_not(error, host, port) from error
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _why_not(error: OSError, host: str, port: int) -> EverfitError:
    if error.errno == errno.EADDRINUSE:
        hint = f"Stop the process that listens on {port}, or choose another one with --port."
        return Conflict(f"port {port} on {host} is in use", hint=hint, port=port)
    if error.errno == errno.EACCES:
        hint = "Choose a port above 1023 with --port."
        return Refused(f"this user may not listen on port {port}", hint=hint, port=port)
    return Unavailable(f"cannot listen on {host}:{port}: {error}", hint="Check the address.")


class BackgroundServer:
    """The same server on a thread of this process, at a free port: for replay and for tests.

    It takes up a new plan when ``refresh`` is called, and its time is the workspace's clock.
    """

    def __init__(
        self,
        workspace: Workspace,
        endpoints: Sequence[str],
        *,
        durable: bool = True,
        bounds: Bounds | None = None,
    ) -> None:
        self._listening = listen("127.0.0.1", 0)
        self.url = "http://{}:{}".format(*self._listening.getsockname())
        self._http = HttpServer(
            workspace, endpoints, writer="background", durable=durable, bounds=bounds
        )
        self._thread = threading.Thread(
            target=self._http.run, args=(self._listening,), name="serve", daemon=True
        )

    def __enter__(self) -> Self:
        # The socket listens already: a request sent before the loop runs waits in its backlog.
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.stop()
        self._thread.join()
        self._http.close()
        self._listening.close()

    def refresh(self) -> None:
        """Take up the present plans of all endpoints, and log what was noted of requests."""
        self._http.refresh()

    def server(self, endpoint: str) -> ModelServer:
        """Return the model server of ``endpoint``."""
        return self._http.servers[endpoint]

    @property
    def in_flight(self) -> int:
        """Return how many requests are being answered."""
        return self._http.app.in_flight
