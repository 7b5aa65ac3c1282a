"""Train: from a request to a registered version, resumable, with all its evidence on record."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import polars as pl

from everfit.data import Schema, Segregation, Source, Task, store_version
from everfit.errors import PolicyInvalid, Problem
from everfit.kernel import Transaction, Workspace
from everfit.measures.scores import better_is
from everfit.packages import Signature
from everfit.registry import get_version, register
from everfit.steps import (
    BLOB,
    Call,
    Heartbeat,
    Progress,
    StepLogs,
    StepPool,
    StepResult,
    execute,
    load_value,
    quiet,
    store_value,
)
from everfit.tracking import (
    Run,
    RunStatus,
    Scalar,
    artifacts,
    capture_code,
    experiment_named,
    finish_run,
    log_params,
    record_provenance,
    start_run,
)
from everfit.training.attach import attach_artifact, attach_model, log_results
from everfit.training.candidates import check_candidates
from everfit.training.ending import ending
from everfit.training.model import BEST, CandidateScore, TrainingRequest, TrainingResult
from everfit.training.plan import METRICS, Plan, load_pipeline, located, trial_label
from everfit.training.recipe import RECIPE, Recipe, Recorder
from everfit.training.records import RESULT
from everfit.training.search import Competitor, Search, Trial, competitor
from everfit.training.service import record_recipe

KIND = "training"
JSON = "application/json"
Finish = Callable[[Transaction, TrainingResult], None]


def train(
    workspace: Workspace,
    request: TrainingRequest,
    *,
    run_id: str,
    pool: StepPool | None = None,
    progress: Progress = quiet,
    lease: Heartbeat | None = None,
    finish: Finish | None = None,
    profile_maker: str | None = None,
) -> TrainingResult:
    """Train what is asked for and return the version it was registered as.

    Called again under the same ``run_id``, after whatever interruption, it goes on where it was;
    a run that has finished only gives its result again. Version, metrics, dataset version and
    the end of the run are committed in one transaction, in which ``finish`` is called too.

    Parameters
    ----------
    profile_maker
        ``"module:function"`` of a step ``(fitted, segregated, window_seconds) -> bytes`` that
        makes the reference profile; without it the version has none.

    Raises
    ------
    PolicyInvalid, PipelineInvalid, DataInvalid, SourceMissing
        If the request, the user's steps or the data cannot be used; the run has then failed.
    StepFailed
        If a step raised an error or its process ended.
    Cancelled, LeaseLost
        From ``lease``; nothing is registered.
    """
    code = capture_code(request.base)
    with workspace.transaction() as tx:
        experiment = experiment_named(tx, request.model).id
        run = start_run(tx, kind=KIND, name=request.model, run_id=run_id, experiment=experiment)
        if run.status is RunStatus.FINISHED:
            return result_of(workspace, tx, request.model, run.id)
        log_params(tx, run_id, _asked(request))
        kept = record_provenance(tx, workspace.blobs, run_id, code)
    logs = StepLogs(workspace, run_id, progress, reserved=BEST)
    with ending(workspace, run_id, logs), contextlib.ExitStack() as stack:
        training = _Training(
            workspace=workspace,
            request=request,
            run=run,
            pool=pool or stack.enter_context(StepPool(workspace)),
            progress=progress,
            lease=lease,
            logs=logs,
            plan=planned(workspace, request, run_id),
            kept=kept,
            recorder=Recorder(request.base),
        )
        made = training.make(profile_maker)
        with workspace.transaction() as tx:
            result = training.register(tx, made)
            if finish is not None:
                finish(tx, result)
        return result


def result_of(workspace: Workspace, tx: Transaction, model: str, run_id: str) -> TrainingResult:
    """Return what a training that has finished gave."""
    stored = msgspec.json.decode(workspace.blobs.get(artifacts(tx, run_id)[RESULT].digest))
    stored["version"] = get_version(tx, model, stored["version"])
    stored["leaderboard"] = tuple(CandidateScore(**score) for score in stored["leaderboard"])
    return TrainingResult(**stored)


def planned(workspace: Workspace, request: TrainingRequest, run_id: str) -> Plan:
    """Return the plan of ``request``; raises PolicyInvalid, PipelineInvalid."""
    pipeline = load_pipeline(request.pipeline, request.params) if request.pipeline else None
    source = located(request)
    functions = pipeline.steps if pipeline else {}
    asked_for = any("source" in function.inputs for function in functions.values())
    plan = Plan(
        request=request,
        pipeline=pipeline,
        version="" if "collected" in functions else _content_version(source, run_id),
        run=run_id,
        source=store_value(workspace, source) if asked_for else "",
        expectations=(store_value(workspace, request.expectations) if request.expectations else ""),
        max_columns=workspace.settings.max_columns,
    )
    _refuse(plan, request.task)
    return plan


def _content_version(source: Source, run_id: str) -> str:
    """Return what changes when the rows of the source may have changed."""
    if "://" in source.location:
        return run_id
    try:
        with open(source.location, "rb") as file:  # noqa: PTH123 - the location may be any text
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        # `collected` says what is wrong with it, and which files are near.
        return run_id


def _refuse(plan: Plan, task: Task | None) -> None:
    request = plan.request
    problems = check_candidates(request.candidates, task=task, functions=plan.functions)
    for spec in request.candidates:
        function = plan.functions.get(spec.name)
        if function is None:
            continue
        settable = {*function.defaults, *function.params}
        problems += [
            Problem(
                path=f"{spec.name}.{name}",
                found="no parameter of this function with a plain default",
                remedy=f"use one of {', '.join(sorted(settable)) or 'none'}",
            )
            for name in {*spec.params, *spec.search} - settable
        ]
    if not request.candidates:
        problems.append(Problem(path="candidates", found="none", remedy="name one"))
    if task is not None and request.metric not in METRICS[task]:
        remedy = f"use {' or '.join(METRICS[task])} for {task}"
        problems.append(Problem(path="metric", found=repr(request.metric), remedy=remedy))
    if problems:
        raise PolicyInvalid.of(
            "the training", problems, hint="Correct them all under `train`, then train again."
        )


def _asked(request: TrainingRequest) -> dict[str, Scalar]:
    segregation: Segregation = request.segregation
    return {
        "model": request.model,
        "source": request.source.location,
        "target": request.target,
        "time": request.time,
        "as_of": request.as_of.isoformat() if request.as_of else None,
        "extra": request.extra,
        "metric": request.metric,
        "trials": request.trials,
        "candidates": ", ".join(spec.name for spec in request.candidates),
        "seed": request.seed,
        "split.how": segregation.how,
        "split.seed": segregation.seed,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """Everything the steps gave that the version is registered with."""

    best: Trial
    leaderboard: tuple[CandidateScore, ...]
    tested: Mapping[str, float]
    signature: Signature
    rows: pl.DataFrame
    time: str | None
    results: Mapping[str, StepResult]


@dataclass(slots=True, kw_only=True)
class _Training:
    """One training under way."""

    workspace: Workspace
    request: TrainingRequest
    run: Run
    pool: StepPool
    progress: Progress
    lease: Heartbeat | None
    logs: StepLogs
    plan: Plan
    kept: Mapping[str, str]
    recorder: Recorder
    done: dict[str, StepResult] = field(default_factory=dict)

    def make(self, profile_maker: str | None) -> _Made:
        """Run every step: data, trials, the final fit."""
        self._execute(self.plan.data_calls())
        schema: Schema = self._value("schema")
        _refuse(self.plan, schema.task)
        metric = self.request.metric
        metrics = [metric, *(other for other in METRICS[schema.task] if other != metric)]
        given = self._given()
        trials, leaderboard = self._search(given, metrics)
        best = trials[0]
        calls = self.plan.final_calls(best, given, metrics)
        if profile_maker is not None:
            calls.append(
                Call(
                    name="profile",
                    function=profile_maker,
                    inputs={"fitted": "fitted", "segregated": given["segregated"]},
                    params={"window_seconds": self.request.window_seconds},
                )
            )
        self._execute(calls)
        return _Made(
            best=best,
            leaderboard=leaderboard,
            tested=self._value("tested"),
            signature=Signature.from_builtins(self._value("signature")),
            rows=self._value(self.plan.ready),
            time=schema.time,
            results=dict(self.done),
        )

    def _execute(self, calls: Sequence[Call]) -> None:
        made = execute(
            self.workspace,
            self.run.id,
            calls,
            pool=self.pool,
            progress=self.progress,
            lease=self.lease,
            logs=self.logs,
        )
        self.recorder.add(calls, made)
        self.done |= made

    def _value(self, name: str) -> Any:
        return load_value(self.workspace, self.done[name].digest)

    def _given(self) -> dict[str, str]:
        """Return the blobs of what later steps may ask for, by the names they ask by."""
        blobs = {name: BLOB + result.digest for name, result in self.done.items()}
        named = {name: blobs.get(source, source) for name, source in self.plan.wires.items()}
        return blobs | named

    def _search(
        self, given: Mapping[str, str], metrics: Sequence[str]
    ) -> tuple[list[Trial], tuple[CandidateScore, ...]]:
        """Return every trial and its score, the best first."""
        better = better_is(metrics[0])
        search = Search(
            self._competitors(), trials=self.request.trials, better=better, seed=self.request.seed
        )
        found: list[tuple[Trial, CandidateScore]] = []
        while trials := search.ask():
            calls = {trial_label(t): self.plan.trial_calls(t, given, metrics) for t in trials}
            self._execute(_unique(call for needed in calls.values() for call in needed))
            for trial in trials:
                score = self._score(trial, calls[trial_label(trial)])
                search.tell(trial, score.value)
                found.append((trial, score))
        # Of equals the first: candidates stand in the order in which they were named.
        found.sort(key=lambda pair: pair[1].value, reverse=better == "higher")
        return [trial for trial, _ in found], tuple(score for _, score in found)

    def _competitors(self) -> list[Competitor]:
        functions = self.plan.functions
        found = []
        for spec in self.request.candidates:
            function = functions.get(spec.name)
            defaults = None
            if function is not None:
                # Chance is the training's to set, unless the policy does.
                defaults = {k: v for k, v in function.defaults.items() if k != "seed"}
            found.append(competitor(spec, defaults=defaults))
        return found

    def _score(self, trial: Trial, calls: Sequence[Call]) -> CandidateScore:
        return CandidateScore(
            name=trial.candidate,
            params=trial.params,
            value=self._value(calls[-1].name)[self.request.metric],
            cpu_seconds=sum(self.done[call.name].cpu_seconds for call in calls),
        )

    def register(self, tx: Transaction, made: _Made) -> TrainingResult:
        """Write the version, its dataset, the metrics and the end of the run; return the result."""
        run, blobs, results = self.run.id, self.workspace.blobs, made.results
        dataset = store_version(tx, blobs, made.rows, name=self.request.model)
        version = register(
            tx,
            model=self.request.model,
            run=run,
            package=results["packed"].digest,
            dataset=dataset.id,
            profile=results["profile"].digest if "profile" in results else None,
            signature=made.signature,
            metrics={**made.tested, f"validation_{self.request.metric}": made.leaderboard[0].value},
            algorithm=made.best.candidate,
        )
        result = TrainingResult(
            run_id=run,
            version=version,
            dataset=dataset.id,
            test=results["test"].digest,
            validation=results["validation"].digest,
            leaderboard=made.leaderboard,
            metrics={**version.metrics, **self._spent()},
            steps=len(results),
            cached=sum(result.cached for result in results.values()),
            time=made.time,
        )
        best = {f"{BEST}.{name}": value for name, value in made.best.params.items()}
        log_params(tx, run, {BEST: made.best.candidate, **best})
        log_results(tx, run, result.metrics)
        summary = {**msgspec.to_builtins(result), "version": version.number}
        attach = partial(attach_artifact, tx, blobs, run)
        attach(RESULT, digest=blobs.put(msgspec.json.encode(summary)), media=JSON)
        recipe = Recipe(kept=self.kept, steps=tuple(self.recorder.steps))
        attach(RECIPE, digest=record_recipe(tx, blobs, recipe), media=JSON)
        attach("columns.json", digest=results["profiled"].digest, media=JSON)
        attach_model(tx, blobs, run, version)
        finish_run(tx, run, RunStatus.FINISHED)
        return result

    def _spent(self) -> dict[str, float]:
        """Return what this run's own steps took; what other runs had made was free."""
        own = [
            result
            for result in self.done.values()
            # Found in the cache but made since the run began: made by an attempt before this.
            if not result.cached or result.finished_at >= self.run.started_at
        ]
        return {
            "cost": sum(result.cost for result in own),
            "cpu_seconds": sum(result.cpu_seconds for result in own),
            "wall_seconds": sum(result.wall_seconds for result in own),
            "peak_bytes": float(max((result.peak_bytes for result in own), default=0)),
        }


def _unique(calls: Iterable[Call]) -> list[Call]:
    """Return the calls, each once: trials share what their functions need."""
    return list({call.name: call for call in calls}.values())
