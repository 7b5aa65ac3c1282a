"""Reasons in plain words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from everfit.explaining import Contribution, Explanation, Method, Output, because
from everfit.packages import Scalar


def explained(
    parts: dict[str, tuple[Any, float]], of: Output = Output.VALUE, label: Scalar | None = None
) -> Explanation:
    return Explanation(
        base=1.0,
        contributions=tuple(
            Contribution(input=name, value=value, amount=amount)
            for name, (value, amount) in parts.items()
        ),
        output=1.0 + sum(amount for _, amount in parts.values()),
        of=of,
        label=label,
        method=Method.LINEAR,
        against="the mean",
    )


def test_a_value_is_raised_or_lowered() -> None:
    found = explained({"hour": (8, 111.96), "sky": ("rain", -20.04), "windy": (None, 0.00123)})
    assert because(found) == [
        "hour = 8 raised it by 112",
        "sky = 'rain' lowered it by 20",
        "windy = missing raised it by 0.00123",
    ]


def test_a_class_is_made_more_or_less_likely() -> None:
    parts: dict[str, tuple[Any, float]] = {"tenure": (3.5, 0.8449), "paid": (True, -0.1)}
    assert because(explained(parts, Output.LOG_ODDS, "churn")) == [
        "tenure = 3.5 made 'churn' more likely by 0.845 log-odds",
        "paid = true made 'churn' less likely by 0.1 log-odds",
    ]
    assert because(explained(parts, Output.PROBABILITY, True))[0] == (
        "tenure = 3.5 made 'true' more likely by 84.5 percentage points"
    )


def test_what_moved_nothing_is_left_out() -> None:
    assert because(explained({"a": (1, 5.0), "b": (2, 0.0), "c": (3, 1e-14)})) == [
        "a = 1 raised it by 5"
    ]
    assert because(explained({"a": (1, 0.0)})) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "missing"),
        (18_970.4, "18,970"),
        (0.123456, "0.1235"),
        (1_234_567, "1234567"),
        ("it's\nlate", "'it's late'"),
        (datetime(2026, 1, 31, 12, 5, tzinfo=UTC), "2026-01-31 12:05"),
    ],
)
def test_values_are_written_as_people_do(value: Any, shown: str) -> None:
    assert because(explained({"x": (value, 1.0)})) == [f"x = {shown} raised it by 1"]
