"""Watching: logs, windows, drift, late labels, true quality, alerts."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from everfit.monitoring.live import LiveWatch
from everfit.monitoring.log import (
    PREDICTION_SCHEMA,
    PROBE,
    REQUEST_SCHEMA,
    EndpointLog,
    LabelLog,
    prediction_log,
    receive_labels,
    request_log,
)
from everfit.monitoring.model import (
    Alert,
    AlertKind,
    LabelReceipt,
    MonitorConfig,
    Quality,
    Signal,
    SweepResult,
    Window,
)
from everfit.monitoring.reference import Reference, reference_profile
from everfit.monitoring.service import (
    Monitor,
    alerts,
    evidence,
    explain_alert,
    explain_prediction,
    load_reference,
    matured,
    matured_count,
    sweep,
    windows,
)

if TYPE_CHECKING:
    from everfit.monitoring.metrics import Metric, ten_metrics

__all__ = [
    "PREDICTION_SCHEMA",
    "PROBE",
    "REQUEST_SCHEMA",
    "Alert",
    "AlertKind",
    "EndpointLog",
    "LabelLog",
    "LabelReceipt",
    "LiveWatch",
    "Metric",
    "Monitor",
    "MonitorConfig",
    "Quality",
    "Reference",
    "Signal",
    "SweepResult",
    "Window",
    "alerts",
    "evidence",
    "explain_alert",
    "explain_prediction",
    "load_reference",
    "matured",
    "matured_count",
    "prediction_log",
    "receive_labels",
    "reference_profile",
    "request_log",
    "sweep",
    "ten_metrics",
    "windows",
]

# Loaded on first use: they need the rooms of training, which a model server does without.
_LATER = {"Metric", "ten_metrics"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("everfit.monitoring.metrics"), name)
