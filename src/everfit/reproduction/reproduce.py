"""Run a training again from what is on record of it, and compare what every step gives.

Nothing of today is used but the machine and what is installed on it: code, rows, parameters and
seeds are the recorded ones. The steps run in a workspace of their own in a temporary folder, so
nothing is found in the cache and nothing is left behind but the verdict.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from everfit.errors import (
    Conflict,
    EverfitError,
    Invalid,
    LedgerBroken,
    NotFound,
    Refused,
    StepFailed,
)
from everfit.kernel import Transaction, Workspace, open_workspace
from everfit.measures.figures import counted
from everfit.reproduction.model import (
    TOLERANCE,
    Change,
    Checked,
    Likeness,
    Reproduction,
    Verdict,
    changes,
    judged,
    likened,
    verdict_of,
)
from everfit.reproduction.service import record_reproduction
from everfit.steps import (
    BLOB,
    Call,
    Progress,
    StepPool,
    execute,
    hand_over,
    load_value,
    quiet,
    run_steps,
)
from everfit.tracking import (
    LOGGED,
    RecordedCode,
    Run,
    RunStatus,
    Stage,
    environment_lock,
    get_run,
    kept_code,
    kept_environment,
    restore_code,
)
from everfit.tracking.compare import installed
from everfit.training import KIND, RecordedStep, get_recipe

LIKENESS = "everfit.reproduction.likeness:likeness"
AGAIN, COMPARED = "again", "compared"
MOST_TOLD = 50
ALIKE = (Likeness.TAKEN, Likeness.IDENTICAL)
# What a record, or the code in it, can be at fault for; anything else is a trouble of today.
AT_FAULT = (StepFailed, Invalid, NotFound, Refused, LedgerBroken)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """What a run left that it can be run again from."""

    steps: tuple[RecordedStep, ...]
    code: RecordedCode
    environment: tuple[Change, ...]


def reproduce_run(
    workspace: Workspace,
    run_id: str,
    *,
    project: Path,
    pool: StepPool,
    progress: Progress = quiet,
    tolerance: float = TOLERANCE,
) -> Reproduction:
    """Run a training again and return whether it gives what it gave; the run keeps the verdict.

    Parameters
    ----------
    project
        The folder in whose git the commit of the recorded code is looked for.
    tolerance
        Relative difference of numbers up to which values that differ in bytes count as equal.

    Raises
    ------
    NotFound, Invalid, Conflict
        If there is no such run, it is no training, or it has not finished.
    """
    with workspace.reading() as tx:
        _refuse(get_run(tx, run_id))
    environment: tuple[Change, ...] = ()
    try:
        with workspace.reading() as tx:
            record = _record(workspace, tx, run_id)
        environment = record.environment
        _tell(environment, progress)
        with tempfile.TemporaryDirectory(prefix="everfit-reproduce-") as name:
            root = _restored(record, Path(name) / "code", project)
            again = _Again(
                workspace=workspace,
                scratch=_scratch(workspace, Path(name) / "home"),
                record=record,
                root=root,
                pool=pool,
                progress=progress,
                tolerance=tolerance,
            )
            verdict, why, steps = again.run()
        if not environment:
            environment = again.moved
            _tell(environment, progress)
    except AT_FAULT as error:
        verdict, why, steps = Verdict.IMPOSSIBLE, _first_line(error), ()
    found = Reproduction(
        run=run_id,
        verdict=verdict,
        why=why,
        tolerance=tolerance,
        environment=environment,
        steps=steps,
    )
    with workspace.transaction() as tx:
        record_reproduction(tx, found, actor=workspace.settings.actor)
    return found


def _tell(environment: Sequence[Change], progress: Progress) -> None:
    if environment:
        progress.note(f"installed are not the {counted(len(environment), 'thing')} recorded:")
    for change in environment[:MOST_TOLD]:
        progress.note(f"  {change}")
    if len(environment) > MOST_TOLD:
        progress.note(f"  and {len(environment) - MOST_TOLD} more")


def _refuse(run: Run) -> None:
    if run.kind != KIND:
        what = "was logged by a client" if run.kind == LOGGED else f"is of kind {run.kind!r}"
        raise Invalid(
            f"run {run.id} {what}: nothing is recorded that could be run again",
            hint="Only trainings of the loop can: those of kind `training` in `everfit runs`.",
            run=run.id,
        )
    if run.stage is not Stage.ACTIVE or run.status is not RunStatus.FINISHED:
        state = run.stage if run.stage is not Stage.ACTIVE else run.status
        raise Conflict(
            f"run {run.id} is {state}: there is no whole result to compare with",
            hint="Take a run that has finished; a deleted one can be restored.",
            run=run.id,
        )


def _record(workspace: Workspace, tx: Transaction, run_id: str) -> _Record:
    recipe = get_recipe(tx, workspace.blobs, run_id)
    # By the digests in the recipe: a file among the artifacts of a run can be replaced.
    code = kept_code(workspace.blobs, recipe.kept)
    lock = kept_environment(workspace.blobs, recipe.kept)
    if code is None:
        raise NotFound(f"run {run_id} did not record its code", hint="Train it again.")
    return _Record(
        steps=recipe.steps,
        code=code,
        environment=changes(installed(lock), installed(environment_lock())),
    )


def _restored(record: _Record, folder: Path, project: Path) -> Path:
    functions = [step.function for step in record.steps]
    outside = [function for function in functions if Path(function).is_absolute()]
    if outside:
        raise NotFound(
            f"the code of {outside[0]} was not recorded: it lies outside of the project's folder",
            hint="Keep pipeline.py in the folder of everfit.yaml, and train again.",
        )
    folder.mkdir()
    return restore_code(record.code, folder, project=project)


def _scratch(workspace: Workspace, home: Path) -> Workspace:
    url = f"sqlite:///{home / 'everfit.db'}"
    settings = replace(workspace.settings, home=home, database_url=url)
    return open_workspace(settings, clock=workspace.clock, durable=False)


def _first_line(error: EverfitError) -> str:
    return error.message.partition("\n")[0]


@dataclass(slots=True, kw_only=True)
class _Again:
    """One training run again, in ``scratch``, with the code in ``root``."""

    workspace: Workspace
    scratch: Workspace
    record: _Record
    root: Path
    pool: StepPool
    progress: Progress
    tolerance: float
    moved: tuple[Change, ...] = ()

    def run(self) -> tuple[Verdict, str, tuple[Checked, ...]]:
        """Run every step and compare; return the verdict, why, and how each step came out."""
        try:
            self._hand_over()
            failed = self._execute()
            with self.scratch.reading() as tx:
                made = {step.name: step for step in run_steps(tx, AGAIN)}
            digests = {name: step.digest for name, step in made.items()}
            checked = [self._checked(step, digests.get(step.name)) for step in self.record.steps]
            self.moved = self._moved(checked, {name: step.key for name, step in made.items()})
        finally:
            self.scratch.close()
        if failed:
            return Verdict.IMPOSSIBLE, failed, tuple(checked)
        steps = judged(self.record.steps, checked)
        return *verdict_of(steps), steps

    def _moved(self, checked: Sequence[Checked], keys: Mapping[str, str]) -> tuple[Change, ...]:
        """Return the first step that ran by other code although its inputs are the recorded ones.

        The project's own code is the recorded one, so it is Everfit's, or lies outside of it.
        """
        like = {check.name for check in checked if check.likeness in ALIKE}
        for step in self.record.steps:
            key = keys.get(step.name, step.key)
            sources = (source for source in step.inputs.values() if not source.startswith(BLOB))
            if key != step.key and like.issuperset(sources):
                name = f"code of Everfit, or outside the project, behind {step.name!r}:"
                return (Change(name=name, recorded=step.key[:12], installed=key[:12]),)
        return ()

    def _taken(self) -> dict[str, str]:
        """Return what steps that read the source gave, by name: the recorded data."""
        return {step.name: step.digest for step in self.record.steps if step.reads_source}

    def _hand_over(self) -> None:
        """Give the steps their recorded data, and whatever else no step gives."""
        taken = self._taken()
        wanted = {digest: f"what step {name!r} gave" for name, digest in taken.items()}
        for step in self.record.steps:
            if step.name not in taken:
                for parameter, source in step.inputs.items():
                    if source.startswith(BLOB):
                        what = f"{parameter!r} of step {step.name!r}"
                        wanted.setdefault(source.removeprefix(BLOB), what)
        for digest, what in wanted.items():
            try:
                hand_over(self.workspace, self.scratch, digest)
            except NotFound as error:
                raise NotFound(
                    f"{what} is not stored any more: no blob {digest}", hint=error.hint
                ) from error

    def _execute(self) -> str:
        """Run the steps, and return why one of them failed, or nothing."""
        try:
            execute(self.scratch, AGAIN, self._calls(), pool=self.pool, progress=self.progress)
        except AT_FAULT as error:
            return _first_line(error)
        return ""

    def _calls(self) -> Sequence[Call]:
        taken = self._taken()
        return [
            Call(
                name=step.name,
                function=self._placed(step.function),
                inputs={
                    parameter: BLOB + taken[source] if source in taken else source
                    for parameter, source in step.inputs.items()
                },
                params=step.params,
                own_process=step.own_process,
            )
            for step in self.record.steps
            if step.name not in taken
        ]

    def _placed(self, function: str) -> str:
        is_file = function.rpartition(":")[0].endswith(".py")
        return f"{self.root / function}" if is_file else function

    def _checked(self, step: RecordedStep, made: str | None) -> Checked:
        if step.reads_source:
            return Checked(name=step.name, likeness=Likeness.TAKEN, difference=None)
        if made is None:
            return Checked(name=step.name, likeness=Likeness.NOT_RUN, difference=None)
        if made == step.digest:
            return Checked(name=step.name, likeness=Likeness.IDENTICAL)
        try:
            return likened(step.name, self._likeness(step, made), self.tolerance)
        except AT_FAULT as error:
            detail = f"cannot be compared: {_first_line(error)}"
            return Checked(name=step.name, likeness=Likeness.OPAQUE, detail=detail)

    def _likeness(self, step: RecordedStep, made: str) -> Mapping[str, object]:
        """Return how far the step's value is from the recorded one, found in a child."""
        inputs = {"recorded": step.digest, "again": made}
        # Models are asked about the recorded held-out rows.
        held_out = [other.digest for other in self.record.steps if other.name == "test"]
        if held_out:
            inputs["rows"] = held_out[0]
        for digest in {*inputs.values()} - {made}:
            hand_over(self.workspace, self.scratch, digest)
        files = [step.function.rpartition(":")[0] for step in self.record.steps]
        own = next((self.root / file for file in files if file.endswith(".py")), None)
        call = Call(
            name=f"compare {step.name}",
            function=LIKENESS,
            inputs={parameter: BLOB + digest for parameter, digest in inputs.items()},
        )
        result = execute(self.scratch, COMPARED, [call], pool=self.pool, beside=own)
        found: Mapping[str, object] = load_value(self.scratch, result[call.name].digest)
        return found
