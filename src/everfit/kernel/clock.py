"""Time: the only source of it. Replay and tests set it; production reads the machine's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Port: says what time it is, always aware and in UTC, never going backwards in replay."""

    def now(self) -> datetime:
        """Return the present time in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present time in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is moved: replay on history, and tests.

    Examples
    --------
    >>> clock = ManualClock(datetime(2011, 1, 1, tzinfo=UTC))
    >>> clock.move_to(datetime(2011, 1, 2, tzinfo=UTC))
    >>> clock.now().day
    2
    """

    def __init__(self, start: datetime) -> None:
        self._now = as_utc(start)

    def now(self) -> datetime:
        """Return the time the clock was moved to."""
        return self._now

    def move_to(self, moment: datetime) -> None:
        """Set the clock to ``moment``; a moment in its past is refused with ``ValueError``."""
        moment = as_utc(moment)
        if moment < self._now:
            raise ValueError(f"clock stands at {self._now}; it cannot go back to {moment}")
        self._now = moment

    def advance(self, step: timedelta) -> None:
        """Move the clock forward by ``step``."""
        self.move_to(self._now + step)


def as_utc(moment: datetime) -> datetime:
    """Return ``moment`` in UTC; a moment without a zone is taken to be UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
