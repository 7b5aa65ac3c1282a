"""A server in processes of its own: one supervisor, here, and the workers that answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec

import msgspec

from everfit.errors import Invalid
from everfit.kernel import Workspace
from everfit.serving.exchange import clear
from everfit.serving.supervise import Supervisor
from everfit.serving.tasks import Task, settings_of
from everfit.web import listen


def serve(
    workspace: Workspace,
    endpoints: Sequence[str],
    *,
    host: str,
    port: int,
    grpc_port: int | None = None,
    workers: int | None = None,
    poll_seconds: float = 0.5,
    listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve ``endpoints`` on ``host:port`` until SIGTERM or SIGINT; call it on the main thread.

    So many ``workers``, one per core if it is not said, answer in processes of their own; one that
    dies is started again. With a ``grpc_port`` they answer there over gRPC as well. What is being
    answered at the end is finished first. Each worker takes up new plans within ``poll_seconds``,
    and what is noted of requests is logged as often. ``listening`` is told the port once all
    workers answer.

    Raises
    ------
    Refused
        If ``host`` is no loopback address, or this user may not listen on the port.
    Conflict
        If the port is in use.
    Invalid
        If there is no such port, or gRPC is wanted and not installed.
    EverfitError
        If a worker cannot start, what kept it from that.
    """
    cores = usable_cores()
    count = workers or cores
    if grpc_port is not None:
        _need_grpc()
        # Workers share the port: whether others have it shows only before the first listens.
        listen(host, grpc_port, option="--grpc-port").close()
    with listen(host, port) as opened:
        port = opened.getsockname()[1]
        folder = workspace.home / "run" / f"server-{port}"
        clear(folder)
        task = Task(
            home=str(workspace.home),
            settings=settings_of(workspace.settings),
            endpoints=list(endpoints),
            host=host,
            port=port,
            grpc_port=grpc_port,
            number=0,
            folder=str(folder),
            poll_seconds=poll_seconds,
        )
        tasks = [msgspec.structs.replace(task, number=number) for number in range(count)]
        supervisor = Supervisor(opened, tasks, threads=max(1, cores // count))
        supervisor.run(partial(listening, port))


def usable_cores() -> int:
    """Return on how many cores this process may run."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _need_grpc() -> None:
    """Return if gRPC is installed, without loading it; raises Invalid."""
    try:
        missing = [name for name in ("grpc", "google.protobuf") if find_spec(name) is None]
        if missing:
            raise ModuleNotFoundError(f"No module named {missing[0]!r}")
    except ImportError as error:
        raise Invalid(
            f"answering over gRPC needs packages that are not here: {error}",
            hint="Install them with `pip install 'everfit[grpc]'`.",
        ) from error
