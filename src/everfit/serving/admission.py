"""Who is let in at an endpoint: so many at once, shared out among those who ask. No waiting."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Self

from everfit.errors import EndpointFull, EverfitError, Overloaded
from everfit.serving.model import Bounds

ANONYMOUS = ""
# So long a share is kept for a client that asks no more.
SHARE_SECONDS = 5.0
# So many clients are told apart; those who come then count as anonymous.
MOST_CLIENTS = 1_000
# One place of so many stays free for clients that hold none.
NEWCOMERS = 8
# The weight of one more request in the moving averages, and in the rate where it is lower: a
# moment in which everything stood still says little about what can be answered after it.
WEIGHT, WEIGHT_OF_LESS = 1 / 16, 1 / 512
LONGEST_RETRY_SECONDS = 60


class Why(StrEnum):
    """Why a request is not let in."""

    FULL = "full"
    SHARE = "share"


class _Client:
    """What one client holds, and when it asked last."""

    __slots__ = ("asked", "held")

    def __init__(self) -> None:
        self.held = 0
        self.asked = 0.0


class Place:
    """The place of one request, until the end of its ``with`` statement."""

    __slots__ = ("_admission", "_client", "_found", "_since")

    def __init__(self, admission: Admission, client: _Client, found: int, since: float) -> None:
        self._admission, self._client = admission, client
        self._found, self._since = found, since

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        answered = None if kind is not None else (self._found, self._since)
        self._admission.leave(self._client, answered)


class Admission:
    """Places at one endpoint for requests let in and not yet answered; any thread may ask.

    There are ``bounds.in_flight`` of them, and as many more, up to ``bounds.crowd``, as are
    answered within ``bounds.queue_seconds``: what is no wait for a quick model would be one for a
    slow model. While several clients ask, each has an equal share of the places; it gets more only
    where that takes nothing from the share of another one. The last eighth of the places is for
    clients that hold none, so that whoever asks seldom finds a place beside one who asks always.
    """

    def __init__(
        self, endpoint: str, bounds: Bounds, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._endpoint = endpoint
        self._bounds = bounds
        self._clock = clock
        self._places = bounds.in_flight
        self._clients: dict[str, _Client] = {}
        self._swept = 0.0
        self._inside = 0
        # Moving averages: how long a request took, and how many others it found.
        self._seconds: float | None = None
        self._found = 0.0
        self._rate = 0.0
        self._learns_from = -math.inf
        self._full_since: float | None = None
        self._full_seconds = 0.0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """Return how many requests hold a place."""
        return self._inside

    @property
    def places(self) -> int:
        """Return how many there are at present."""
        return self._places

    @property
    def full_seconds(self) -> float:
        """Return for how long every place was taken, since the beginning."""
        with self._lock:
            since = self._full_since
            return self._full_seconds + (0.0 if since is None else self._clock() - since)

    @property
    def clients(self) -> int:
        """Return how many clients are told apart at present."""
        return len(self._clients)

    @property
    def is_roomy(self) -> bool:
        """Return whether any client would be let in; a look without a lock."""
        return self._inside < self._places - self._places // NEWCOMERS and len(self._clients) < 2

    def enter(self, client: str = ANONYMOUS, *, left: float | None = None) -> Place:
        """Return a place for a request of ``client`` that wants its answer in ``left`` seconds.

        Raises
        ------
        EndpointFull
            If every place is taken, or those inside take longer than ``left``.
        Overloaded
            If the client has its share.
        """
        now = self._clock()
        with self._lock:
            asking = self._known(client, now)
            why = self._why_not(asking)
            late = why is None and left is not None and self._inside and self._wait() > left
            if why is None and not late:
                asking.held += 1
                self._inside += 1
                self._note_full(now)
                return Place(self, asking, self._inside - 1, now)
        raise self.refusal(why or Why.FULL, left)

    def why_not(self, client: str = ANONYMOUS) -> Why | None:
        """Return why a request of ``client`` would not be let in now, or None if it would be."""
        now = self._clock()
        with self._lock:
            return self._why_not(self._known(client, now))

    def refusal(self, why: Why, left: float | None = None) -> EverfitError:
        """Return the error that tells a client so."""
        wait = self._wait()
        seconds = min(max(math.ceil(wait), 1), LONGEST_RETRY_SECONDS)
        if why is Why.SHARE:
            return Overloaded(
                f"this client has its share of the {self._places} requests that endpoint "
                f"{self._endpoint!r} answers at once",
                hint="Send it again after the time in Retry-After, and fewer at once.",
                retry_after_seconds=seconds,
            )
        said = f"{self._inside} requests are being answered already"
        if left is not None and wait > left:
            said += f"; that takes about {wait:.3g} s, and the answer is wanted in {left:.3g} s"
        return EndpointFull(
            said,
            hint="Send it again after the time in Retry-After, or start more servers.",
            retry_after_seconds=seconds,
        )

    def leave(self, client: _Client, answered: tuple[int, float] | None) -> None:
        """Give a place back; ``answered``: how many others it found, and when it was taken."""
        now = self._clock()
        with self._lock:
            client.held -= 1
            self._inside -= 1
            if answered is not None:
                found, since = answered
                if since >= self._learns_from:
                    self._learn(found, now - since)
            self._note_full(now)

    def learn_from_now(self) -> None:
        """Learn nothing from requests that are inside now: they waited for more than an answer."""
        with self._lock:
            self._learns_from = self._clock()

    def _note_full(self, now: float) -> None:
        """Begin or end a time in which every place is taken."""
        if self._inside >= self._places:
            self._full_since = now if self._full_since is None else self._full_since
        elif self._full_since is not None:
            self._full_seconds += now - self._full_since
            self._full_since = None

    def _learn(self, found: int, seconds: float) -> None:
        if self._seconds is None:
            self._seconds, self._found = seconds, float(found)
        self._seconds += (seconds - self._seconds) * WEIGHT
        self._found += (found - self._found) * WEIGHT
        # As many are answered in a second as are inside, by the time that each takes (Little).
        rate = (self._found + 1) / max(self._seconds, 1e-6)
        self._rate += (rate - self._rate) * (WEIGHT if rate > self._rate else WEIGHT_OF_LESS)
        soon = int(self._rate * self._bounds.queue_seconds)
        self._places = max(self._bounds.in_flight, min(soon, self._bounds.crowd))

    def _wait(self) -> float:
        """Return about how many seconds one more would take; never more than was seen of late."""
        if self._seconds is None:
            return 0.0
        return self._seconds * min(1.0, (self._inside + 1) / (self._found + 1))

    def _why_not(self, asking: _Client) -> Why | None:
        places = self._places if not asking.held else self._places - self._places // NEWCOMERS
        if self._inside >= places:
            return Why.FULL
        fair = max(self._places // len(self._clients), 1)
        if asking.held < fair:
            return None
        kept = sum(max(fair - one.held, 0) for one in self._clients.values() if one is not asking)
        return Why.SHARE if self._inside + kept >= places else None

    def _known(self, client: str, now: float) -> _Client:
        if now - self._swept > SHARE_SECONDS:
            self._swept = now
            before = now - SHARE_SECONDS
            self._clients = {
                name: one for name, one in self._clients.items() if one.held or one.asked > before
            }
        asking = self._clients.get(client)
        if asking is None:
            name = client if len(self._clients) < MOST_CLIENTS else ANONYMOUS
            asking = self._clients.setdefault(name, _Client())
        asking.asked = now
        return asking
