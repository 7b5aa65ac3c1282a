"""How rollouts and rollback rules are written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.deployment import (
    Later,
    Limit,
    Measure,
    RollbackRules,
    RolloutStep,
    StepKind,
    describe_rollout,
    parse_rollback,
    parse_rollout,
)

DAY = timedelta(days=1)


def test_a_rollout_is_read_as_steps() -> None:
    steps = parse_rollout("shadow 1d -> 5% -> 25% 12h -> 100%")
    assert [(step.kind, step.share, step.duration) for step in steps] == [
        (StepKind.SHADOW, 0.0, DAY),
        (StepKind.CANARY, 0.05, DAY),
        (StepKind.CANARY, 0.25, DAY / 2),
        (StepKind.FULL, 1.0, DAY / 2),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no step"),
        ("shadow 1d", "not 100%"),
        ("5% -> 5% -> 100%", "does not raise the share"),
        ("25% -> 5% -> 100%", "does not raise the share"),
        ("0% -> 100%", "not above 0%"),
        ("101%", "not above 0%"),
        ("5% 1 day -> 100%", "is no step"),
        ("100% -> 100%", "does not raise the share"),
        ("5% -> shadow 1d -> 100%", "does not raise the share"),
        ("shadow -1d -> 100%", "is no step"),
    ],
)
def test_a_wrong_rollout_is_refused_with_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_rollout(text)
    assert "shadow 1d -> 5% -> 25% -> 100%" in str(caught.value)


@pytest.mark.parametrize("long", ["99999999999w", "3651d", "9" * 5_000 + "s"])
def test_a_step_of_more_than_ten_years_is_refused(long: str) -> None:
    with pytest.raises(
        ValueError, match=r"more than 10 years; write a duration such as 1d"
    ) as caught:
        parse_rollout(f"shadow {long} -> 100%")
    assert len(str(caught.value)) < 200
    assert parse_rollout("shadow 3650d -> 100%")[0].duration == 3_650 * DAY


durations = st.integers(0, 10_000_000).map(lambda seconds: timedelta(seconds=seconds))
shares = st.lists(st.integers(1, 9_999), unique=True, max_size=5).map(sorted)


@given(shadow=st.booleans(), percents=shares, data=st.data())
def test_what_is_described_is_read_back_the_same(
    shadow: bool, percents: list[int], data: st.DataObject
) -> None:
    kinds = [(StepKind.SHADOW, 0.0)] if shadow else []
    kinds += [(StepKind.CANARY, number / 100 / 100) for number in percents]
    steps = [
        RolloutStep(kind=kind, share=share, duration=data.draw(durations)) for kind, share in kinds
    ]
    last = steps[-1].duration if steps else DAY
    steps.append(RolloutStep(kind=StepKind.FULL, share=1.0, duration=last))
    assert parse_rollout(describe_rollout(steps)) == tuple(steps)


def test_rollback_rules_are_read() -> None:
    given = {
        "now": ["errors > 1%", "p95_ms > 50"],
        "later": ["mae worse than champion, confidence 90%"],
        "tolerance": "2%",
        "patience": "30d",
    }
    rules, problems = parse_rollback(given)
    assert problems == []
    assert rules == RollbackRules(
        now=(
            Limit(measure=Measure.ERRORS, limit=0.01),
            Limit(measure=Measure.P95_MS, limit=50.0),
        ),
        later=Later(metric="mae", confidence=0.9),
        tolerance=0.02,
        patience=timedelta(days=30),
    )


def test_what_is_left_out_is_on_and_an_empty_list_switches_it_off() -> None:
    assert parse_rollback({}) == (RollbackRules(), [])
    rules, problems = parse_rollback({"now": [], "later": []})
    assert (rules.now, rules.later, problems) == ((), None, [])
    # The policy joins the lines of `later` to one text, which is empty where there are none.
    assert parse_rollback({"later": ""})[0].later is None


def test_every_problem_of_the_rules_is_named_at_once() -> None:
    _, problems = parse_rollback(
        {
            "now": ["errors >= 1%", "p95_ms > 5%", "errors > 150%"],
            "later": ["rmse worse than champion"],
            "tolerance": "much",
            "patience": "long",
            "never": [],
        }
    )
    assert [problem.path for problem in problems] == [
        "now[0]",
        "now[1]",
        "now[2]",
        "later[0]",
        "tolerance",
        "patience",
        "never",
    ]
    assert "mae" in problems[3].remedy


@pytest.mark.parametrize("confidence", ["100", "49", "0"])
def test_a_confidence_that_proves_nothing_or_all_is_refused(confidence: str) -> None:
    text = f"mae worse than champion, confidence {confidence}%"
    _, problems = parse_rollback({"later": [text]})
    assert [problem.path for problem in problems] == ["later[0]"]


@pytest.mark.parametrize("patience", ["0d", "30", 30, "99999999999w", None, ""])
def test_a_patience_that_is_no_duration_is_refused(patience: object) -> None:
    rules, problems = parse_rollback({"patience": patience})
    assert rules.patience is None
    assert [problem.path for problem in problems] == ["patience"]
    assert "30d" in problems[0].remedy
