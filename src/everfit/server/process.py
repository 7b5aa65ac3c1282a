"""The control plane as a process, or on a thread of one."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from everfit.kernel import Committer, Workspace
from everfit.server.app import ControlPlane
from everfit.tracking import ensure_default
from everfit.web import Background, Server, listen, stopping_on_signals

# So many objects more than were let go of make the collector look for cycles among them.
GARBAGE = 50_000


def serve_control_plane(
    workspace: Workspace,
    *,
    host: str,
    port: int,
    listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Answer on ``host:port`` until SIGTERM or SIGINT; call it on the main thread.

    What is being answered then is finished first. ``listening`` is told the port once requests
    can come.

    Raises
    ------
    Refused, Conflict, Invalid, Unavailable
        If it cannot listen there: ``host`` must be a loopback address.
    """
    with listen(host, port) as opened, ExitStack() as stack:
        server = Server(_application(workspace, stack))
        # What was loaded to start stays: the collector need not look through it again and again.
        # A page of runs is made of some ten thousand objects, none of them in a cycle.
        gc.freeze()
        gc.set_threshold(GARBAGE)
        listening(opened.getsockname()[1])
        with stopping_on_signals(server):
            server.run(opened)


class BackgroundControlPlane:
    """The same on a thread of this process, at a free port: for tests."""

    def __init__(self, workspace: Workspace) -> None:
        self._stack = ExitStack()
        self._background = Background(_application(workspace, self._stack))
        self.url = self._background.url

    def __enter__(self) -> Self:
        self._background.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._background.close()
        self._stack.close()


def _application(workspace: Workspace, stack: ExitStack) -> ControlPlane:
    with workspace.transaction() as tx:
        ensure_default(tx)
    committer = stack.enter_context(Committer(workspace))
    plane = ControlPlane(workspace, committer)
    stack.callback(plane.close)
    return plane
