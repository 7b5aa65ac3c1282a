"""One turn of watching: new rows and labels into windows, windows into findings and alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.kernel import new_id
from everfit.measures.accumulate import Cusum
from everfit.measures.detection import ErrorWatch
from everfit.monitoring.judge import findings, judge
from everfit.monitoring.model import (
    EPOCH,
    Alert,
    AlertKind,
    Finding,
    MonitorConfig,
    Window,
    settle,
)
from everfit.monitoring.quality import (
    ROWS_PER_WINDOW,
    Standard,
    is_matured,
    quality_finding,
    standard,
    watch,
    window_quality,
)
from everfit.monitoring.reference import (
    MICROSECOND,
    Reference,
    count,
    decode_counts,
    encode_counts,
)
from everfit.monitoring.state import Key, SweepState

WINDOW = "start of the window"
References = Callable[[int], Reference | None]


def window_starts(rows: pl.DataFrame, config: MonitorConfig) -> set[datetime]:
    """Return the starts of the windows that the rows fall into."""
    return {EPOCH + int(at) * MICROSECOND for at in np.unique(_starts(rows, config))}


def _starts(rows: pl.DataFrame, config: MonitorConfig) -> NDArray[np.int64]:
    """Return the start of each row's window in microseconds since 1970."""
    length = config.window // MICROSECOND
    times: NDArray[np.int64] = rows["time"].to_physical().to_numpy()
    return times // length * length


def by_window(rows: pl.DataFrame, config: MonitorConfig) -> dict[Key, pl.DataFrame]:
    """Return the rows of each window and version."""
    if not rows.height:
        return {}
    starts, versions = _starts(rows, config), rows["version"].to_numpy()
    if (starts == starts[0]).all() and (versions == versions[0]).all():
        return {(EPOCH + int(starts[0]) * MICROSECOND, int(versions[0])): rows}
    parts = rows.with_columns(pl.Series(WINDOW, starts)).partition_by(
        WINDOW, "version", as_dict=True
    )
    return {(EPOCH + int(at) * MICROSECOND, int(version)): p for (at, version), p in parts.items()}


class Turn:
    """Decides what a sweep changes. Holds the windows and alerts it was given, as they become."""

    def __init__(
        self,
        state: SweepState,
        windows: Iterable[Window],
        open_alerts: Iterable[Alert],
        *,
        endpoint: str,
        config: MonitorConfig,
        references: References,
        now: datetime,
    ) -> None:
        self.windows = {window.key: window for window in windows}
        self.changed: dict[Key, Window] = {}
        self.cusums: dict[int, Cusum] = dict(state.cusums)
        self.watches: dict[int, ErrorWatch] = dict(state.watches)
        self.awaiting = set(state.awaiting)
        self.findings: list[Finding] = []
        self.open = {alert.cause: alert for alert in open_alerts}
        self._before = {alert.id: alert for alert in self.open.values()}
        self.opened: list[Alert] = []
        self.updated: list[Alert] = []
        self.closed: list[Alert] = []
        self._endpoint = endpoint
        self._config = config
        self._references = references
        self._now = now

    def _put(self, window: Window) -> None:
        self.windows[window.key] = self.changed[window.key] = window

    def take_predictions(self, rows: pl.DataFrame) -> None:
        """Count new predictions into their windows. Late rows count, but are not judged again."""
        for key, part in by_window(rows, self._config).items():
            start, version = key
            known = self.windows.get(key)
            known = known or Window(start=start, end=start + self._config.window, version=version)
            reference = self._references(version)
            counts = known.counts
            if reference is not None:
                new = count(reference, part)
                counts = encode_counts(decode_counts(counts) + new if counts else new)
            behind = part["at"].to_physical().to_numpy() - part["time"].to_physical().to_numpy()
            late = int((behind > self._config.window // MICROSECOND).sum())
            timely = (known.data_quality.get("timeliness", 1.0) * known.rows - late) + part.height
            total = known.rows + part.height
            quality = {**known.data_quality, "timeliness": round(timely / total, 6)}
            self._put(replace(known, rows=total, counts=counts, data_quality=quality))

    def take_labels(self, fresh: pl.DataFrame, labelled: pl.DataFrame, task: str) -> None:
        """Work out quality anew where ``fresh`` labels came; ``labelled`` are all rows there."""
        touched = by_window(fresh, self._config)
        parts = touched if labelled is fresh else by_window(labelled, self._config)
        for key in sorted(touched):
            window = self.windows.get(key)
            if window is not None:
                found = window_quality(window, parts[key], task, self._config.metric)
                self._put(replace(window, quality=found))
                if found is not None and not found.watched:
                    self.awaiting.add(key)
        new = fresh.filter(~fresh["correction"])
        for version in sorted({version for _, version in touched}):
            rows = new.filter(pl.col("version") == version).sort("time", "id")
            held = self._standard(version)
            if held is not None and rows.height and not self._dependent(version):
                latest = max(start for start, of in touched if of == version)
                self._watch(version, rows["loss"], held, task, latest)

    def _dependent(self, version: int) -> bool:
        reference = self._references(version)
        return reference is not None and reference.dependent

    def _standard(self, version: int) -> Standard | None:
        return standard(version, self._references(version), self._config)

    def _watch(
        self, version: int, losses: pl.Series, held: Standard, task: str, start: datetime
    ) -> None:
        length = self._config.run_length
        if self._dependent(version):
            length /= ROWS_PER_WINDOW
        before = self.watches.get(version, ErrorWatch())
        after = watch(before, losses.to_numpy(), held, task, run_length=length)
        self.watches[version] = after
        if after.alarm is not None:
            loss = losses.mean()
            shown = loss if isinstance(loss, float) else 0.0
            self.findings.append(quality_finding(version, start, after, held, shown))

    def close_windows(self) -> list[Window]:
        """Judge the windows that have ended, in order of time, and return them."""
        due = [w for w in self.windows.values() if not w.closed and w.end <= self._now]
        ended = []
        for window in sorted(due, key=lambda window: window.key):
            reference = self._references(window.version)
            closed = replace(window, closed=True)
            if reference is not None and window.counts:
                found = judge(
                    reference,
                    decode_counts(window.counts),
                    self.cusums.get(window.version),
                    self._config,
                )
                self.cusums[window.version] = found.cusum
                quality = {**window.data_quality, **found.data_quality}
                closed = replace(closed, drift=found.drift, data_quality=quality)
                self.findings += findings(
                    found.signals, version=window.version, window_start=window.start
                )
            self._put(closed)
            ended.append(closed)
        return ended

    def settle_quality(self, task: str) -> None:
        """Hold windows whose labels are in against what was signed off."""
        for key in sorted(self.awaiting):
            window = self.windows.get(key)
            if window is None or window.quality is None:
                continue
            if not is_matured(window, self._now, self._config.truth_delay):
                continue
            self.awaiting.discard(key)
            quality = replace(window.quality, watched=True)
            self._put(replace(window, quality=quality))
            held = self._standard(window.version)
            if held is None:
                continue
            if self._dependent(window.version):
                losses = pl.Series([quality.loss])
                self._watch(window.version, losses, held, task, window.start)
            cause = (AlertKind.QUALITY, window.version)
            if quality.loss <= held.limit:
                calm = Finding(kind=cause[0], version=cause[1], window_start=window.start)
                self.findings.append(calm)
            elif cause in self.open:
                self.open[cause] = replace(self.open[cause], calm=0)

    def settle_alerts(self, ended: Iterable[Window]) -> None:
        """Open, widen and close alerts by what was found: one open alert per cause."""
        known = self._before
        for found in self.findings:
            cause = (found.kind, found.version)
            after = settle(self.open, found, now=self._now, calm=self._config.calm_windows)
            if after is not None:
                self.open[cause] = after
            elif found.summary:
                self.open[cause] = self._alert(found)
            if cause in self.open and self.open[cause].closed_at is not None:
                self.closed.append(self.open.pop(cause))
        self._close_silent(list(ended))
        self.opened += [alert for alert in self.open.values() if alert.id not in known]
        self.updated += [a for a in self.open.values() if a.id in known and a != known[a.id]]
        # What opened and closed within one turn is still told.
        self.opened += [replace(a, closed_at=None) for a in self.closed if a.id not in known]

    def _alert(self, found: Finding) -> Alert:
        return Alert(
            id=new_id("alert", self._now),
            endpoint=self._endpoint,
            kind=found.kind,
            version=found.version,
            opened_at=self._now,
            window_start=found.window_start,
            columns=found.columns,
            summary=found.summary,
            action=found.action,
            numbers=found.numbers,
        )

    def _close_silent(self, ended: list[Window]) -> None:
        """Close the alerts of versions that did not answer in the newest window."""
        if not ended:
            return
        newest = max(window.start for window in ended)
        answering = {window.version for window in ended if window.start == newest}
        for cause, alert in list(self.open.items()):
            if alert.version not in answering and alert.window_start < newest:
                reason = f"version {alert.version} no longer answers"
                self.closed.append(replace(alert, closed_at=self._now, reason=reason))
                del self.open[cause]
