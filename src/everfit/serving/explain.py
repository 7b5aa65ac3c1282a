"""How many reasons per row a request asks for: ``explain=true``, or ``explain=8``. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from everfit.errors import Invalid
from everfit.serving.columns import Problems, describe

USUAL = 5
MOST = 1_000
WORDS = {"true": USUAL, "false": 0}
REMEDY = f"write true, or how many reasons each row is to have, up to {MOST:,}"


def asked(query: bytes) -> int:
    """Return how many reasons per row a query string asks for, 0 for none.

    Raises
    ------
    Invalid
        If ``explain`` is neither true, false nor a number up to 1,000.

    Examples
    --------
    >>> asked(b""), asked(b"explain=true"), asked(b"explain=3"), asked(b"explain=false")
    (0, 5, 3, 0)
    """
    if not query:
        return 0
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("explain", ["false"])[-1]
    count = _count(given)
    if count is None:
        raise Invalid(
            f"explain is {given[:40]!r}",
            hint=f"Write explain=true, or how many reasons each row is to have, up to {MOST:,}.",
        )
    return count


def asked_reasons(given: Any, problems: Problems) -> int:
    """Return how many reasons per row the parameter ``explain`` asks for, as it was sent.

    Examples
    --------
    >>> [asked_reasons(given, Problems()) for given in (True, False, 3, "true", "8")]
    [5, 0, 3, 5, 8]
    """
    if isinstance(given, bool | int):
        given = str(given)
    count = _count(given) if isinstance(given, str) else None
    if count is None:
        problems.add("parameters.explain", describe(given), REMEDY)
        return 0
    return count


def _count(given: str) -> int | None:
    word = given.lower()
    if word in WORDS:
        return WORDS[word]
    short = word.isascii() and word.isdigit() and len(word) <= len(str(MOST))
    return int(word) if short and int(word) <= MOST else None
