"""Traces in MLflow's file store: folders below ``traces`` of an experiment's folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from everfit.foreign import entities
from everfit.foreign.folders import folders, meta_of, read, texts
from everfit.foreign.model import ForeignTrace, Report
from everfit.mlflow_api.traces import LOCATION_TAG
from everfit.mlflow_api.values import milliseconds

INFO = "trace_info.yaml"


class FileTraces:
    """The traces of the folder ``mlruns`` behind the port ``ForeignTraces``.

    Their spans are files, and runs are named by their metadata alone.
    """

    def __init__(self, experiments: Iterable[Path], report: Report) -> None:
        self._report = report
        self._folders = {
            folder.name: folder
            for experiment in experiments
            for folder in folders(experiment / "traces", INFO)
        }

    def ids(self) -> list[str]:
        """Return the ids of all traces, by experiment."""
        return list(self._folders)

    def some(self, ids: Sequence[str]) -> list[ForeignTrace]:
        """Return these traces without their spans."""
        return read(self._report, "trace", [self._folders[id] for id in ids], _trace)

    def spans(self, trace_id: str) -> None:
        """Return None: there is no database."""

    def left_out(self) -> dict[str, int]:
        """Return how many there are of what belongs to traces and does not come over."""
        assessments = [
            file for folder in self._folders.values() for file in folder.glob("assessments/*.yaml")
        ]
        return {"assessments of traces": len(assessments)}


def _trace(folder: Path) -> ForeignTrace:
    said, tags = meta_of(folder, INFO), texts(folder / "tags")
    # The first of each is MLflow 2's, the second MLflow 3's.
    row = {
        **said,
        "request_id": folder.name,
        "experiment_id": folder.parent.parent.name,
        "timestamp_ms": _milliseconds(said.get("timestamp_ms", said.get("request_time"))),
        "execution_time_ms": said.get("execution_time_ms", said.get("execution_duration_ms")),
        "status": said.get("status") or said["state"],
    }
    return ForeignTrace(
        trace=entities.trace(row, texts(folder / "request_metadata"), tags),
        artifact_uri=tags.get(LOCATION_TAG, ""),
        beside=folder / "artifacts",
    )


def _milliseconds(time: object) -> int:
    """Return a time, which may be written as a text, in milliseconds since 1970.

    Raises TypeError, ValueError.
    """
    if isinstance(time, int):
        return time
    at = time if isinstance(time, datetime) else datetime.fromisoformat(str(time))
    return milliseconds(at if at.tzinfo else at.replace(tzinfo=UTC))
