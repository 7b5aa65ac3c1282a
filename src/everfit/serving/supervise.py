"""The supervisor: starts the workers of a server, again where one ended, and drains them all."""

from __future__ import annotations

import logging
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from everfit import errors
from everfit.errors import EverfitError, Unavailable
from everfit.serving.tasks import Report, Task
from everfit.web import DRAIN_SECONDS

log = logging.getLogger(__name__)

# The module whose ``main`` a worker runs.
WORKER = "everfit.serving.worker"
START = (
    "import sys; sys.path[:] = sys.argv[4:]; from importlib import import_module;"
    "import_module(sys.argv[1]).main(int(sys.argv[2]), int(sys.argv[3]))"
)
# Requests are spread over processes already: threads of one within a request only slow the others.
# Libraries read these when they are loaded.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
# Seconds before a worker that ended is started again: at once, then with time to think.
PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0)
# One that was ready for so long counts as sound: the next pause is the first one again.
SOUND_SECONDS = 30.0
# What uvicorn and gRPC take to end once nothing is being answered any more.
END_SECONDS = 5.0


@dataclass(slots=True, kw_only=True, eq=False)
class Worker:
    """One place among the workers: its task, its present process and how often one has ended.

    ``due`` is when the next process is to be started, in the time of ``time.monotonic``.
    """

    task: Task
    process: subprocess.Popen[bytes] | None = None
    line: socket.socket | None = None
    said: bytearray = field(default_factory=bytearray)
    ready_since: float | None = None
    ended: int = 0
    due: float = 0.0

    @property
    def number(self) -> int:
        """Return its place, counted from 0."""
        return self.task.number


class Supervisor:
    """Keeps the workers of ``tasks`` at a listening socket; ``run`` it on the main thread."""

    def __init__(self, listening: socket.socket, tasks: Sequence[Task], *, threads: int) -> None:
        self._listening = listening
        self._workers = [Worker(task=task) for task in tasks]
        self._limits = [f"{name}={threads}" for name in THREAD_LIMITS]
        self._selector = selectors.DefaultSelector()
        self._stopping = False

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT, then drain; ``ready`` is called once all workers are.

        Raises
        ------
        EverfitError
            If a worker cannot start at all, with what it said. Later one that ends, or cannot
            start again, is started again.
        """
        told = False
        with self._waking_on_signals():
            try:
                while not self._stopping:
                    self._start_due()
                    self._wait()
                    for worker in self._workers:
                        self._look_after(worker, first=not told)
                    if not told and all(worker.ready_since for worker in self._workers):
                        told = True
                        ready()
            finally:
                self._drain()
                self._selector.close()

    @contextmanager
    def _waking_on_signals(self) -> Iterator[None]:
        waking, woken = socket.socketpair()

        def stop(_number: int, _frame: object) -> None:
            self._stopping = True
            with suppress(OSError):
                waking.send(b"!")

        with waking, woken:
            waking.setblocking(False)
            self._selector.register(woken, selectors.EVENT_READ)
            numbers = (signal.SIGTERM, signal.SIGINT)
            previous = {number: signal.signal(number, stop) for number in numbers}
            try:
                yield
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)

    def _start_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if worker.process is None and worker.due <= now:
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        here, there = socket.socketpair()
        with there:
            inherited = (there.fileno(), self._listening.fileno())
            warnings = [f"-W{option}" for option in sys.warnoptions]
            command = ["/usr/bin/env", *self._limits, sys.executable, *warnings, "-c", START]
            worker.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, WORKER, *map(str, inherited), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=inherited,
                # Ctrl-C in a terminal goes to the supervisor alone, which then drains them.
                process_group=0,
            )
        worker.line, worker.said, worker.ready_since = here, bytearray(), None
        with suppress(ConnectionError):  # It has ended already, which shows when it is waited for.
            here.sendall(msgspec.json.encode(worker.task) + b"\n")
        self._selector.register(here, selectors.EVENT_READ, worker)

    def _wait(self) -> None:
        """Wait until a worker says something or ends, one is to be started, or a signal comes."""
        dues = [worker.due for worker in self._workers if worker.process is None]
        pause = max(0.0, min(dues) - time.monotonic()) if dues else None
        for key, _ in self._selector.select(pause):
            worker = key.data
            if worker is None:
                continue
            more = _received(worker.line)
            worker.said += more
            if not more:
                self._let_go(worker)

    def _look_after(self, worker: Worker, *, first: bool) -> None:
        """Take up what a worker said; where it has ended, see to it that another one starts."""
        if worker.ready_since is None and worker.said.endswith(b"\n"):
            report = msgspec.json.decode(worker.said, type=Report)
            if not report.error:
                worker.ready_since = time.monotonic()
        if worker.process is None or worker.line is not None:
            return
        error = _why(worker, _ended(worker.process))
        worker.process = None
        if first:
            raise error
        if worker.ready_since and time.monotonic() - worker.ready_since > SOUND_SECONDS:
            worker.ended = 0
        pause = PAUSES[min(worker.ended, len(PAUSES) - 1)]
        worker.ended += 1
        worker.due = time.monotonic() + pause
        worker.ready_since = None
        when = f"in {pause:g} s" if pause else "at once"
        log.warning("%s; worker %d is started again %s", error.message, worker.number, when)

    def _let_go(self, worker: Worker) -> None:
        if worker.line is not None:
            self._selector.unregister(worker.line)
            worker.line.close()
            worker.line = None

    def _drain(self) -> None:
        """Ask all workers to end, and wait until they have; those that do not are killed."""
        for worker in self._workers:
            self._let_go(worker)
        deadline = time.monotonic() + DRAIN_SECONDS + END_SECONDS
        for worker in self._workers:
            if worker.process is None:
                continue
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker %d did not end by itself, and was killed", worker.number)
                worker.process.kill()
                worker.process.wait()


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(65_536)
    except ConnectionError:
        return b""


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Return the status of a process that has closed its line, which is the last that it does."""
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _why(worker: Worker, status: int) -> EverfitError:
    """Return the error of a worker that ended: its own where it said one."""
    if worker.ready_since is None and worker.said.endswith(b"\n"):
        report = msgspec.json.decode(worker.said, type=Report)
        kind: Any = getattr(errors, report.error)
        error: EverfitError = kind(report.message, hint=report.hint)
        return error
    killed = f"by signal {-status} ({signal.strsignal(-status)})"
    how = killed if status < 0 else f"with status {status}"
    return Unavailable(
        f"worker {worker.number} ended {how}",
        hint="What it printed before says why; start the server again when that is put right.",
    )
