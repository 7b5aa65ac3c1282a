"""On what terms a request is sent: whose it is, and how long its answer is worth having."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from everfit.errors import DeadlineExceeded, Invalid
from everfit.serving.admission import ANONYMOUS

T = TypeVar("T")
CLIENT = "X-Client-Key"
# Envoy, and with it Istio and KServe, tells this to whoever it sends a request on to.
TIMEOUT = "X-Envoy-Expected-Rq-Timeout-Ms"
_CLIENT, _TIMEOUT = CLIENT.lower().encode(), TIMEOUT.lower().encode()
MOST_KEY = 200


@dataclass(slots=True)
class Terms:
    """The client's key, and until when its answer is worth having, on the monotonic clock."""

    client: str = ANONYMOUS
    ends: float = math.inf

    @property
    def left(self) -> float | None:
        """Return the seconds that are left, negative once they are over; None without an end."""
        return None if self.ends == math.inf else self.ends - time.monotonic()

    def within(self, seconds: float) -> None:
        """Let the time end in so many seconds, if it would not end sooner."""
        self.ends = min(self.ends, time.monotonic() + seconds)

    def check(self) -> None:
        """Return if there is time left; raises DeadlineExceeded."""
        if self.ends <= time.monotonic():
            raise _too_late()

    async def kept(self, answering: Awaitable[T]) -> T:
        """Return what is awaited; raises DeadlineExceeded once the time is over."""
        left = self.left
        if left is None:
            return await answering
        try:
            async with asyncio.timeout(left):
                return await answering
        except TimeoutError:
            raise _too_late() from None


def terms_of(fields: Mapping[bytes, bytes]) -> Terms:
    """Return the terms that stand in header fields; raises Invalid if the time is no number."""
    client, milliseconds = fields.get(_CLIENT), fields.get(_TIMEOUT)
    terms = Terms() if client is None else Terms(client_key(client))
    if milliseconds is None:
        return terms
    if not (milliseconds.isdigit() and len(milliseconds) <= 12):
        raise Invalid(
            f"{TIMEOUT} is {milliseconds[:50].decode('latin-1')!r}, no number of milliseconds",
            hint="Write a whole number, or leave the header out.",
        )
    if int(milliseconds):  # 0 stands for no end
        terms.within(int(milliseconds) / 1000)
    return terms


def client_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the client's key alone, of a head that is not made into a call yet."""
    return next((client_key(value) for name, value in headers if name == _CLIENT), ANONYMOUS)


def client_key(value: bytes) -> str:
    """Return a client's key as it was sent, cut to what is told apart."""
    return value[:MOST_KEY].decode("latin-1")


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded(
        "the time in which the answer was wanted is over; the model was not waited for",
        hint="Give it more time, or send fewer requests at once.",
    )
