"""What the triggers need to know, gathered from every room that knows a part of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from everfit.automation.model import Trigger, TriggerKind
from everfit.automation.project import Project
from everfit.automation.triggers import Facts
from everfit.deployment import current_release
from everfit.kernel import JobState, Transaction, list_jobs, next_time
from everfit.monitoring import alerts, matured_count
from everfit.steps import spent

RETRAIN, GATE = "retrain", "gate"
LIVE = (JobState.QUEUED, JobState.RUNNING)
WEEK = timedelta(days=7)


def facts(project: Project, tx: Transaction) -> Facts:
    """Return what the triggers need to know."""
    started = [event.at for event in tx.events("trigger-fired")]
    last = started[-1] if started else None
    opened = alerts(tx, project.policy.model, open_only=True)
    return Facts(
        now=tx.now,
        last_started=last,
        started_today=sum(at.date() == tx.now.date() for at in started),
        cost_this_week=_cost_since(project, tx, tx.now - WEEK),
        new_rows=_new_rows(project, tx, last),
        quality_alerts=[alert.id for alert in opened if alert.kind == "quality"],
        drift_alerts=[alert.id for alert in opened if alert.kind == "drift"],
        under_way=_under_way(project, tx),
        due=[t.words for t in project.policy.retrain.when if _is_due(t, last, tx.now)],
    )


def _new_rows(project: Project, tx: Transaction, last: datetime | None) -> int:
    """Return how many rows a training of now could learn from that the last one could not."""
    policy = project.policy
    if not any(trigger.kind is TriggerKind.NEW_ROWS for trigger in policy.retrain.when):
        return 0
    since = last or datetime.min.replace(tzinfo=UTC) + policy.truth.arrives
    return matured_count(
        project.workspace, tx, policy.model, since=since, delay=policy.truth.arrives
    )


def _cost_since(project: Project, tx: Transaction, since: datetime) -> float:
    if project.policy.retrain.at_most.cost_per_week is None:
        return 0.0
    return spent(tx, since=since, until=tx.now).cost


def _under_way(project: Project, tx: Transaction) -> str | None:
    for job in list_jobs(tx, states=LIVE):
        if job.kind in (RETRAIN, GATE):
            return f"{job.kind} {job.id} is {job.state}"
    release = current_release(tx, project.policy.model)
    return f"release {release.id} is rolling out" if release else None


def _is_due(trigger: Trigger, last: datetime | None, now: datetime) -> bool:
    if trigger.kind is not TriggerKind.SCHEDULE or trigger.every is None or last is None:
        return False
    return next_time(trigger.every, planned=last, now=last) <= now
