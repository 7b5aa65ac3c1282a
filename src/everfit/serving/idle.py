"""Endpoints that nobody asks let go of their models, and load them for whoever asks next."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn

import polars as pl

from everfit.errors import Unavailable
from everfit.packages import Signature
from everfit.serving.load import Loaded
from everfit.serving.score import Version


@dataclass(slots=True, kw_only=True, eq=False)
class Absent:
    """Stands for a model that is not in memory: what it takes and gives is known all the same."""

    signature: Signature

    def predict_both(self, _frame: pl.DataFrame) -> NoReturn:
        """Raise Unavailable."""
        raise Unavailable("the model is not in memory", hint="Load it first: `ModelServer.awake`.")


def asleep(loaded: Loaded) -> Loaded:
    """Return the same plan without its models: rows are read by it, and it describes itself."""
    candidate = loaded.candidate
    if candidate is not None and candidate.loaded is not None:
        candidate = replace(candidate, loaded=_absent(candidate.loaded))
    champion = _absent(loaded.champion)
    return replace(loaded, champion=champion, candidate=candidate, is_awake=False)


def _absent(version: Version) -> Version:
    return replace(version, model=Absent(signature=version.model.signature), by_arrays=None)


class Waking:
    """Loads on a thread of its own, once for all who wait for it; any thread may ask.

    A load that fails tells so to those who wait for it; whoever asks next begins another one.
    """

    def __init__(self, load: Callable[[], None], name: str) -> None:
        self._load = load
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"load-{name}")
        self._running: Future[None] | None = None
        self._lock = threading.Lock()

    def begin(self) -> Future[None]:
        """Return the load under way, which is begun if there is none."""
        with self._lock:
            if self._running is None:
                self._running = self._thread.submit(self._run)
            return self._running

    @property
    def is_under_way(self) -> bool:
        """Return whether it is being loaded."""
        return self._running is not None

    async def done(self) -> None:
        """Return once it is loaded; raises what the load raises."""
        # Who gives up waiting does not end it for the others.
        await asyncio.shield(asyncio.wrap_future(self.begin()))

    def close(self) -> None:
        """End the thread, after the load under way."""
        self._thread.shutdown()

    def _run(self) -> None:
        try:
            self._load()
        finally:
            with self._lock:
                self._running = None


def give_memory_back() -> None:
    """Give what was freed back to the system, where the C library would keep it (glibc)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
