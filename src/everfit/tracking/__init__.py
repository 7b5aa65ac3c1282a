"""Runs and what they leave behind: parameters, metrics, tags, artifacts, code and environment."""

from everfit.tracking.capture import CodeState, capture_code, environment_lock
from everfit.tracking.model import Artifact, MetricPoint, Run, RunStatus, Scalar
from everfit.tracking.service import (
    artifacts,
    finish_run,
    get_run,
    list_runs,
    log_artifact,
    log_metrics,
    log_params,
    log_points,
    metric_history,
    metrics,
    params,
    record_provenance,
    set_tags,
    start_run,
    tags,
)

__all__ = [
    "Artifact",
    "CodeState",
    "MetricPoint",
    "Run",
    "RunStatus",
    "Scalar",
    "artifacts",
    "capture_code",
    "environment_lock",
    "finish_run",
    "get_run",
    "list_runs",
    "log_artifact",
    "log_metrics",
    "log_params",
    "log_points",
    "metric_history",
    "metrics",
    "params",
    "record_provenance",
    "set_tags",
    "start_run",
    "tags",
]
