"""Numbers as people read them, in sentences and tables."""

from __future__ import annotations


def figure(value: float) -> str:
    """Return a number with four significant digits, or all of those before its point.

    Examples
    --------
    >>> figure(18_970.4), figure(0.123456), figure(2.0), figure(float("nan"))
    ('18,970', '0.1235', '2', 'nan')
    """
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one.

    Examples
    --------
    >>> counted(1, "label"), counted(2_500, "row")
    ('1 label', '2,500 rows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
