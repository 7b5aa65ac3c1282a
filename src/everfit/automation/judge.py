"""A judgement: which version is held against which, on what rows, and who asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from everfit.automation.facts import GATE
from everfit.automation.project import Project
from everfit.compiling import attempt
from everfit.data import Task
from everfit.deployment import serving_plan
from everfit.errors import Conflict, Invalid, NotFound
from everfit.evaluation import Verdict, evaluate
from everfit.kernel import Job, Transaction, enqueue, list_jobs
from everfit.monitoring.profile import profile_of
from everfit.packages import FittedModel, Signature
from everfit.registry import (
    Compiled,
    ModelVersion,
    Origin,
    check_trusted,
    get_compiled,
    get_version,
    load_package,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Who is judged against whom on what, who asked for it to be trained, and who approved it."""

    version: ModelVersion
    champion: ModelVersion | None
    author: str
    approvals: Sequence[str]
    rows: pl.DataFrame
    time: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdicts; of a version from outside also what could not be known before it was opened.

    ``profile`` is the digest of its reference profile: without one nobody could watch it.
    """

    verdicts: tuple[Verdict, ...]
    signature: Signature | None = None
    profile: str | None = None


def judge(project: Project, case: Case) -> Judged:
    """Return the verdict of every gate of the policy; raises what the version's model does."""
    policy, best = project.policy, case.champion
    fitted = load_package(project.workspace, case.version)
    rival = load_package(project.workspace, best) if best else None
    if case.version.origin is Origin.OUTSIDE:
        _refuse_other_task(fitted, rival.signature.task if rival else policy.task, case.version)
    verdicts = evaluate(
        fitted,
        rival,
        case.rows,
        target=policy.data.target,
        time=case.time,
        gates=policy.gates,
        metric=policy.train.metric,
        approvals=case.approvals,
        author=case.author,
        champion_name=f"champion v{best.number}" if best else "the champion",
    )
    if case.version.origin is Origin.OWN or case.version.profile is not None:
        return Judged(verdicts=verdicts)
    profile = project.workspace.blobs.put(_profile(project, case, fitted))
    signature, target = fitted.signature, policy.data.target
    if target is not None:
        # Whatever it called its answers: what comes back as the truth is named by the policy.
        signature = replace(signature, output=replace(signature.output, name=target))
    return Judged(verdicts=verdicts, signature=signature, profile=profile)


def compiled_for(project: Project, case: Case) -> Compiled | None:
    """Return what comes of compiling the version, proved on the rows it was judged on.

    None where its package was compiled before.
    """
    workspace, package = project.workspace, case.version.require_package()
    with workspace.reading() as tx:
        known = get_compiled(tx, case.version)
    if known is not None:
        return None
    fitted = load_package(workspace, case.version)
    tried = attempt(fitted, case.rows)
    return Compiled(
        package=package,
        content=None if tried.content is None else workspace.blobs.put(tried.content),
        reason=tried.reason,
        signature=fitted.signature,
        seconds=tried.seconds,
    )


def _refuse_other_task(fitted: FittedModel, wanted: str | None, version: ModelVersion) -> None:
    """Refuse a model that answers another question; what clusters passes for any."""
    task = fitted.signature.task
    if wanted not in (None, task, Task.CLUSTERING):
        raise Invalid(
            f"version {version.subject} is a model for {task}, and this project's for {wanted}",
            hint="Log it under a name of its own; a classifier of scikit-learn or one that names "
            "its classes is a model for classification.",
        )


def _profile(project: Project, case: Case, fitted: FittedModel) -> bytes:
    """Return the reference profile of the judged rows: those it was trained on are not known."""
    policy = project.policy
    target = policy.data.target
    rows = case.rows if target is None else case.rows.drop_nulls(target)
    return profile_of(
        fitted,
        rows,
        rows,
        truth=(target, Task(fitted.signature.task)),
        time=case.time,
        window_seconds=policy.monitor.window.total_seconds() if policy.data.time else None,
    )


def judge_again(project: Project, version: int) -> Job:
    """Put a version through its gates, and return the job.

    Raises
    ------
    NotFound, Conflict, Invalid
        As `queue_judgement` does.
    UntrustedModel
        If its package can run code, and nobody vouches for it yet.
    """
    model = project.policy.model
    with project.workspace.reading() as tx:
        found = get_version(tx, model, version)
    check_trusted(project.workspace, found)
    with project.workspace.transaction() as tx:
        return queue_judgement(tx, model, version)


def queue_judgement(tx: Transaction, model: str, version: int) -> Job:
    """Put a version through its gates again, on the held-out rows of its last judgement.

    A version from outside is judged on the rows of the last judgement of any version; if there
    was none, on those that a training would hold out now.

    Raises
    ------
    NotFound
        If there is no such version, or nobody held rows out for it.
    Conflict, Invalid
        If it is released already, or has no package that could be loaded.
    """
    found = get_version(tx, model, version)
    found.require_package()
    plan = serving_plan(tx, model)
    if plan is not None and version in (plan.champion, plan.candidate):
        raise Conflict(
            f"{model} v{version} is released already",
            hint="`everfit status` says where it stands; `everfit rollback` takes it back.",
        )
    jobs = [job for job in list_jobs(tx) if job.kind == GATE]
    own = [job.payload for job in jobs if job.payload["version"] == version]
    if own:
        last = own[-1]
        return queue_gate(tx, version, last["test"], time=last["time"], author=last["author"])
    if found.origin is Origin.OWN:
        raise NotFound(
            f"{model} v{version} has no held-out rows to be judged on",
            hint="Train it with `everfit run`, which holds rows out and queues the judgement.",
        )
    known = [job.payload for job in jobs if job.payload["test"] is not None]
    test, time = (known[-1]["test"], known[-1]["time"]) if known else (None, None)
    return queue_gate(tx, version, test, time=time, author=found.author or "")


def queue_gate(
    tx: Transaction, version: int, test: str | None, *, time: str | None, author: str
) -> Job:
    """Put the judgement of ``version`` on the held-out rows ``test`` into the queue.

    Without ``test``, rows are held out when it is judged. ``author`` is who asked for the
    training, and may not approve it where the policy says so.
    """
    payload = {"version": version, "test": test, "time": time, "author": author}
    return enqueue(tx, GATE, payload, key=f"gate-{version}")
