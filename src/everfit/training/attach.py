"""The files that a training leaves with its run."""

from __future__ import annotations

from everfit.kernel import Blobs, Transaction
from everfit.packages import FOLDER, PACKAGE, read_manifest, readable
from everfit.registry import ModelVersion
from everfit.tracking import log_artifact

BINARY = "application/octet-stream"


def attach_artifact(
    tx: Transaction, blobs: Blobs, run: str, name: str, *, digest: str, media: str
) -> None:
    """Name a stored blob as an artifact of the run."""
    log_artifact(tx, run, name, digest, bytes=len(blobs.get(digest)), media=media)


def attach_model(tx: Transaction, blobs: Blobs, run: str, version: ModelVersion) -> None:
    """Lay down the model's files as MLflow's clients load them, and the package by itself."""
    package = version.require_package()
    for name in (PACKAGE, f"{FOLDER}/{PACKAGE}"):
        attach_artifact(tx, blobs, run, name=name, digest=package, media=BINARY)
    manifest = read_manifest(blobs.get(package))
    for name, content in readable(manifest, run=run, at=tx.now).items():
        digest = blobs.put(content)
        log_artifact(tx, run, f"{FOLDER}/{name}", digest, bytes=len(content), media="text/plain")
