"""What work costs: CPU time of a thread and the clock's time, and a process's own figures."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import psutil

from everfit.serving.counts import Process

if TYPE_CHECKING:
    from everfit.serving.traffic import Traffic

MODEL, LOG, LOAD, SHARED = "model", "log", "load", "shared"
GIB = 2**30
_THIS = psutil.Process()


class Metered:
    """A context that tells ``traffic`` what was spent in it, by its thread, on one part.

    What a model computes on threads of its own is not in it; it is shared like all else.
    """

    __slots__ = ("_began", "_cpu", "_part", "_rows", "_traffic")

    def __init__(self, traffic: Traffic, part: str, rows: int = 0) -> None:
        self._traffic, self._part, self._rows = traffic, part, rows

    def __enter__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.thread_time()

    def __exit__(self, *_: object) -> None:
        cpu, took = time.thread_time() - self._cpu, time.perf_counter() - self._began
        self._traffic.spent(self._part, cpu_seconds=cpu, seconds=took, rows=self._rows)


class Loading(Metered):
    """A context in which models are loaded; once it ends well their plan is in use."""

    __slots__ = ("_plan", "_resident")

    def __init__(self, traffic: Traffic, revision: int, versions: Collection[int]) -> None:
        super().__init__(traffic, LOAD)
        self._plan = revision, versions

    def __enter__(self) -> None:
        self._resident = resident_bytes()
        super().__enter__()

    def __exit__(self, kind: object = None, *rest: object) -> None:
        super().__exit__(kind, *rest)
        if kind is None:
            added = max(resident_bytes() - self._resident, 0)
            self._traffic.took_up(*self._plan, added_bytes=added)


class Overhead:
    """Shares among endpoints what the process spent beside what is metered.

    It is shared out each time that ``settle`` is called: CPU time by their requests, so that what
    was spent while nobody asked belongs to nobody; the memory that is of no models, which is held
    all the time, equally.
    """

    def __init__(self, endpoints: Sequence[Traffic]) -> None:
        self._endpoints = endpoints
        self._lock = threading.Lock()
        self._cpu, self._at = time.process_time(), time.monotonic()
        self._before = [(traffic.metered, traffic.noted) for traffic in endpoints]

    def settle(self) -> None:
        """Share out what was spent since the last time."""
        with self._lock:
            cpu = time.process_time()
            after = [(traffic.metered, traffic.noted) for traffic in self._endpoints]
            since = list(zip(self._before, after, strict=True))
            metered = sum(now - then for (then, _), (now, _) in since)
            requests = [now - then for (_, then), (_, now) in since]
            rest, total = max(cpu - self._cpu - metered, 0.0), sum(requests)
            self._cpu, self._before = cpu, after
            for traffic, count in zip(self._endpoints, requests, strict=True):
                if count:
                    traffic.spent(SHARED, cpu_seconds=rest * count / total)
            self._hold()

    def _hold(self) -> None:
        """Add the memory that was held since the last time: as much as there is now."""
        seconds, self._at = time.monotonic() - self._at, time.monotonic()
        models = sum(traffic.model_bytes for traffic in self._endpoints)
        each = max(resident_bytes() - models, 0) / max(len(self._endpoints), 1)
        for traffic in self._endpoints:
            traffic.held((traffic.model_bytes + each) / GIB * seconds)


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(_THIS.memory_info().rss)


def this_process() -> Process:
    """Return the figures of this process."""
    with _THIS.oneshot():
        memory = _THIS.memory_info()
        return Process(
            cpu_seconds=time.process_time(),
            resident_bytes=memory.rss,
            virtual_bytes=memory.vms,
            started=_THIS.create_time(),
            open_files=_THIS.num_fds(),
            most_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            threads=_THIS.num_threads(),
        )
