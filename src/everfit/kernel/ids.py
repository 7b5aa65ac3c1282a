"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import itertools
import secrets
from datetime import datetime

# Crockford's base 32: no I, L, O, U, so that an id can be read aloud.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Orders the ids that this process makes in one millisecond; it starts anywhere in the lower
# half of its 24 bits, so that it wraps only after eight million of them.
_counter = itertools.count(secrets.randbits(23))


def new_id(prefix: str, at: datetime) -> str:
    """Return ``prefix`` + 10 characters of milliseconds + 12 of a counter and 36 random bits.

    Ids of one prefix sort by time, and those that one process makes at the same moment (a
    replay's clock stands still) in the order in which they were made.

    Examples
    --------
    >>> from datetime import UTC
    >>> early = new_id("run", datetime(2026, 1, 1, tzinfo=UTC))
    >>> late = new_id("run", datetime(2026, 1, 2, tzinfo=UTC))
    >>> early < late, len(early)
    (True, 26)
    """
    tail = (next(_counter) % 2**24) << 36 | secrets.randbits(36)
    return f"{prefix}_{time_part(at)}{_encode(tail, 12)}"


def time_part(at: datetime) -> str:
    """Return the 10 characters by which ids made at ``at`` begin after their prefix."""
    return _encode(int(at.timestamp() * 1000), 10)


def _encode(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        characters.append(ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(characters))
