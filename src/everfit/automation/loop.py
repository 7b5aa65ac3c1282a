"""The loop: watch, move rollouts, start what is due, train, gate, release. One tick at a time.

Everything here is safe to repeat: a tick reads, decides and writes in short transactions, and
the long work (training, gating) is durable jobs whose last transaction also ends the job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Event, Lock

import polars as pl

from everfit.automation.facts import GATE, LIVE, RETRAIN, facts
from everfit.automation.judge import Case, compiled_for, judge, queue_gate
from everfit.automation.project import Project, project_digest, read_policy
from everfit.automation.triggers import Firing, decide
from everfit.deployment import (
    Decision,
    advance,
    current_release,
    guard,
    live_release,
    serving_plan,
    start_release,
)
from everfit.errors import Conflict, EverfitError, StaleRevision
from everfit.evaluation import Outcome, combined
from everfit.evaluation import decide as decide_gates
from everfit.governance import approvals
from everfit.kernel import (
    Handler,
    Job,
    Lease,
    Transaction,
    Workspace,
    enqueue,
    list_jobs,
)
from everfit.monitoring import (
    LiveWatch,
    Monitor,
    SweepResult,
    evidence,
    matured,
)
from everfit.registry import (
    ModelVersion,
    champion,
    complete_version,
    get_version,
    note_compiled,
)
from everfit.steps import Progress, StepPool, load_value, quiet, store_value
from everfit.training import EXTRA_TIME, TrainingResult, hold_out, train

log = logging.getLogger(__name__)
PROFILE_MAKER = "everfit.monitoring.profile:profiled"
# How often the logs are swept: so often in a window, but no more seldom than that.
SWEEPS_PER_WINDOW = 500
LONGEST_PAUSE, ROLLING_PAUSE = timedelta(minutes=1), timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What one turn of the loop saw and did."""

    swept: SweepResult | None
    rollout: Decision | None
    fired: Firing | None


class Loop:
    """Drives one project. Holds what is costly to open: the monitor's caches and the step pool.

    ``compiles`` says whether what is released is compiled first.
    """

    def __init__(
        self,
        project: Project,
        pool: StepPool,
        *,
        progress: Progress = quiet,
        compiles: bool = True,
    ) -> None:
        self.project = project
        self.pool = pool
        self.progress = progress
        self.compiles = compiles
        self.endpoint = project.policy.model
        self.monitor = Monitor(project.workspace, self.endpoint, project.monitor_config())
        self.watch = LiveWatch(project.workspace, self.endpoint)
        self.swept_at: datetime | None = None
        # Why a changed policy was not taken up the last time.
        self.refused = ""
        self.reading_policy = Lock()

    @property
    def workspace(self) -> Workspace:
        """Return the workspace of the project."""
        return self.project.workspace

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Return what a worker needs to run this project's durable work."""
        return {RETRAIN: self.retrain, GATE: self.gate}

    def tick(self) -> Tick:
        """Watch what is new, move the rollout if its evidence allows, start what is due."""
        self.take_up_policy()
        with self.workspace.reading() as tx:
            released = serving_plan(tx, self.endpoint) is not None
        swept = self.sweep() if released else None
        rollout = self.move_rollout() if released else None
        if swept is not None and rollout is None:
            rollout = self.guard()
        return Tick(swept=swept, rollout=rollout, fired=self.fire() if released else None)

    def sweep(self) -> SweepResult | None:
        """Take in what the logs hold, unless that was done a moment ago."""
        now = self.workspace.clock.now()
        if self.swept_at is not None and now < self.swept_at + self._pause():
            return None
        found = self.monitor.sweep(now)
        self.swept_at = now
        return found

    def _pause(self) -> timedelta:
        """Return how long to leave the logs alone: each sweep seals a part that is read later."""
        with self.workspace.reading() as tx:
            rolling = current_release(tx, self.endpoint) is not None
        longest = ROLLING_PAUSE if rolling else LONGEST_PAUSE
        return min(self.project.policy.monitor.window / SWEEPS_PER_WINDOW, longest)

    def take_up_policy(self) -> None:
        """Read policy and pipeline again where they have changed; what is wrong changes nothing."""
        # Turns and jobs run in threads of their own: none goes on under a policy that is no more.
        with self.reading_policy:
            if self.project.history_ends is None:
                self._take_up_policy()

    def _take_up_policy(self) -> None:
        project = self.project
        try:
            digest = project_digest(project.folder)
            if digest == project.digest:
                return
            currency = self.workspace.settings.currency
            policy, pipeline = read_policy(project.folder, currency=currency)
        except EverfitError as error:
            self._refuse(f"{error.message}\n  -> {error.hint}")
            return
        if policy.model != self.endpoint:
            self._refuse(f"its model is {policy.model} now; start again to serve that")
            return
        with self.workspace.transaction() as tx:
            known = tx.events("policy-changed")
            if not known or known[-1].data["digest"] != digest:
                tx.record("policy-changed", self.endpoint, digest=digest)
        path = pipeline.path if pipeline else None
        self.project = replace(project, policy=policy, pipeline=path, digest=digest)
        self.monitor = Monitor(self.workspace, self.endpoint, self.project.monitor_config())
        self.refused = ""

    def _refuse(self, why: str) -> None:
        """Say once, and not at every turn, why a changed policy is not taken up."""
        if why != self.refused:
            log.warning("%s keeps its policy: %s", self.endpoint, why)
        self.refused = why

    def run_until(
        self, stop: Event, every_seconds: float, tell: Callable[[], None] = lambda: None
    ) -> None:
        """Tick and ``tell`` every so often until ``stop`` is set; a tick that fails is logged."""
        while not stop.is_set():
            try:
                self.tick()
                tell()
            except Conflict:
                log.info("another process moved %s first", self.endpoint)
            except Exception:
                # Every tick starts from what is stored: the next one repeats what this one left.
                log.exception("a turn of the loop of %s failed", self.endpoint)
            stop.wait(every_seconds)

    def move_rollout(self) -> Decision | None:
        """Judge the release that is rolling out, if there is one, and apply the judgement."""
        with self.workspace.reading() as tx:
            release = current_release(tx, self.endpoint)
            if release is None:
                return None
            found = evidence(self.workspace, tx, self.endpoint, release)
        with self.workspace.transaction() as tx:
            return advance(tx, release.id, found, self.project.policy.rollback)

    def guard(self) -> Decision | None:
        """Take the live version back if it is proven to break a rule that acts at once."""
        rules = self.project.policy.rollback
        with self.workspace.reading() as tx:
            release = live_release(tx, self.endpoint)
            if release is None or not rules.now:
                return None
            found = self.watch.evidence(tx, release)
        with self.workspace.transaction() as tx:
            return guard(tx, self.endpoint, found, rules, version=release.version)

    def fire(self) -> Firing | None:
        """Start a retraining if a trigger asks for it and its limits allow."""
        with self.workspace.reading() as tx:
            firing = decide(self.project.policy.retrain, facts(self.project, tx))
        if firing is not None and firing.held is None:
            start_retraining(self.project, reason=firing.because, trigger=firing.trigger.words)
        return firing

    def retrain(self, workspace: Workspace, lease: Lease) -> None:
        """Train what the policy declares; the last transaction also queues the gate."""
        self.take_up_policy()
        as_of = datetime.fromisoformat(lease.job.payload["as_of"])
        author = lease.job.payload["actor"]
        # Another thread may take up a new policy meanwhile: this training is all of one.
        project = self.project
        request = project.training_request(as_of=as_of, feedback=self._feedback(as_of))

        def finish(tx: Transaction, result: TrainingResult) -> None:
            queue_gate(tx, result.version.number, result.test, time=result.time, author=author)
            lease.finish(tx, {"version": result.version.number, "run": result.run_id})

        train(
            workspace,
            request,
            # Another policy is another run: the old one's record stays as it was.
            run_id=f"run_{lease.job.id.removeprefix('job_')}_{project.digest[:8]}",
            pool=self.pool,
            progress=self.progress,
            lease=lease,
            finish=finish,
            profile_maker=PROFILE_MAKER,
        )

    def _feedback(self, as_of: datetime) -> str | None:
        """Store the labelled predictions known at ``as_of`` and return their digest."""
        with self.workspace.reading() as tx:
            if serving_plan(tx, self.endpoint) is None:
                return None
            rows = matured(
                self.workspace,
                tx,
                self.endpoint,
                time=EXTRA_TIME,
                key=self.project.policy.truth.key,
                until=as_of,
            )
        if not rows.height:
            return None
        # Truth that came early is not yet that of all: only some kinds of rows have it.
        rows = rows.filter(pl.col(EXTRA_TIME) <= as_of - self.project.policy.truth.arrives)
        return store_value(self.workspace, rows) if rows.height else None

    def gate(self, workspace: Workspace, lease: Lease) -> None:
        """Judge a version against the champion and release it if every gate passes."""
        self.take_up_policy()
        number = lease.job.payload["version"]
        # Another thread may take up a new policy meanwhile: this judgement is all of one.
        project = self.project
        rows, time = self._held_out(project, lease)
        with workspace.reading() as tx:
            case = Case(
                version=get_version(tx, self.endpoint, number),
                champion=champion(tx, self.endpoint),
                author=lease.job.payload["author"],
                approvals=_approvals(tx, self.endpoint, number),
                rows=rows,
                time=time,
            )
        found = judge(project, case)
        passes = combined(verdict.outcome for verdict in found.verdicts) is Outcome.PASS
        compiled = compiled_for(project, case) if passes and self.compiles else None
        with workspace.transaction() as tx:
            self._refuse_stale(tx, case)
            report = decide_gates(
                tx,
                model=self.endpoint,
                candidate=number,
                champion=_number(case.champion),
                verdicts=found.verdicts,
                rows=rows,
                gates=project.policy.gates,
                metric=project.policy.train.metric,
            )
            if found.signature is not None and found.profile is not None:
                complete_version(
                    tx, self.endpoint, number, signature=found.signature, profile=found.profile
                )
            if compiled is not None:
                note_compiled(tx, case.version, compiled)
            if report.outcome is Outcome.PASS:
                steps = project.policy.rollout
                start_release(tx, endpoint=self.endpoint, version=number, steps=steps)
            lease.finish(tx, {"report": report.id, "outcome": report.outcome})

    def _held_out(self, project: Project, lease: Lease) -> tuple[pl.DataFrame, str | None]:
        """Return the rows to judge on, and their column of time."""
        payload = lease.job.payload
        if payload["test"] is not None:
            rows: pl.DataFrame = load_value(self.workspace, payload["test"])
            return rows, payload["time"]
        return hold_out(
            self.workspace,
            project.training_request(as_of=self.workspace.clock.now(), feedback=None),
            run_id=f"run_{lease.job.id.removeprefix('job_')}_{project.digest[:8]}",
            pool=self.pool,
            progress=self.progress,
            lease=lease,
        )

    def _refuse_stale(self, tx: Transaction, case: Case) -> None:
        number = case.version.number
        if _number(champion(tx, self.endpoint)) != _number(case.champion):
            raise StaleRevision(
                f"the champion of {self.endpoint} changed while v{number} was judged",
                hint="The judgement is repeated by itself.",
            )
        if _approvals(tx, self.endpoint, number) != case.approvals:
            raise StaleRevision(
                f"v{number} was approved while it was judged",
                hint="The judgement is repeated by itself.",
            )


def _approvals(tx: Transaction, model: str, version: int) -> list[str]:
    return [approval.person for approval in approvals(tx, model, version)]


def _number(version: ModelVersion | None) -> int | None:
    return version.number if version else None


def start_retraining(
    project: Project, *, reason: str, trigger: str = "manual", actor: str = "everfit"
) -> Job:
    """Put a retraining into the queue, once however often it is asked for, and return it."""
    model = project.policy.model
    with project.workspace.transaction() as tx:
        live = [job for job in list_jobs(tx, states=LIVE) if job.kind == RETRAIN]
        if live:
            return live[0]
        payload = {"as_of": tx.now.isoformat(), "reason": reason, "actor": actor}
        payload["asked"] = tx.new_id("ask")
        job = enqueue(tx, RETRAIN, payload, key=model)
        if job.payload["asked"] != payload["asked"]:
            return job  # Another process asked at the same moment.
        tx.record("trigger-fired", job.id, actor, reason=reason, trigger=trigger, model=model)
    return job
