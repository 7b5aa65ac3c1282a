"""What one can do with runs: load, decide, save, in the caller's transaction."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from everfit.errors import Conflict, Invalid, Problem
from everfit.kernel import Blobs, Transaction, canonical_json
from everfit.tracking import store
from everfit.tracking.capture import CodeState, environment_lock
from everfit.tracking.model import (
    Artifact,
    MetricPoint,
    Run,
    RunStatus,
    Scalar,
    finish,
    resume,
)


def start_run(
    tx: Transaction, *, kind: str, name: str, parent: str | None = None, run_id: str | None = None
) -> Run:
    """Start a run and return it; under a ``run_id`` that exists, go on with that run.

    Raises
    ------
    Conflict
        If the run of that id is of another kind.
    """
    run = Run(
        id=run_id or tx.new_id("run"),
        kind=kind,
        name=name,
        status=RunStatus.RUNNING,
        started_at=tx.now,
        parent=parent,
    )
    if store.insert_run(tx, run):
        tx.record("run-started", run.id, kind=kind, name=name, parent=parent)
        return run
    present = store.get_run(tx, run.id, lock=True)
    if present.kind != kind:
        raise Conflict(
            f"run {run.id} is of kind {present.kind!r}, not {kind!r}",
            hint="Use another run id, or the kind it was started with.",
            run=run.id,
        )
    resumed = resume(present)
    if resumed != present:
        store.update_run(tx, resumed)
        tx.record("run-resumed", run.id, after=present.status)
    return resumed


def finish_run(tx: Transaction, run_id: str, status: RunStatus, *, error: str | None = None) -> Run:
    """End a run and return it; ending it twice in the same way is the same as once.

    Raises
    ------
    NotFound, Invalid, Conflict
        If there is no such run, ``status`` is no end, or the run ended otherwise.
    """
    run = store.get_run(tx, run_id, lock=True)
    finished = finish(run, status, at=tx.now, error=error)
    if finished != run:
        store.update_run(tx, finished)
        tx.record("run-finished", run_id, status=status, error=error)
    return finished


def get_run(tx: Transaction, run_id: str) -> Run:
    """Return one run; raises NotFound."""
    return store.get_run(tx, run_id)


def list_runs(tx: Transaction, *, kind: str | None = None, limit: int = 100) -> list[Run]:
    """Return at most ``limit`` runs, the newest first."""
    return store.list_runs(tx, kind=kind, limit=limit)


def log_params(tx: Transaction, run_id: str, values: Mapping[str, object]) -> None:
    """Add parameters; one that is there with the same value is left alone.

    A NaN or infinite value, such as a library's default ``missing=nan``, is kept as its text.

    Raises
    ------
    Conflict
        If a parameter has another value already: parameters never change.
    Invalid
        If a value is no text, number, boolean or None.
    """
    texts = _param_texts(run_id, values)
    # The lock makes a second writer of the same parameter wait and then compare.
    store.get_run(tx, run_id, lock=True)
    present = store.param_texts(tx, run_id)
    problems = [
        Problem(path=key, found=text, remedy=f"it is {present[key]} already")
        for key, text in texts.items()
        if present.get(key, text) != text
    ]
    if problems:
        raise Conflict.of(
            f"parameters of run {run_id}",
            problems,
            hint="Parameters never change: start a new run, or log the value under another name.",
        )
    store.insert_params(tx, run_id, {k: v for k, v in texts.items() if k not in present})


def log_metrics(
    tx: Transaction, run_id: str, values: Mapping[str, float], *, step: int = 0
) -> None:
    """Add one point per metric, at ``step`` and the transaction's time; see ``log_points``."""
    log_points(
        tx,
        run_id,
        [MetricPoint(key=key, value=v, step=step, at=tx.now) for key, v in values.items()],
    )


def log_points(tx: Transaction, run_id: str, points: Sequence[MetricPoint]) -> None:
    """Add points to the history of metrics; NaN and infinities are kept.

    A second value for the same metric, step and time replaces the first.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, or a value is no number.
    """
    problems = [
        Problem(path=point.key, found=repr(point.value), remedy="log a number")
        for point in points
        if not _is_number(point.value)
    ]
    if problems:
        raise Invalid.of(f"metrics of run {run_id}", problems, hint="Nothing was logged.")
    store.get_run(tx, run_id)
    store.put_points(tx, run_id, points)


def set_tags(tx: Transaction, run_id: str, values: Mapping[str, str]) -> None:
    """Set tags, replacing those of the same keys; raises NotFound."""
    store.get_run(tx, run_id)
    store.put_tags(tx, run_id, values)


def log_artifact(
    tx: Transaction, run_id: str, name: str, digest: str, *, bytes: int, media: str
) -> None:
    """Name a stored blob as an artifact of the run, replacing the one of the same name.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, or the name could leave the folder it is downloaded to.
    """
    _check_artifact_name(name)
    store.get_run(tx, run_id)
    artifact = Artifact(name=name, digest=digest, bytes=bytes, media=media, at=tx.now)
    store.put_artifact(tx, run_id, artifact)


def params(tx: Transaction, run_id: str) -> dict[str, Scalar]:
    """Return the parameters by name."""
    return store.get_params(tx, run_id)


def metrics(tx: Transaction, run_id: str) -> dict[str, float]:
    """Return the latest value (highest step, then time) of each metric by name."""
    return store.get_metrics(tx, run_id)


def metric_history(tx: Transaction, run_id: str, key: str) -> list[MetricPoint]:
    """Return every point of one metric by step, then time."""
    return store.get_history(tx, run_id, key)


def tags(tx: Transaction, run_id: str) -> dict[str, str]:
    """Return the tags by name."""
    return store.get_tags(tx, run_id)


def artifacts(tx: Transaction, run_id: str) -> dict[str, Artifact]:
    """Return the artifacts by name."""
    return store.get_artifacts(tx, run_id)


def record_provenance(tx: Transaction, blobs: Blobs, run_id: str, code: CodeState) -> None:
    """Record code and environment as artifacts of the run.

    Artifacts: ``environment.txt``, ``code.json`` and what the commit alone does not give back:
    ``code.patch`` where tracked files were changed, ``code.zip`` of the others.
    """
    described = {
        name: value for name, value in asdict(code).items() if name not in ("diff", "archive")
    }
    files = {
        "environment.txt": (environment_lock().encode(), "text/plain"),
        "code.json": (canonical_json(described).encode(), "application/json"),
    }
    if code.diff:
        files["code.patch"] = (code.diff, "text/x-diff")
    if code.archive:
        files["code.zip"] = (code.archive, "application/zip")
    for name, (content, media) in files.items():
        digest = blobs.put(content)
        log_artifact(tx, run_id, name, digest, bytes=len(content), media=media)


def _param_texts(run_id: str, values: Mapping[str, object]) -> dict[str, str]:
    plain = {key: _plain(value) for key, value in values.items()}
    problems = [
        Problem(path=key, found=type(value).__name__, remedy="log a text, number, boolean or None")
        for key, value in plain.items()
        if not (value is None or isinstance(value, str | int | float))
    ]
    if problems:
        raise Invalid.of(
            f"parameters of run {run_id}",
            problems,
            hint="Log the parts one by one, or the whole as an artifact.",
        )
    return {key: json.dumps(value, ensure_ascii=False) for key, value in plain.items()}


def _plain(value: Any) -> Any:
    """Return NumPy's scalars as Python's, and what JSON cannot write as text."""
    value = value.item() if getattr(value, "shape", None) == () else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _is_number(value: object) -> bool:
    # NumPy's scalars are numbers too, but only its float64 is a `float`.
    return not isinstance(value, str | bytes) and hasattr(value, "__float__")


def _check_artifact_name(name: str) -> None:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise Invalid(
            f"{name!r} is no artifact name",
            hint="Use a relative path with forward slashes and without '..', "
            "such as 'plots/roc.svg'.",
        )
