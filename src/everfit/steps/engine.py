"""Run steps: find what is cached, run the rest side by side, record each value once it is durable.

A value is found again by its key: the recipe (code, params, ``version``, environment) and the
content of the inputs. A run that was killed resumes where it was, for what had finished is found.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import everfit
from everfit.errors import PipelineInvalid, Problem, UntrustedModel
from everfit.kernel import Workspace
from everfit.steps import codec, service
from everfit.steps.execution import Execution, digest_of
from everfit.steps.fingerprint import Sources
from everfit.steps.logs import StepLogs
from everfit.steps.model import (
    BLOB,
    Call,
    Heartbeat,
    Progress,
    StepResult,
    StoredValue,
    check_calls,
    quiet,
)
from everfit.steps.pool import StepPool, Value
from everfit.tracking import environment_lock

# Part of every key: raise it when the meaning of a key or of a stored value changes.
FORMAT = 1
FRAME_MAGIC = b"ARROW1"


def execute(
    workspace: Workspace,
    run_id: str,
    calls: Sequence[Call],
    *,
    pool: StepPool,
    progress: Progress = quiet,
    lease: Heartbeat | None = None,
    beside: Path | None = None,
    logs: StepLogs | None = None,
) -> dict[str, StepResult]:
    """Run what is not cached of ``calls`` and return the result of each by name.

    ``beside`` is a file of the project that the values may have classes of, where no call is.
    ``logs`` takes what the steps log; without it that is not kept.

    Raises
    ------
    PipelineInvalid
        If the calls do not fit together, before anything runs.
    StepFailed
        If a step raised or its process ended. The others that run are ended too; what had
        finished is kept. An EverfitError of a step is raised as it is.
    Cancelled, LeaseLost
        From ``lease.check()``, which is asked about every second; running steps are ended.
    """
    check_calls(calls)
    sources = Sources()
    if beside is not None:
        sources.module(str(beside))
    recipes = _recipes(calls, sources)
    stored = {i.removeprefix(BLOB) for c in calls for i in c.inputs.values() if i.startswith(BLOB)}
    with workspace.reading() as tx:
        cached = service.known_steps(tx, recipes.values())
        kinds = service.value_kinds(tx, stored)
    blobs = {digest: _trusted(workspace, digest, kinds.get(digest)) for digest in stored}
    execution = Execution(
        workspace=workspace,
        run_id=run_id,
        calls={call.name: call for call in calls},
        recipes=recipes,
        cached=cached,
        values={f"{BLOB}{value.digest}": value for value in blobs.values()},
        code=sources.code,
        pool=pool,
        progress=progress,
        lease=lease,
        logs=logs,
    )
    with pool.turn(sources.code, lease):
        return execution.finish()


def store_value(workspace: Workspace, value: object) -> str:
    """Store ``value`` for steps to take as ``"blob:<digest>"``; return its digest."""
    kind, content = codec.encode(value)
    digest = workspace.blobs.put(content)
    with workspace.transaction() as tx:
        stored = StoredValue(digest=digest, kind=kind, bytes=len(content), created_at=tx.now)
        service.record_values(tx, [stored])
    return digest


def load_value(workspace: Workspace, digest: str) -> Any:
    """Return the value of a step's result, or one that ``store_value`` stored.

    Raises
    ------
    UntrustedModel
        If this installation did not store it: it could be a pickle, and run code.
    """
    with workspace.reading() as tx:
        kind = service.value_kinds(tx, [digest]).get(digest)
    value = _trusted(workspace, digest, kind)
    return codec.decode(value.kind, workspace.blobs.get(value.digest))


def hand_over(source: Workspace, target: Workspace, digest: str) -> None:
    """Give a value that one workspace stored to another, which can then be asked for it.

    Raises
    ------
    NotFound, LedgerBroken, UntrustedModel
        If it is not there any more, was changed, or was not stored by this installation.
    """
    with source.reading() as tx:
        kind = service.value_kinds(tx, [digest]).get(digest)
    value = _trusted(source, digest, kind)
    content = source.blobs.get(digest)
    target.blobs.put(content)
    with target.transaction() as tx:
        stored = StoredValue(digest=digest, kind=value.kind, bytes=len(content), created_at=tx.now)
        service.record_values(tx, [stored])


def _trusted(workspace: Workspace, digest: str, kind: str | None) -> Value:
    """Return the value if this installation recorded it, or if it is a frame: that runs nothing."""
    if kind is None:
        if not workspace.blobs.get(digest).startswith(FRAME_MAGIC):
            raise UntrustedModel(
                f"the value {digest} was not stored by this installation",
                hint="Run the step that gives it here, or store it with `store_value`.",
                digest=digest,
            )
        kind = "frame"
    return Value(digest, kind)


def _recipes(calls: Sequence[Call], sources: Sources) -> dict[str, str]:
    """Return by name the part of each call's key that is known before anything runs."""
    environment = _environment()
    recipes: dict[str, str] = {}
    problems: list[Problem] = []
    for call in calls:
        try:
            code = sources.fingerprint(call.function)
            parts = [FORMAT, code, sorted(call.inputs), dict(call.params), call.version]
            recipes[call.name] = digest_of([*parts, environment])
        except PipelineInvalid as error:
            problems += error.problems
        except (ValueError, TypeError) as error:
            found, remedy = f"params that are not JSON: {error}", "use plain JSON values"
            problems.append(Problem(path=call.name, found=found, remedy=remedy))
    if problems:
        hint = "Correct them all, then run again."
        raise PipelineInvalid.of("the pipeline", list(dict.fromkeys(problems)), hint=hint)
    sources.read_imports()
    return recipes


@functools.cache
def _environment() -> str:
    return digest_of([environment_lock(), platform.python_version(), everfit.__version__])
