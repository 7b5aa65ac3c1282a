"""The steps of one training as calls: Everfit's own, and the user's in their place or between."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from everfit import steps
from everfit.data import Source, Task
from everfit.steps import BLOB, Call, Function, Pipeline
from everfit.training.model import TrainingRequest
from everfit.training.search import Trial

STAGES = "everfit.training.stages"
# The prefix of what is logged by steps that several trials share.
TRIALS = "trials"
# What a pipeline.py may ask for although it does not define it.
GIVEN = ("source", "collected", "prepared", "schema", "segregated")
METRICS: Mapping[Task, tuple[str, ...]] = {
    Task.REGRESSION: ("mae", "rmse", "r2", "mape"),
    Task.CLASSIFICATION: ("accuracy", "f1", "roc_auc", "log_loss"),
    Task.CLUSTERING: ("silhouette",),
}


def load_pipeline(path: Path, params: Collection[str]) -> Pipeline:
    """Return the steps that the user's file defines, wired to those that Everfit brings.

    ``params`` are the names of the policy's params, or the mapping of them.

    Raises
    ------
    PipelineInvalid
        Naming every problem.
    """
    return steps.load_pipeline(path, params, known=GIVEN)


def stage(function: str, inputs: Mapping[str, str], /, *, name: str = "", **params: Any) -> Call:
    """Return the call of one of Everfit's own steps, named like its function if not otherwise."""
    return Call(
        name=name or function, function=f"{STAGES}:{function}", inputs=inputs, params=params
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the steps of one training hang together.

    ``version`` identifies the content of the source and ``run`` the run, ``source`` and
    ``expectations`` are the stored values of these parts of the request, ``max_columns`` bounds
    what is read.
    """

    request: TrainingRequest
    pipeline: Pipeline | None
    version: str
    run: str
    source: str
    expectations: str
    max_columns: int

    @property
    def functions(self) -> Mapping[str, Function]:
        """Return the functions of the user's pipeline by name."""
        return self.pipeline.steps if self.pipeline else {}

    @property
    def raw(self) -> str:
        """Return the call that gives the rows as collected, as far as they are known in time."""
        timed = self.request.as_of is not None and self.request.time is not None
        return "known" if timed else "collected"

    @property
    def ready(self) -> str:
        """Return the call that gives the rows to learn from."""
        return "extended" if self.request.extra else self._cleaned

    @property
    def split(self) -> str:
        """Return the call that gives the split that everything after it uses."""
        return "agreed" if "segregated" in self.functions else "segregated"

    @property
    def _cleaned(self) -> str:
        return "cleaned" if "prepared" in self.functions else "prepared"

    @property
    def wires(self) -> dict[str, str]:
        """Return which call, or blob, gives what a function of the user's asks for."""
        return {
            "source": BLOB + self.source,
            "collected": self.raw,
            "prepared": self.ready,
            "segregated": self.split,
        }

    def data_calls(self) -> list[Call]:
        """Return what collects, prepares and segregates, with the user's functions for that."""
        candidates = {spec.name for spec in self.request.candidates}
        late = candidates | self.after({"segregated", *candidates})
        calls = [self.user(name, self.wires) for name in self.functions if name not in late]
        if "collected" not in self.functions:
            calls.append(self._collected())
        return [*calls, *self._row_calls(), *self._split_calls()]

    def _collected(self) -> Call:
        # A file is named by its full path, so only a database's URL may start from the base.
        call = stage(
            "collected",
            {},
            source=asdict(located(self.request)),
            base=str(self.request.base.resolve()),
            max_columns=self.max_columns,
        )
        # Code and path stay the same when the file changes: its content is part of the key.
        return replace(call, version=self.version)

    def _row_calls(self) -> list[Call]:
        request = self.request
        shaped = "prepared" if "prepared" in self.functions else self.raw
        calls = [
            self._schema(shaped),
            stage("prepared", {"rows": shaped, "schema": "schema"}, name=self._cleaned),
            stage("profiled", {"rows": self.ready}),
        ]
        if self.raw == "known" and request.as_of is not None:
            as_of = request.as_of.isoformat()
            calls.append(stage("known", {"rows": "collected"}, time=request.time, as_of=as_of))
        if request.extra:
            inputs = {"rows": self._cleaned, "extra": BLOB + request.extra, "schema": "schema"}
            calls.append(stage("extended", inputs, key=request.key))
        if request.expectations:
            rules = BLOB + self.expectations
            calls.append(stage("checked", {"rows": self.raw, "expectations": rules}))
        return calls

    def _schema(self, rows: str) -> Call:
        request = self.request
        return stage(
            "schema",
            {"rows": rows},
            target=request.target,
            time=request.time,
            task=request.task,
            group=request.group,
            exclude=list(request.exclude),
            roles=dict(request.roles),
            drop_missing_target=request.drop_missing_target,
        )

    def _split_calls(self) -> list[Call]:
        parts = [stage(name, {"segregated": self.split}) for name in ("validation", "test")]
        if self.split == "agreed":
            return [stage("agreed", {"segregated": "segregated"}), *parts]
        inputs = {"prepared": self.ready, "schema": "schema"}
        how = msgspec.to_builtins(self.request.segregation)
        return [stage("segregated", inputs, segregation=how), *parts]

    def trial_calls(
        self, trial: Trial, given: Mapping[str, str], metrics: Sequence[str]
    ) -> list[Call]:
        """Return what scores one trial on the validation rows; the last call gives the scores.

        ``given`` maps what a function may ask for to the blobs that the data calls gave.
        """
        label = trial_label(trial)
        inputs = {"segregated": given["segregated"]}
        if trial.candidate not in self.functions:
            setting = self._setting(trial)
            return [stage("tried", inputs, name=label, metrics=list(metrics), **setting)]
        calls = self._user_fit(trial, given, name=f"{label}: fitted", prefix=label)
        inputs |= {"fitted": calls[-1].name}
        wanted = {"part": "validation", "metrics": list(metrics)}
        return [*calls, stage("scored", inputs, name=label, **wanted)]

    def final_calls(
        self, trial: Trial, given: Mapping[str, str], metrics: Sequence[str]
    ) -> list[Call]:
        """Return what refits the best trial on training and validation rows, and packs it."""
        split = {"segregated": given["segregated"]}
        joined = {**given, "segregated": "joined"}
        if trial.candidate in self.functions:
            fit = self._user_fit(trial, joined, name="fitted")
        else:
            setting = self._setting(trial)
            fit = [stage("trained", {"segregated": "joined"}, name="fitted", **setting)]
        fitted = {"fitted": "fitted"}
        return [
            stage("joined", split),
            *fit,
            stage("packed", fitted),
            stage("signature", fitted),
            stage("scored", fitted | split, name="tested", part="test", metrics=list(metrics)),
        ]

    def _setting(self, trial: Trial) -> dict[str, Any]:
        return {
            "candidate": trial.candidate,
            "params": dict(trial.params),
            "seed": self.request.seed,
        }

    def _user_fit(
        self, trial: Trial, given: Mapping[str, str], *, name: str, prefix: str = ""
    ) -> list[Call]:
        """Return the user's candidate function, what it needs of the user's, and its wrapping.

        What these log is named after the trial; what only the final fit logs, by its name alone.
        """
        function = self.functions[trial.candidate]
        params = dict(trial.params)
        if "seed" in function.defaults and "seed" not in params:
            params["seed"] = self.request.seed
        fit = self.user(trial.candidate, given, **params)
        fit = replace(fit, name=f"{name} estimator", prefix=prefix)
        inputs = {"estimator": fit.name, "segregated": given["segregated"]}
        needed = self._needed(fit, given)
        if prefix:
            needed = [replace(call, prefix=TRIALS) for call in needed]
        return [*needed, fit, stage("wrapped", inputs, name=name)]

    def _needed(self, call: Call, given: Mapping[str, str]) -> list[Call]:
        names = [name for name in sorted(call.needs) if name in self.functions]
        calls = [self.user(name, given) for name in names]
        return [needed for call in calls for needed in [*self._needed(call, given), call]]

    def user(self, name: str, wires: Mapping[str, str], **params: Any) -> Call:
        """Return the call of one function of the user's, fed by ``wires`` and its namesakes."""
        assert self.pipeline is not None  # noqa: S101 - only its functions have such names
        function = self.pipeline.steps[name]
        given = {param: self.request.params[param] for param in function.params}
        # What a function of the user's reads is not known here: each run has it read once.
        reads = name == "collected" or "source" in function.inputs
        return Call(
            name=name,
            function=self.pipeline.reference(name),
            inputs={wanted: wires.get(wanted, wanted) for wanted in function.inputs},
            params={**given, **params},
            own_process=function.own_process,
            version=self.run if reads else "",
        )

    def after(self, names: Collection[str]) -> set[str]:
        """Return the user's functions that need one of ``names``, directly or through others."""
        found: set[str] = set()
        while True:
            reached = found | set(names)
            more = {f.name for f in self.functions.values() if reached & set(f.inputs)} - found
            if not more:
                return found
            found |= more


def trial_label(trial: Trial) -> str:
    """Return the name of the step that scores ``trial``."""
    return f"{trial.candidate} {trial.number}" if trial.number else trial.candidate


def located(request: TrainingRequest) -> Source:
    """Return the request's source with a path that does not depend on where one stands."""
    source = request.source
    if "://" in source.location:
        return source
    return replace(source, location=str((request.base / source.location).resolve()))
