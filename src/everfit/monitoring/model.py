"""Windows, alerts, labels and how an endpoint is watched. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A row is of a time between these; others are marks for "never" and "unknown".
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
INPUT = "in."
CANARY = "canary"

Numbers = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """How an endpoint is watched.

    Attributes
    ----------
    window
        Rows are judged together whose time falls into one window; windows are counted from 1970.
    truth_delay
        How long after a prediction its label is to be expected.
    task, metric
        What quality means; without a task, numbers are a regression and texts a classification.
    q
        Share of windows without drift that may raise an alarm.
    tolerance
        Rise of the loss above the signed-off one, relative to it, that is let pass.
    drift_tolerance
        Change, in shares of rank, let pass in a column of average importance; a column half as
        important may change twice as much.
    run_length
        Mean number of labelled rows (windows, where rows depend on one another) between false
        alarms on quality: ``run_length`` rows, ``run_length / 30`` windows.
    calm_windows
        An alert closes after so many windows without its signal.
    """

    window: timedelta
    truth_delay: timedelta = timedelta(days=1)
    task: str | None = None
    metric: str = "mae"
    q: float = 0.001
    tolerance: float = 0.1
    drift_tolerance: float = 0.005
    run_length: float = 30_000.0
    calm_windows: int = 3
    signed_off: Mapping[int, float] = field(default_factory=dict)


class AlertKind(StrEnum):
    """What is wrong: the model's quality, the data it is given, or how they are distributed."""

    QUALITY = "quality"
    DATA = "data-quality"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One column that changed in one way, with its score and the size of the change."""

    column: str
    kind: str
    z: float
    effect: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Quality of one version on the labelled rows of one window.

    ``other_loss`` is the mean loss of the version that also scored ``other_rows`` of them,
    ``paired_loss`` the answering version's on those same rows. ``watched`` says that the
    window's loss has gone into the test against the signed-off loss.
    """

    metric: str
    value: float | None
    loss: float
    rows: int
    coverage: float
    other_version: int | None = None
    other_loss: float | None = None
    paired_loss: float | None = None
    other_rows: int = 0
    watched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one version met between ``start`` and ``end``.

    ``drift`` holds the scores behind the signals, ``data_quality`` shares of good rows by check
    (1 is perfect). ``counts`` are the mergeable counts behind both, as JSON.
    """

    start: datetime
    end: datetime
    version: int
    rows: int = 0
    closed: bool = False
    quality: Quality | None = None
    drift: Numbers = field(default_factory=dict)
    data_quality: Mapping[str, float] = field(default_factory=dict)
    counts: str = field(default="", repr=False)

    @property
    def key(self) -> tuple[datetime, int]:
        """Return what identifies the window within its endpoint."""
        return self.start, self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One cause that somebody should know of, and the one thing to do about it."""

    id: str
    endpoint: str
    kind: AlertKind
    version: int
    opened_at: datetime
    window_start: datetime
    columns: tuple[str, ...]
    summary: str
    action: str
    numbers: Numbers
    calm: int = 0
    closed_at: datetime | None = None
    reason: str | None = None

    @property
    def cause(self) -> tuple[AlertKind, int]:
        """Return what two alerts share that tell of the same trouble."""
        return self.kind, self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one window says about one cause: something to alarm about, or ``summary`` empty."""

    kind: AlertKind
    version: int
    window_start: datetime
    columns: tuple[str, ...] = ()
    summary: str = ""
    action: str = ""
    numbers: Numbers = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A sealed part of a log: where its rows are and which ids and times they span."""

    kind: str
    number: int
    digest: str
    rows: int
    min_id: str
    max_id: str
    min_time: datetime
    max_time: datetime
    sealed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReceipt:
    """What became of labels sent in: ``accepted`` are on disk and join at the next sweep."""

    accepted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """What a sweep saw and changed. ``matured`` counts labels joined, corrections included."""

    predictions: int = 0
    windows: tuple[Window, ...] = ()
    opened: tuple[Alert, ...] = ()
    closed: tuple[Alert, ...] = ()
    matured: int = 0
    corrected: int = 0
    repeated: int = 0
    pending: int = 0


def settle(
    opened: Mapping[tuple[AlertKind, int], Alert], found: Finding, *, now: datetime, calm: int
) -> Alert | None:
    """Return the open alert of the finding's cause as it is after one more window, if any is.

    A finding of a cause already open joins it; ``calm`` quiet windows close it.
    """
    alert = opened.get((found.kind, found.version))
    if alert is None:
        return None
    if found.summary:
        columns = tuple(dict.fromkeys((*alert.columns, *found.columns)))
        if columns == alert.columns:
            return replace(alert, calm=0)
        return replace(alert, calm=0, columns=columns, summary=found.summary, action=found.action)
    if alert.calm + 1 < calm:
        return replace(alert, calm=alert.calm + 1)
    reason = f"{calm} windows in a row without the signal"
    return replace(alert, calm=calm, closed_at=now, reason=reason)
