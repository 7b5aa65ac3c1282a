"""Watching: logs, windows, drift, late labels, true quality, alerts."""

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
from everfit.monitoring.metrics import Metric, ten_metrics
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
