"""The tree of files that runs leave behind, and the code and environment of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from urllib.parse import unquote

from everfit.errors import Invalid, NotFound
from everfit.kernel import Blobs, Transaction, canonical_json
from everfit.tracking.capture import CodeState, environment_lock
from everfit.tracking.model import Artifact, artifact_folder
from everfit.tracking.service.runs import get_run
from everfit.tracking.store import artifacts as store

PATH_LENGTH = 1_000
_DRIVE = re.compile("[A-Za-z]:")
ENVIRONMENT = "environment.txt"
CODE, CODE_PATCH, CODE_ARCHIVE = "code.json", "code.patch", "code.zip"
"""Artifacts that hold what a run was made with."""


def put_file(tx: Transaction, path: str, digest: str, *, bytes: int, media: str) -> Artifact:
    """Name a stored blob as the file ``path`` of the tree, replacing the one that is there.

    Raises
    ------
    Invalid
        If the path could leave the folder it is downloaded to.
    """
    check_path(path)
    artifact = Artifact(name=path, digest=digest, bytes=bytes, media=media, at=tx.now)
    store.put_artifact(tx, artifact)
    return artifact


def get_file(tx: Transaction, path: str) -> Artifact:
    """Return one file of the tree; raises NotFound, Invalid."""
    check_path(path)
    found = store.get_artifact(tx, path)
    if found is None:
        raise NotFound(
            f"no file {path!r} among the artifacts of project {tx.project!r}",
            hint="List the folder it should lie in.",
            path=path,
        )
    return found


def files_below(tx: Transaction, folder: str) -> list[Artifact]:
    """Return every file below a folder of the tree by path; raises Invalid."""
    if folder:
        check_path(folder)
    return store.artifacts_below(tx, folder)


def delete_files(tx: Transaction, path: str) -> int:
    """Forget a file, or every file below a folder, and return how many; raises Invalid."""
    check_path(path)
    gone = store.delete_artifacts(tx, path)
    if gone:
        tx.record("artifacts-deleted", path, files=gone)
    return gone


def delete_folders(tx: Transaction, folders: Sequence[str]) -> None:
    """Forget every file below many folders; what they were of, the caller tells the ledger."""
    for folder in folders:
        check_path(folder)
    if folders:
        store.delete_folders(tx, folders)


def log_artifact(
    tx: Transaction, run_id: str, name: str, digest: str, *, bytes: int, media: str
) -> None:
    """Name a stored blob as an artifact of the run, replacing the one of the same name.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, or the name could leave the folder it is downloaded to.
    """
    check_path(name)
    folder = artifact_folder(get_run(tx, run_id))
    put_file(tx, f"{folder}/{name}", digest, bytes=bytes, media=media)


def artifacts(tx: Transaction, run_id: str) -> dict[str, Artifact]:
    """Return the artifacts of a run by name; raises NotFound."""
    folder = artifact_folder(get_run(tx, run_id))
    found = {}
    for artifact in store.artifacts_below(tx, folder):
        name = artifact.name.removeprefix(f"{folder}/")
        found[name] = replace(artifact, name=name)
    return found


def record_provenance(
    tx: Transaction, blobs: Blobs, run_id: str, code: CodeState
) -> dict[str, str]:
    """Record code and environment as artifacts of the run; return their digests by name.

    Artifacts: ``environment.txt``, ``code.json``, ``code.patch`` where tracked files were changed,
    and ``code.zip`` with the code itself.
    """
    described = {
        name: value for name, value in asdict(code).items() if name not in ("diff", "archive")
    }
    files = {
        ENVIRONMENT: (environment_lock().encode(), "text/plain"),
        CODE: (canonical_json(described).encode(), "application/json"),
    }
    if code.diff:
        files[CODE_PATCH] = (code.diff, "text/x-diff")
    if code.archive:
        files[CODE_ARCHIVE] = (code.archive, "application/zip")
    digests = {name: blobs.put(content) for name, (content, _) in files.items()}
    for name, (content, media) in files.items():
        log_artifact(tx, run_id, name, digests[name], bytes=len(content), media=media)
    return digests


def check_path(path: str) -> None:
    """Refuse a path that could lead out of the folder it is downloaded to.

    Raises
    ------
    Invalid
        If it is empty, absolute, too long, or has a part ``..`` or ``C:``, a backslash or a NUL, as
        it is written or with its percent signs decoded, however often: somebody may do that again.
    """
    if len(path) > PATH_LENGTH or _is_unsafe(path) or _is_unsafe(_decoded(path)):
        raise Invalid(
            f"{path[:200]!r} is no artifact name",
            hint=f"Use a relative path of up to {PATH_LENGTH} characters with forward slashes and "
            "without '..', such as 'plots/roc.svg'.",
        )


def _is_unsafe(path: str) -> bool:
    parts = path.split("/")
    # Wherever a drive stands: clients join what lies below a folder to a folder of their own.
    strange = any(part in ("", ".", "..") or _DRIVE.match(part) for part in parts)
    return strange or "\\" in path or "\0" in path


def _decoded(path: str) -> str:
    """Return the path with percent signs decoded until none can be."""
    before = ""
    while path != before:
        before, path = path, unquote(path)
    return path
