"""Explanations in plain words, always the same for the same numbers."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from everfit.explaining.model import Contribution, Explanation, Output
from everfit.measures.figures import figure
from everfit.packages import Scalar, label_text

LONGEST = 40
# Below this part of all that moved the output, an input did not move it.
NEGLIGIBLE = 1e-9
SHARES = (Output.PROBABILITY, Output.LABEL)
UNITS = {Output.LOG_ODDS: " log-odds", Output.MARGIN: " margin"}


def because(explanation: Explanation) -> list[str]:
    """Return what moved the prediction, one sentence per contribution, the largest first.

    Inputs that did not move it are left out.
    """
    parts = explanation.contributions
    total = sum(abs(part.amount) for part in parts) + abs(explanation.rest)
    return [
        f"{part.input} = {_value(part.value)} {_did(part, explanation)}"
        for part in parts
        if abs(part.amount) > NEGLIGIBLE * total
    ]


def _did(part: Contribution, explanation: Explanation) -> str:
    about = "about " if part.error is not None else ""
    amount = about + _amount(abs(part.amount), explanation.of)
    if explanation.label is None:
        return f"{'raised' if part.amount > 0 else 'lowered'} it by {amount}"
    label = quoted(label_text(explanation.label))
    return f"made {label} {'more' if part.amount > 0 else 'less'} likely by {amount}"


def _amount(amount: float, of: Output) -> str:
    """Return an amount with its unit.

    Examples
    --------
    >>> _amount(111.96, Output.VALUE), _amount(0.0834, Output.PROBABILITY)
    ('112', '8.34 percentage points')
    >>> _amount(0.8449, Output.LOG_ODDS), _amount(18_970.4, Output.VALUE)
    ('0.845 log-odds', '18,970')
    """
    if of in SHARES:
        return f"{_rounded(100 * amount)} percentage points"
    return _rounded(amount) + UNITS.get(of, "")


def _rounded(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 1_000 else f"{amount:.3g}"


def _value(value: Any) -> str:
    """Return an input's value as people write it.

    Examples
    --------
    >>> [_value(value) for value in (8, 0.25, "rain", True, None, float("nan"))]
    ['8', '0.25', "'rain'", 'true', 'missing', 'missing']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return quoted(str(value))


def quoted(text: Scalar) -> str:
    """Return a text in quotes, on one line, a long one cut short.

    Examples
    --------
    >>> quoted("light rain"), quoted("a" * 50)
    ("'light rain'", "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…'")
    """
    line = " ".join(str(text).split())
    return f"'{line}'" if len(line) <= LONGEST else f"'{line[: LONGEST - 1]}…'"
