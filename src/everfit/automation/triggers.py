"""When a retraining starts: a pure decision over facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from everfit.automation.model import Budget, RetrainPolicy, Trigger, TriggerKind
from everfit.automation.units import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the decision knows; ``*_alerts`` are ids of open alerts, ``due`` words of schedules."""

    now: datetime
    last_started: datetime | None
    started_today: int
    cost_this_week: float
    new_rows: int
    quality_alerts: Sequence[str] = ()
    drift_alerts: Sequence[str] = ()
    under_way: str | None = None
    due: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A retraining that should start (``held`` is None), or why one that is asked for must wait."""

    trigger: Trigger
    because: str
    held: str | None = None


def decide(policy: RetrainPolicy, facts: Facts) -> Firing | None:
    """Return what should start now, what is asked for but held back, or None."""
    for trigger in policy.when:
        because = _reason(trigger, facts)
        if because is not None:
            return Firing(trigger=trigger, because=because, held=_held(policy.at_most, facts))
    return None


def _reason(trigger: Trigger, facts: Facts) -> str | None:
    if trigger.kind is TriggerKind.SCHEDULE:
        return f"schedule: {trigger.words}" if trigger.words in facts.due else None
    if trigger.kind is TriggerKind.NEW_ROWS:
        enough = facts.new_rows >= trigger.rows
        return f"{facts.new_rows:,} new labelled rows ({trigger.words})" if enough else None
    if trigger.kind is TriggerKind.QUALITY:
        return f"quality alert {facts.quality_alerts[0]}" if facts.quality_alerts else None
    if trigger.kind is TriggerKind.DRIFT:
        return f"drift alert {facts.drift_alerts[0]}" if facts.drift_alerts else None
    return None  # manual: only a person starts it


def _held(budget: Budget, facts: Facts) -> str | None:
    if facts.under_way is not None:
        return facts.under_way
    if facts.last_started is not None and facts.now < facts.last_started + budget.cooldown:
        rest = facts.last_started + budget.cooldown - facts.now
        return f"cooldown of {words(budget.cooldown)}: {_round(rest)} left"
    if facts.started_today >= budget.per_day:
        return f"budget: {facts.started_today} of {budget.per_day} retrainings today"
    # Asked so that a cost that is not a number holds the retraining back.
    if budget.cost_per_week is not None and not facts.cost_this_week < budget.cost_per_week:
        return (
            f"budget: {facts.cost_this_week:.2f} of {budget.cost_per_week:.2f} "
            f"{budget.currency} spent this week"
        )
    return None


def _round(rest: timedelta) -> str:
    return words(timedelta(seconds=max(1, round(rest.total_seconds() / 3600) * 3600)))
