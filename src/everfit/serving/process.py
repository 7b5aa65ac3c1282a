"""The endpoints of one process, polling for new plans, and a server of them on a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from everfit.kernel import Workspace
from everfit.serving.app import App
from everfit.serving.core import ModelServer
from everfit.serving.exchange import Exchange
from everfit.serving.model import Bounds
from everfit.serving.observed import Observation
from everfit.serving.undisturbed import undisturbed
from everfit.web import Background, Patience

log = logging.getLogger(__name__)


class Endpoints:
    """Endpoints behind one application. Closing it closes their logs.

    In a ``folder`` it finds what other workers of the same server have counted.
    """

    def __init__(
        self,
        workspace: Workspace,
        names: Sequence[str],
        *,
        writer: str,
        durable: bool = True,
        bounds: Bounds | None = None,
        folder: Path | None = None,
    ) -> None:
        bounds = bounds or Bounds(body_bytes=workspace.settings.max_body_bytes)
        self.servers: dict[str, ModelServer] = {}
        with ExitStack() as opened:
            for name in names:
                server = ModelServer(workspace, name, writer=writer, durable=durable, bounds=bounds)
                self.servers[name] = opened.enter_context(server)
            exchange = Exchange(folder, writer) if folder else None
            self.app = App(workspace, self.servers, bounds, exchange=exchange)
            self.patience = Patience(head=bounds.read_seconds, body=bounds.read_seconds)
            opened.callback(self.app.close)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Stop the threads, then close the logs."""
        with suppress(OSError):
            self.app.observed.tell()
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
                if server.waking.is_under_way:
                    continue  # It would be waited for; the others come first.
                try:
                    with undisturbed():
                        server.refresh()
                except Exception:
                    # A full disk, say: the next round takes the plan up all the same.
                    log.exception("endpoint %s was not refreshed", server.endpoint)
            with suppress(OSError):  # A full disk: the next round tells it all the same.
                self.app.observed.tell()


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
