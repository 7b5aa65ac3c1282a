"""What a training itself leaves with its run: its results and its files."""

from __future__ import annotations

from collections.abc import Mapping

from everfit.kernel import Blobs, Transaction
from everfit.packages import FOLDER, PACKAGE, read_manifest, readable
from everfit.registry import ModelVersion
from everfit.tracking import MetricPoint, get_run_data, log_artifact, log_points

BINARY = "application/octet-stream"


def log_results(tx: Transaction, run_id: str, values: Mapping[str, float]) -> None:
    """Log what a training found, as the last of what there is under these names.

    Its steps may have logged some of them too, with steps of their own.
    """
    there = {point.key: point.step for point in get_run_data(tx, run_id).metrics}
    at_us = tx.now_us
    points = [MetricPoint(k, v, there.get(k, -1) + 1, at_us) for k, v in values.items()]
    log_points(tx, run_id, points)


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
