"""The policy file: what it accepts, and what it says about what it does not."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everfit.automation import decode, explain
from everfit.automation.model import TriggerKind
from everfit.data import Task
from everfit.deployment import StepKind
from everfit.errors import PolicyInvalid
from everfit.evaluation import Approve, Better, Fair, Fast, NoWorse

FULL = """\
model: bike-demand
task: regression
data:   {source: data/hour.csv, time: dteday, target: cnt, expect: {temp: {between: [0, 1]}}}
truth:  {arrives: 1d}
train:  {candidates: {forest: {search: {depth: [4, 16]}}, linear: {}}, metric: mae, trials: 20}
gate:
  - better:   {margin: 1%, confidence: 95%}
  - no_worse: {on: every slice >= 200 rows, margin: 5%}
  - fair:     {across: [sex], equal_opportunity: [0.8, 1.25]}
  - fast:     {p95_ms: 20}
  - approve:  {people: 2, not: author}
rollout:  shadow 1d -> 5% -> 25% -> 100%
rollback: {now: [errors > 1%, p95_ms > 50], later: [mae worse than champion, confidence 95%]}
retrain:
  when: [monthly, new_rows >= 20k, quality worse, drift that matters]
  at_most: {per_day: 1, cost_per_week: 5 EUR}
"""
SHORT = "model: m\ntask: regression\ndata: {source: a.csv, target: y}\n"


def refused(text: str) -> list[str]:
    with pytest.raises(PolicyInvalid) as caught:
        decode(text)
    assert caught.value.hint
    return [str(problem) for problem in caught.value.problems]


def test_the_policy_of_the_design_is_read_as_it_stands() -> None:
    policy = decode(FULL)
    assert policy.task is Task.REGRESSION
    assert policy.truth.arrives == timedelta(days=1)
    assert [spec.name for spec in policy.train.candidates] == ["forest", "linear"]
    assert policy.train.trials == 20
    better, no_worse, fair, fast, approve = policy.gates
    assert isinstance(better, Better)
    assert (better.margin, better.confidence) == (0.01, 0.95)
    assert isinstance(no_worse, NoWorse)
    assert no_worse.min_rows == 200
    assert isinstance(fair, Fair)
    assert fair.equal_opportunity == (0.8, 1.25)
    assert isinstance(fast, Fast)
    assert isinstance(approve, Approve)
    assert (approve.people, approve.not_author) == (2, True)
    assert policy.rollout[0].kind is StepKind.SHADOW
    kinds = [trigger.kind for trigger in policy.retrain.when]
    assert kinds == [
        TriggerKind.SCHEDULE,
        TriggerKind.NEW_ROWS,
        TriggerKind.QUALITY,
        TriggerKind.DRIFT,
    ]
    assert policy.retrain.when[1].rows == 20_000
    assert policy.retrain.at_most.cost_per_week == 5.0


def test_gates_monitors_and_rollback_are_on_by_default() -> None:
    policy = decode(SHORT)
    assert any(isinstance(gate, Better) for gate in policy.gates)
    assert policy.rollback.later is not None
    assert policy.rollback.now
    assert policy.rollout[0].kind is StepKind.SHADOW
    assert policy.retrain.when


def test_every_problem_is_reported_at_once_with_path_line_value_and_remedy() -> None:
    said = refused(
        "model: a b\n"
        "task: regresion\n"
        "data: {source: a.csv, target: y, tme: t}\n"
        "truth: {arrives: soon}\n"
        "train: {metric: maee, trials: many, candidates: {forrest: {}}}\n"
        "gate:\n"
        "  - bettr: {}\n"
        "  - fast: {}\n"
        "retrain: {when: [sometimes]}\n"
    )
    text = "\n".join(said)
    for path in (
        "model",
        "task",
        "data.tme",
        "truth.arrives",
        "train.metric",
        "train.trials",
        "gate[0].bettr",
        "gate[1].fast.p95_ms",
        "retrain.when",
    ):
        assert path in text, path
    assert "(line 4)" in text
    assert "did you mean 'regression'?" in text
    assert "did you mean 'time'?" in text
    assert "did you mean 'better'?" in text
    assert "forest" in text
    assert len(said) >= 10


def test_a_duplicate_key_names_both_lines() -> None:
    (said,) = refused(SHORT + "task: classification\n")
    assert said.startswith("task (line 4)")
    assert "line 2" in said


def test_text_that_is_no_yaml_names_the_place() -> None:
    with pytest.raises(PolicyInvalid, match="line 2"):
        decode("model: m\n  task: [\n")


def test_words_of_yaml_1_1_stay_words() -> None:
    policy = decode(SHORT.replace("target: y", "target: no"))
    assert policy.data.target == "no"


def test_a_missing_task_asks_instead_of_guessing() -> None:
    said = refused("model: m\ndata: {source: a.csv, target: y}\n")
    assert any(line.startswith("task") for line in said)


def test_split_must_leave_rows_for_training() -> None:
    (said,) = refused(SHORT + "train: {split: {validation: 50%, test: 50%}}\n")
    assert "leave a share for training" in said


@pytest.mark.parametrize(
    ("text", "path", "remedy"),
    [
        ("gate: []", "gate", "write a list of gates"),
        ("train: {split: {test: 0%}}", "train.split.test", "above 0%"),
        ("train: {split: {validation: 0%}}", "train.split.validation", "above 0%"),
        ("monitor: {window: 0d}", "monitor.window", "above zero"),
        ("monitor: {window: 99999999999999d}", "monitor.window", "more than 10 years"),
        ("truth: {arrives: 9999999999999999999999999w}", "truth.arrives", "more than 10 years"),
        ("retrain: {when: [every 1.5h]}", "retrain.when", "a whole number"),
        ("retrain: {when: [every 0d]}", "retrain.when", "a whole number"),
        (f"retrain: {{when: [new_rows >= {'9' * 400}]}}", "retrain.when", "a whole number above 0"),
    ],
)
def test_what_would_stop_the_loop_later_is_refused_at_once(
    text: str, path: str, remedy: str
) -> None:
    (said,) = refused(f"{SHORT}{text}\n")
    assert said.startswith(path)
    assert remedy in said


def test_a_budget_is_in_the_currency_of_the_price_table() -> None:
    assert decode(FULL, currency="EUR").retrain.at_most.cost_per_week == 5
    with pytest.raises(PolicyInvalid, match="write it in USD"):
        decode(FULL, currency="USD")


def test_clusters_are_rolled_back_by_no_label() -> None:
    clusters = "model: m\ntask: clustering\ndata: {source: a.csv}\n"
    assert decode(clusters).rollback.later is None
    (said,) = refused(clusters + "rollback: {later: [silhouette worse than champion]}\n")
    assert said.startswith("rollback.later")


def test_a_rollback_rule_is_on_a_metric_of_the_task() -> None:
    (said,) = refused(SHORT + "rollback: {later: [accuracy worse than champion]}\n")
    assert "use mae or loss for regression" in said


def test_an_empty_rule_is_switched_off() -> None:
    policy = decode(SHORT + "rollback: {now: [], later: []}\n")
    assert (policy.rollback.now, policy.rollback.later) == ((), None)


def test_the_policy_is_explained_in_plain_words() -> None:
    text = "\n".join(explain(decode(FULL)))
    fair = "fair across sex: share of true cases found 0.8 to 1.25 times that of the largest group"
    for words in (
        fair,
        "enough held-out rows",
        "bike-demand",
        "1 day",
        "forest, linear",
        "2 people",
        "5 EUR a week",
    ):
        assert words in text
    assert re.search(r"shadow 1d -> 5% 1d", text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    try:
        decode(text)
    except PolicyInvalid as error:
        assert error.hint  # noqa: PT017 - any text may be refused, and only so


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["better", "source", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = [
    "model",
    "task",
    "data",
    "truth",
    "train",
    "gate",
    "rollout",
    "rollback",
    "monitor",
    "retrain",
]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_no_value_in_any_place_makes_the_decoder_fail_otherwise(value: dict[str, object]) -> None:
    import yaml

    try:
        decode(yaml.safe_dump(value))
    except PolicyInvalid as error:
        assert error.problems or "YAML" in error.message  # noqa: PT017
