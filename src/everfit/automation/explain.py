"""The policy in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from everfit.automation.model import Policy, TriggerKind
from everfit.automation.units import words
from everfit.deployment import Measure, RollbackRules, describe_rollout
from everfit.evaluation import Approve, Better, Fair, Fast, Gate, NoWorse, Sufficient


def explain(policy: Policy) -> list[str]:
    """Return what the policy means, one sentence per item."""
    data, train, budget = policy.data, policy.train, policy.retrain.at_most
    names = ", ".join(spec.name for spec in train.candidates)
    trials = f" {train.trials} trials search their parameters." if train.trials > 1 else ""
    aim = f"predicts {data.target!r}" if data.target else "groups rows"
    excluded = f" It never sees {', '.join(data.exclude)}." if data.exclude else ""
    return [
        f"{policy.model} ({policy.task}) {aim} from {data.source}.{excluded}",
        f"The truth of a prediction is expected {words(policy.truth.arrives)} after it.",
        f"Trained: {names}; the best by {train.metric} on validation rows goes on.{trials}",
        *(f"Gate: {_gate(gate)}" for gate in _judged(policy.gates)),
        f"A version that passes every gate rolls out: {describe_rollout(policy.rollout)}.",
        "Each step of a rollout waits for its evidence.",
        f"Rolled back: {_rollback(policy.rollback)}.",
        f"Watched in windows of {words(policy.monitor.window)}.",
        f"At most {policy.monitor.false_alarms:.1%} of quiet windows may raise a drift alert.",
        "Retrained when: " + "; ".join(_when(policy)) + ".",
        f"At most {budget.per_day} retraining{'s' if budget.per_day > 1 else ''} a day, with "
        f"{words(budget.cooldown) if budget.cooldown else 'no'} rest between two"
        + (
            f", for at most {budget.cost_per_week:g} {budget.currency} a week."
            if budget.cost_per_week is not None
            else "."
        ),
    ]


def _judged(gates: Sequence[Gate]) -> Sequence[Gate]:
    """Return the gates with the one on sufficiency, which is judged whether it is named or not."""
    named = any(isinstance(gate, Sufficient) for gate in gates)
    return gates if named else [*gates, Sufficient()]


def _rollback(rules: RollbackRules) -> str:
    now = [
        (
            f"at once when its 95th percentile is proven above {limit.limit:g} ms"
            if limit.measure is Measure.P95_MS
            else f"at once when its share of errors is proven above {limit.limit:.2%}"
        )
        for limit in rules.now
    ]
    later = (
        f"later when labels prove its {rules.later.metric} worse than the champion's, "
        f"with {rules.later.confidence:.0%} confidence"
        if rules.later
        else ""
    )
    return "; ".join(filter(None, [*now, later])) or "only by a person"


def _when(policy: Policy) -> list[str]:
    said = {
        TriggerKind.QUALITY: "labels show that quality fell below what was signed off",
        TriggerKind.DRIFT: "inputs drift in columns that matter",
        TriggerKind.MANUAL: "a person asks for it",
    }
    return [said.get(t.kind, t.words) for t in policy.retrain.when]


def _gate(gate: Gate) -> str:
    if isinstance(gate, Better):
        margin = f" by more than {gate.margin:.1%}" if gate.margin else ""
        return (
            f"better than the champion{margin}, on the same rows, "
            f"with {gate.confidence:.0%} confidence."
        )
    if isinstance(gate, NoWorse):
        return (
            f"no slice of at least {gate.min_rows} rows is more than {gate.margin:.0%} worse "
            "than the champion."
        )
    if isinstance(gate, Fair):
        bounds = {
            "share of true cases found": gate.equal_opportunity,
            "share of rows chosen": gate.demographic_parity,
        }
        said = [f"{name} {b[0]:g} to {b[1]:g} times" for name, b in bounds.items() if b]
        return (
            f"fair across {', '.join(gate.across)}: {' and '.join(said)} that of the largest group."
        )
    if isinstance(gate, Fast):
        return f"95% of single predictions take at most {gate.p95_ms:g} ms."
    if isinstance(gate, Approve):
        who = " other than the author" if gate.not_author else ""
        people = "person" if gate.people == 1 else "people"
        return f"{gate.people} {people}{who} must approve."
    return (
        f"enough held-out rows to know the error to ± {gate.share:.0%} of rows, or to "
        f"± {gate.relative:.0%} of it."
    )
