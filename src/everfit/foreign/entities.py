"""Rows and files of MLflow's stores as our own values. No I/O.

Names are those of MLflow's database; what a file calls otherwise is renamed before it comes here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from everfit.errors import Invalid
from everfit.mlflow_api.values import moment, run_status
from everfit.registry import ModelVersion, Origin, RegisteredModel
from everfit.registry import Stage as VersionStage
from everfit.tracing import Trace, TraceState
from everfit.tracking import (
    NAME_TAG,
    PARENT_TAG,
    Dataset,
    Experiment,
    LoggedModel,
    MetricPoint,
    ModelStatus,
    Run,
    Stage,
)

Row = Mapping[str, Any]
WORKSPACE = "default"
DELETED_VERSION = "Deleted_Internal"
UNPACKAGED = "it was imported from MLflow and is not packed yet"
# MLflow's database cannot hold infinities and keeps the largest doubles in their place.
MOST_DOUBLE = 1.797693134862315e308
_MODEL_STATUSES = dict(enumerate(ModelStatus))
_TRACE_STATES = {state.upper(): state for state in TraceState} | {
    "TRACE_STATUS_UNSPECIFIED": TraceState.UNSPECIFIED
}


def experiment(row: Row, tags: Mapping[str, str]) -> Experiment:
    """Return an experiment; raises Invalid, KeyError."""
    created = at(row.get("creation_time")) or moment(0, "creation_time")
    return Experiment(
        id=str(row["experiment_id"]),
        name=str(row["name"]),
        stage=Stage(row.get("lifecycle_stage") or "active"),
        created_at=created,
        updated_at=at(row.get("last_update_time")) or created,
        location=row.get("artifact_location") or None,
        tags=tags,
    )


def run(row: Row, tags: Mapping[str, str]) -> Run:
    """Return a run; raises Invalid, KeyError."""
    return Run(
        id=str(row["run_uuid"]),
        experiment=str(row["experiment_id"]),
        kind="logged",
        name=row.get("name") or tags.get(NAME_TAG, ""),
        status=run_status(row.get("status") or "RUNNING"),
        stage=Stage(row.get("lifecycle_stage") or "active"),
        actor=row.get("user_id") or "",
        started_at=at(row.get("start_time")) or moment(0, "start_time"),
        finished_at=at(row.get("end_time")),
        deleted_at=at(row.get("deleted_time")),
        parent=tags.get(PARENT_TAG),
    )


def point(key: str, value: float | None, time_ms: int, step: int, is_nan: object) -> MetricPoint:
    """Return a point with what MLflow's database writes in place of NaN and infinities undone."""
    if is_nan or value is None:
        value = math.nan
    elif abs(value) >= MOST_DOUBLE:
        value = math.copysign(math.inf, value)
    return MetricPoint(key, float(value), step or 0, (time_ms or 0) * 1000)


def dataset(row: Row) -> Dataset:
    """Return a dataset; raises KeyError."""
    return Dataset(
        name=row["name"],
        digest=row["digest"],
        source_type=row["dataset_source_type"],
        source=row["dataset_source"],
        schema=row.get("dataset_schema"),
        profile=row.get("dataset_profile"),
    )


def logged_model(row: Row) -> LoggedModel:
    """Return a logged model; raises Invalid, KeyError."""
    made = moment(row["creation_timestamp_ms"], "creation_timestamp_ms")
    return LoggedModel(
        id=row["model_id"],
        experiment=str(row["experiment_id"]),
        name=row["name"],
        type=row.get("model_type") or "",
        source_run=row.get("source_run_id") or "",
        status=_MODEL_STATUSES[int(row["status"])],
        stage=Stage(row.get("lifecycle_stage") or "active"),
        created_at=made,
        updated_at=at(row.get("last_updated_timestamp_ms")) or made,
    )


def trace(row: Row, metadata: Mapping[str, str], tags: Mapping[str, str]) -> Trace:
    """Return a trace with all the tags it has there; raises Invalid, KeyError."""
    return Trace(
        id=row["request_id"],
        experiment=str(row["experiment_id"]),
        state=_TRACE_STATES[row["status"]],
        started_at=moment(row["timestamp_ms"], "timestamp_ms"),
        duration_ms=row.get("execution_time_ms"),
        client_request_id=row.get("client_request_id"),
        request_preview=row.get("request_preview"),
        response_preview=row.get("response_preview"),
        metadata=metadata,
        tags=tags,
    )


def registered_model(
    row: Row, tags: Mapping[str, str], aliases: Mapping[str, int]
) -> RegisteredModel:
    """Return a registered model without its versions; raises Invalid, KeyError."""
    made = at(row.get("creation_time")) or moment(0, "creation_time")
    return RegisteredModel(
        name=row["name"],
        description=row.get("description") or None,
        created_at=made,
        updated_at=at(row.get("last_updated_time")) or made,
        tags=tags,
        aliases=aliases,
    )


def version(row: Row, tags: Mapping[str, str]) -> ModelVersion:
    """Return a version as it lies there, with sources and locations of there.

    Raises Invalid, KeyError.
    """
    made = at(row.get("creation_time")) or moment(0, "creation_time")
    source = row.get("source") or ""
    return ModelVersion(
        model=row["name"],
        number=int(row["version"]),
        origin=Origin.OUTSIDE,
        run=row.get("run_id") or None,
        run_link=row.get("run_link") or None,
        source=source,
        location=row.get("storage_location") or source,
        logged_model=row.get("model_id") or None,
        package=None,
        unpackaged=UNPACKAGED,
        dataset=None,
        profile=None,
        signature=None,
        metrics={},
        algorithm=None,
        author=row.get("user_id") or None,
        description=row.get("description") or None,
        stage=VersionStage.of(row.get("current_stage") or VersionStage.NONE),
        status_message=row.get("status_message") or None,
        tags=tags,
        created_at=made,
        updated_at=at(row.get("last_updated_time")) or made,
    )


def at(milliseconds: object) -> datetime | None:
    """Return a time that may be missing; raises Invalid."""
    if milliseconds is None or milliseconds == "":
        return None
    if not isinstance(milliseconds, int | float):
        raise Invalid(f"{milliseconds!r} is no time", hint="Write milliseconds since 1970.")
    return moment(int(milliseconds), "a time")


def texts(rows: Sequence[tuple[Any, str, Any]]) -> dict[Any, dict[str, str]]:
    """Return texts by owner and key; a text that is missing is empty."""
    found: dict[Any, dict[str, str]] = {}
    for owner, key, value in rows:
        found.setdefault(owner, {})[key] = "" if value is None else str(value)
    return found
