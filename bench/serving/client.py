"""The process that sends: apart from the servers, on a core of its own where there are two."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Sequence
from multiprocessing.pool import AsyncResult
from types import TracebackType
from typing import Self

from bench.serving.load import Arrivals, arriving, closed
from bench.serving.schedule import Report


def cores() -> tuple[int, int] | None:
    """Return the core of the server and that of the client, or None where there is one for both."""
    if shutil.which("taskset") is None:  # and no Linux, most likely
        return None
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[1]) if len(mine) > 1 else None


class Client:
    """One process with the load generator in it; it does one thing at a time."""

    def __init__(self, core: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = context.Pool(1, initializer=_enter, initargs=(core,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pool.terminate()
        self._pool.join()

    def closed(
        self, port: int, requests: Sequence[bytes], *, connections: int, seconds: float
    ) -> Report:
        """Keep so many connections busy for so long."""
        return self._pool.apply(closed, (port, requests, connections, seconds))

    def arriving(self, port: int, requests: Sequence[bytes], arrivals: Arrivals) -> Report:
        """Send requests when they are due."""
        return self.begin(port, requests, arrivals).get()

    def begin(
        self, port: int, requests: Sequence[bytes], arrivals: Arrivals
    ) -> AsyncResult[Report]:
        """Begin to send requests when they are due."""
        return self._pool.apply_async(arriving, (port, requests, arrivals))


def _enter(core: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its processes itself
    if core is not None:
        os.sched_setaffinity(0, {core})
