"""Model servers as a process or a thread: polling for new plans, draining at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Self

from everfit.errors import Invalid
from everfit.kernel import Workspace
from everfit.serving.app import App
from everfit.serving.core import ModelServer
from everfit.serving.model import Bounds
from everfit.serving.observed import Observation
from everfit.web import Background, Patience, Server, listen, stopping_on_signals

if TYPE_CHECKING:
    from everfit.serving.rpc import RpcServer

log = logging.getLogger(__name__)


class Endpoints:
    """Endpoints behind one application. Closing it closes their logs."""

    def __init__(
        self,
        workspace: Workspace,
        names: Sequence[str],
        *,
        writer: str,
        durable: bool = True,
        bounds: Bounds | None = None,
    ) -> None:
        bounds = bounds or Bounds(body_bytes=workspace.settings.max_body_bytes)
        self.servers: dict[str, ModelServer] = {}
        with ExitStack() as opened:
            for name in names:
                server = ModelServer(workspace, name, writer=writer, durable=durable, bounds=bounds)
                self.servers[name] = opened.enter_context(server)
            self.app = App(workspace, self.servers, bounds)
            self.patience = Patience(head=bounds.read_seconds, body=bounds.read_seconds)
            opened.callback(self.app.close)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Stop the threads, then close the logs."""
        self._opened.close()

    def refresh(self) -> None:
        """Take up the present plans."""
        self.app.observed.settle()
        for server in self.servers.values():
            server.refresh()

    def poll(self, stop: threading.Event, seconds: float) -> None:
        """Take up new plans every so many seconds until ``stop`` is set."""
        while not stop.wait(seconds):
            self.app.observed.settle()
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
    grpc_port: int | None = None,
    poll_seconds: float = 0.5,
    listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve ``endpoints`` on ``host:port`` until SIGTERM or SIGINT; call it on the main thread.

    With a ``grpc_port`` they are served there over gRPC as well. What is being answered at the
    end is finished first. New plans are taken up within ``poll_seconds``, and what is noted of
    requests is logged as often. ``listening`` is told the port once requests can come.

    Raises
    ------
    Refused
        If ``host`` is no loopback address, or this user may not listen on the port.
    Conflict
        If the port is in use.
    Invalid
        If there is no such port, or gRPC is wanted and not installed.
    """
    rpc = None if grpc_port is None else partial(_rpc(), host=host, port=grpc_port)
    with listen(host, port) as opened, ExitStack() as stack:
        served = Endpoints(workspace, endpoints, writer=f"server-{port}")
        stack.callback(served.close)
        if rpc is not None:
            stack.enter_context(rpc(workspace, served.servers, served.app.bounds))
        server = Server(served.app, door=served.app.door, patience=served.patience)
        listening(opened.getsockname()[1])
        stop = threading.Event()
        poller = threading.Thread(target=served.poll, args=(stop, poll_seconds), name="poll")
        poller.start()
        try:
            with stopping_on_signals(server):
                server.run(opened)
        finally:
            stop.set()
            poller.join()


def _rpc() -> type[RpcServer]:
    """Return the gRPC server, which nobody has to have installed who does not use it."""
    try:
        found: type[RpcServer] = import_module("everfit.serving.rpc").RpcServer
    except ImportError as error:
        raise Invalid(
            f"answering over gRPC needs packages that are not here: {error}",
            hint="Install them with `pip install 'everfit[grpc]'`.",
        ) from error
    return found


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
        self._endpoints = Endpoints(
            workspace, endpoints, writer="background", durable=durable, bounds=bounds
        )
        served = self._endpoints
        self._server = Background(served.app, door=served.app.door, patience=served.patience)
        self.url = self._server.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._endpoints.close()

    def refresh(self) -> None:
        """Take up the present plans of all endpoints, and log what was noted of requests."""
        self._endpoints.refresh()

    def server(self, endpoint: str) -> ModelServer:
        """Return the model server of ``endpoint``."""
        return self._endpoints.servers[endpoint]

    @property
    def observed(self) -> Observation:
        """Return what is counted."""
        return self._endpoints.app.observed

    @property
    def in_flight(self) -> int:
        """Return how many requests are being answered."""
        return self._endpoints.app.in_flight
