"""What runs, what waits for whom, and what is next."""

from __future__ import annotations

from collections.abc import Iterator

from everfit.automation.facts import LIVE, RETRAIN, facts
from everfit.automation.model import TriggerKind
from everfit.automation.project import Project
from everfit.automation.triggers import decide
from everfit.deployment import current_release, serving_plan
from everfit.evaluation import Outcome, latest_report
from everfit.kernel import Transaction, list_jobs, next_time
from everfit.monitoring import alerts
from everfit.registry import Origin, champion, get_compiled, get_version, list_versions

Row = tuple[str, str, str]


def standing(project: Project, tx: Transaction) -> list[Row]:
    """Return one row per thing that matters now: what it is, its state, and the detail."""
    return [
        *_serving(project, tx),
        *_versions(project, tx),
        *_work(tx),
        *_alerts(project, tx),
        *_next(project, tx),
    ]


def _serving(project: Project, tx: Transaction) -> Iterator[Row]:
    plan = serving_plan(tx, project.policy.model)
    if plan is None:
        yield "endpoint", "no release", "run `everfit run` to train and release a first model"
        return
    yield "champion", f"v{plan.champion}", f"answers requests{_how(project, tx, plan.champion)}"
    release = current_release(tx, project.policy.model)
    if release is not None:
        step = release.steps[release.step]
        yield (
            f"release {release.id}",
            f"v{release.version} {step}",
            f"waits for its evidence since {release.step_since:%Y-%m-%d %H:%M}",
        )


def _how(project: Project, tx: Transaction, number: int) -> str:
    """Say whether a version answers compiled or natively, and why that; nothing if not tried."""
    found = get_compiled(tx, get_version(tx, project.policy.model, number))
    if found is None:
        return ""
    return f", {'compiled' if found.content else 'natively'}: {found.reason}"


def _versions(project: Project, tx: Transaction) -> Iterator[Row]:
    """Name the newest version where its gates wait for something."""
    # Gates judge what can be loaded.
    versions = [made for made in list_versions(tx, project.policy.model) if made.package]
    best = champion(tx, project.policy.model)
    if not versions or (best and versions[-1].number <= best.number):
        return
    report = latest_report(tx, project.policy.model, versions[-1].number)
    if report is None:
        why = "its gates have not run"
        if versions[-1].origin is Origin.OUTSIDE:
            why = f"logged from outside; `everfit release v{versions[-1].number}` has it judged"
        yield f"v{versions[-1].number}", "not judged", why
        return
    for verdict in report.verdicts:
        if verdict.outcome is not Outcome.PASS:
            yield f"v{report.candidate} gate {verdict.gate}", verdict.outcome, verdict.summary


def _work(tx: Transaction) -> Iterator[Row]:
    for job in list_jobs(tx, states=LIVE):
        why = job.payload.get("reason", "")
        yield f"{job.kind} {job.id}", job.state, f"attempt {job.attempt}; {why}".rstrip("; ")


def _alerts(project: Project, tx: Transaction) -> Iterator[Row]:
    for alert in alerts(tx, project.policy.model, open_only=True):
        yield f"alert {alert.id}", alert.kind, alert.summary


def _next(project: Project, tx: Transaction) -> Iterator[Row]:
    """Say what the triggers ask for, and when the schedules will, as the loop itself decides."""
    if serving_plan(tx, project.policy.model) is None:
        return  # Triggers begin with the first release.
    known = facts(project, tx)
    firing = decide(project.policy.retrain, known)
    if firing is not None:
        state = "starts next" if firing.held is None else "held back"
        yield RETRAIN, state, "; ".join(filter(None, [firing.because, firing.held]))
    last = known.last_started
    rest = project.policy.retrain.at_most.cooldown
    for trigger in project.policy.retrain.when:
        if trigger.kind is TriggerKind.SCHEDULE and trigger.every and last is not None:
            due = next_time(trigger.every, planned=last, now=last)
            if due > tx.now:
                earliest = max(due, last + rest)
                yield RETRAIN, "next", f"{trigger.words}: due {earliest:%Y-%m-%d %H:%M} UTC"
