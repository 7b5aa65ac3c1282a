"""The threads of calls: past so many they are refused, never kept waiting.

Who is let in at an endpoint is decided once a message says which one it is for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from everfit.errors import EndpointFull

# So long a call may take to send its message once others have to be refused.
READ_SECONDS = 10.0


class CallThreads:
    """Lets ``most`` calls in; any number of threads may ask at once.

    A call holds its place from before its message is read. Who sends it slower than in
    ``read_seconds`` loses the place as soon as another call wants one.
    """

    def __init__(self, most: int, *, read_seconds: float = READ_SECONDS) -> None:
        self._most = most
        self._read_seconds = read_seconds
        self._inside = 0
        self._reading: dict[int, tuple[float, Callable[[], object]]] = {}
        self._numbers = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """Return how many hold a place."""
        return self._inside

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place, or raise EndpointFull; ``reading`` is called inside."""
        with self._lock:
            if self._inside >= self._most:
                self._end_slow()
                raise EndpointFull(
                    f"{self._inside} requests are being answered already",
                    hint="Send it again after the time in Retry-After, or start more servers.",
                )
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1

    @contextmanager
    def reading(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Note that a message is being read; ``cancel`` ends its call if that takes too long."""
        with self._lock:
            self._numbers += 1
            number = self._numbers
            self._reading[number] = (time.monotonic(), cancel)
        try:
            yield
        finally:
            with self._lock:
                self._reading.pop(number, None)

    def _end_slow(self) -> None:
        before = time.monotonic() - self._read_seconds
        slow = [number for number, (begun, _) in self._reading.items() if begun < before]
        for number in slow:
            _, cancel = self._reading.pop(number)
            cancel()
