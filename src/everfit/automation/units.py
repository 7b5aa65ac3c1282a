"""Quantities as people write them: durations, shares, counts, money. All raise ValueError."""

from __future__ import annotations

import re
from datetime import timedelta

from everfit.kernel import parse_duration

THOUSANDS = {"": 1, "k": 1_000, "M": 1_000_000}


def duration(value: object) -> timedelta:
    """Return a duration written like ``30m``, ``1d`` or ``1d 12h``.

    Examples
    --------
    >>> duration("1d 12h")
    datetime.timedelta(days=1, seconds=43200)
    """
    if isinstance(value, timedelta):
        return value
    span = sum((parse_duration(part) for part in str(value).split()), timedelta())
    if not span:
        raise ValueError("write a duration above zero, such as 30m, 12h, 1d or 2w")
    return span


def share(value: object) -> float:
    """Return a share of one, written ``5%`` or ``0.05``.

    Examples
    --------
    >>> share("5%"), share(0.25)
    (0.05, 0.25)
    """
    remedy = "write a share such as 5% or 0.05, between 0 and 1"
    if isinstance(value, bool):
        raise ValueError(remedy)  # noqa: TRY004 - one error for every unusable value
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(remedy) from None
    if not 0 <= number <= 1:
        raise ValueError(remedy)
    return number


def count(value: object) -> int:
    """Return a whole number above zero, written ``20000``, ``20k`` or ``1.5M``.

    Examples
    --------
    >>> count("20k")
    20000
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)([kM]?)", str(value).strip().replace("_", ""))
    number = float(match[1]) * THOUSANDS[match[2]] if match else 0.0
    if isinstance(value, bool) or number < 1 or number != int(number):
        raise ValueError("write a whole number above 0, such as 200 or 20k")
    return int(number)


def part(value: object) -> float:
    """Return a share as `share` does, above zero.

    Examples
    --------
    >>> part("25%")
    0.25
    """
    found = share(value)
    if not found > 0:
        raise ValueError("write a share above 0%, such as 25%")
    return found


def money(value: object) -> tuple[float, str]:
    """Return an amount and its currency, written ``5 EUR``.

    Examples
    --------
    >>> money("5 EUR")
    (5.0, 'EUR')
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Z]{3})", str(value).strip())
    if match is None:
        raise ValueError("write an amount and its currency, such as 5 EUR")
    return float(match[1]), match[2]


def words(span: timedelta) -> str:
    """Return a duration in plain words.

    Examples
    --------
    >>> words(timedelta(days=1)), words(timedelta(hours=36)), words(timedelta(minutes=30))
    ('1 day', '36 hours', '30 minutes')
    """
    seconds = span.total_seconds()
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{number} {name}{'s' if number != 1 else ''}"
    return f"{seconds:g} seconds"
