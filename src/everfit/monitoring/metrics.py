"""The ten metrics, each computed from recorded events alone. ``docs/metrics.md`` defines them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl

from everfit.deployment import Release, ReleaseState, releases
from everfit.kernel import Transaction, Workspace
from everfit.measures.figures import counted, figure
from everfit.measures.intervals import mean_interval, wilson
from everfit.monitoring.log import PROBE, REQUESTS, asked
from everfit.monitoring.model import Alert, AlertKind, Window
from everfit.monitoring.service import MATURED, alerts, logged, windows
from everfit.steps import Spent, spent

INCIDENT = timedelta(hours=72)
MONTH = timedelta(days=30)
OK = 200
HOUR_SECONDS = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One of the ten: ``value`` is None where nothing was recorded to compute it from."""

    name: str
    value: float | None
    unit: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything recorded of one endpoint in one period, from which the metrics follow."""

    since: datetime
    until: datetime
    windows: Sequence[Window]
    alerts: Sequence[Alert]
    releases: Sequence[Release]
    requests: pl.DataFrame | None
    predictions: int
    delays_seconds: pl.Series | None
    spent: Spent
    currency: str
    price_per_cpu_hour: float
    price_per_gib_hour: float = 0.0

    @property
    def asked(self) -> pl.DataFrame | None:
        """Return the requests, without probes; None if none was logged."""
        found = None if self.requests is None else asked(self.requests)
        return None if found is None or not found.height else found


def ten_metrics(
    workspace: Workspace, tx: Transaction, endpoint: str, *, since: datetime, until: datetime
) -> tuple[Metric, ...]:
    """Return the ten metrics of ``endpoint`` between ``since`` and ``until``, in their order."""
    return measure(_record(workspace, tx, endpoint, since, until=until))


def measure(record: Record) -> tuple[Metric, ...]:
    """Return the ten metrics that follow from ``record``, in their order."""
    return (
        _performance(record),
        _data_quality(record),
        _drift(record),
        _frequency(record),
        _success(record),
        _uptime(record),
        _latency(record),
        _cost(record),
        _utilisation(record),
        _feedback(record),
    )


def _record(
    workspace: Workspace, tx: Transaction, endpoint: str, since: datetime, *, until: datetime
) -> Record:
    requests = logged(workspace, tx, endpoint, REQUESTS, since=since, until=until)
    matured = logged(workspace, tx, endpoint, MATURED, since=since, until=until)
    settings = workspace.settings
    return Record(
        since=since,
        until=until,
        windows=[w for w in windows(tx, endpoint, since=since, until=until) if w.closed],
        alerts=[a for a in alerts(tx, endpoint) if since <= a.opened_at <= until],
        releases=[r for r in releases(tx, endpoint) if since <= r.started_at <= until],
        requests=requests,
        predictions=0 if requests is None else int(requests.filter(status=OK)["rows"].sum()),
        delays_seconds=None if matured is None else _delays(matured),
        spent=spent(tx, since=since, until=until),
        currency=settings.currency,
        price_per_cpu_hour=settings.price_per_cpu_hour,
        price_per_gib_hour=settings.price_per_gib_hour,
    )


def _delays(matured: pl.DataFrame) -> pl.Series:
    return (matured["label_at"] - matured["time"]).dt.total_seconds()


def _performance(record: Record) -> Metric:
    known = [(w, w.quality) for w in record.windows if w.quality and w.quality.value is not None]
    if not known:
        return Metric(
            name="model performance", value=None, unit="", detail="no closed window has labels yet"
        )
    values = np.array([quality.value for _, quality in known], float)
    rows = np.array([quality.rows for _, quality in known])
    covered = rows.sum() / max(sum(window.rows for window, _ in known), 1)
    spread = ""
    # Versions that shared a period count together: the few rows of a canary are no window's equal.
    starts = np.array([window.start.timestamp() for window, _ in known])
    periods = [starts == start for start in np.unique(starts)]
    means = [float(np.average(values[at], weights=rows[at])) for at in periods]
    if len(means) > 1:
        found = mean_interval(np.array(means))
        spread = f", windows {figure(found.low)} to {figure(found.high)} (95%)"
    return Metric(
        name="model performance",
        value=float(np.average(values, weights=rows)),
        unit=known[-1][1].metric,
        detail=f"{rows.sum():,} labelled rows, {covered:.1%} covered{spread}",
    )


def _data_quality(record: Record) -> Metric:
    rates: dict[str, list[tuple[float, int]]] = {}
    for window in record.windows:
        for check, rate in window.data_quality.items():
            rates.setdefault(check, []).append((rate, window.rows))
    means = {
        check: float(np.average([r for r, _ in seen], weights=[max(n, 1) for _, n in seen]))
        for check, seen in rates.items()
    }
    if not means:
        return Metric(name="data quality", value=None, unit="share", detail="no closed window")
    worst = min(means, key=lambda check: means[check])
    return Metric(
        name="data quality",
        value=means[worst],
        unit="share",
        detail=f"lowest: {worst}; "
        + ", ".join(f"{check} {rate:.3f}" for check, rate in sorted(means.items())),
    )


def _drift(record: Record) -> Metric:
    judged = [window for window in record.windows if window.drift.get("columns")]
    alarms = sum(alert.kind is AlertKind.DRIFT for alert in record.alerts)
    if not judged:
        return Metric(name="model drift", value=None, unit="share", detail="no window judged")
    shares = [window.drift["drifted"] / window.drift["columns"] for window in judged]
    quiet = sum(share == 0 for share in shares)
    return Metric(
        name="model drift",
        value=statistics.fmean(shares),
        unit="share of columns",
        detail=f"{alarms} drift alerts; {quiet} of {len(shares)} windows quiet",
    )


def _live(record: Record) -> list[datetime]:
    return sorted(release.live_at for release in record.releases if release.live_at is not None)


def _frequency(record: Record) -> Metric:
    live = _live(record)
    months = (record.until - record.since) / MONTH
    gaps = [(b - a) / timedelta(days=1) for a, b in pairwise(live)]
    between = f", median {statistics.median(gaps):.0f} days between" if gaps else ""
    return Metric(
        name="deployment frequency",
        value=len(live) / months if months > 0 else None,
        unit="per 30 days",
        detail=f"{counted(len(live), 'version')} went live{between}",
    )


def _success(record: Record) -> Metric:
    ended = [r for r in record.releases if r.state is not ReleaseState.ROLLING]
    if not ended:
        return Metric(
            name="deployment success rate", value=None, unit="share", detail="no release ended"
        )
    good = sum(_succeeded(release, record.alerts) for release in ended)
    found = wilson(good, len(ended))
    return Metric(
        name="deployment success rate",
        value=good / len(ended),
        unit="share",
        detail=f"{good} of {len(ended)} releases, 95% interval {found.low:.2f} to {found.high:.2f}",
    )


def _succeeded(release: Release, alerts: Sequence[Alert]) -> bool:
    """Return whether it went live, stayed, and raised no quality alert within 72 hours."""
    if release.live_at is None or release.state is ReleaseState.ROLLED_BACK:
        return False
    since = release.live_at
    return not any(
        alert.kind is AlertKind.QUALITY
        and alert.version == release.version
        and since <= alert.opened_at <= since + INCIDENT
        for alert in alerts
    )


def _uptime(record: Record) -> Metric:
    if record.requests is None:
        return Metric(name="model uptime", value=None, unit="share", detail="no request logged")
    status = pl.col("status")
    # A request that the client got wrong (4xx) says nothing about the model; a refusal does.
    valid = record.requests.filter((status < 400) | (status >= 500) | (status == 429))
    valid = valid.with_columns(minute=pl.col("at").dt.truncate("1m"), good=status < 400)
    requests = asked(valid)
    # Probes speak for the minutes in which nobody else asked.
    probes = valid.filter(arm=PROBE).join(requests, on="minute", how="anti")
    counted_in = pl.concat([requests, probes])
    if not counted_in.height:
        return Metric(name="model uptime", value=None, unit="share", detail="no valid request")
    hours = counted_in.group_by(pl.col("at").dt.truncate("1h")).agg(pl.col("good").mean())
    said = f"{requests['good'].sum():,} of {requests.height:,} valid requests answered"
    if probes.height:
        said += f", {probes['good'].sum():,} of {probes.height:,} probes where nobody asked"
    worst = hours["good"].min()
    if hours.height > 1 and isinstance(worst, float):
        said += f"; worst hour {worst:.2%}"
    return Metric(
        name="model uptime",
        value=int(counted_in["good"].sum()) / counted_in.height,
        unit="share",
        detail=said,
    )


def _latency(record: Record) -> Metric:
    if record.asked is None:
        return Metric(name="prediction latency", value=None, unit="ms", detail="no request logged")
    good = record.asked.filter(pl.col("status") < 400)["latency_ms"]
    if not len(good):
        return Metric(name="prediction latency", value=None, unit="ms", detail="none answered")
    middle, high, top = (float(np.quantile(good.to_numpy(), q)) for q in (0.5, 0.95, 0.99))
    return Metric(
        name="prediction latency",
        value=high,
        unit="ms (95th percentile)",
        detail=f"median {middle:.2f}, 99th {top:.2f}, per request of any size",
    )


def _cost(record: Record) -> Metric:
    serving = 0.0 if record.asked is None else _serving_cost(record, record.asked)
    total = record.spent.cost + serving
    each = total / record.predictions * 1000 if record.predictions else None
    return Metric(
        name="cost",
        value=each,
        unit=f"{record.currency} per 1,000 predictions",
        detail=f"{total:.5f} in all: {counted(record.spent.steps, 'training step')} "
        f"{record.spent.cost:.5f}, serving {serving:.5f}",
    )


def _serving_cost(record: Record, requests: pl.DataFrame) -> float:
    """Return what the CPU time and the memory of requests cost.

    Where the server did not meter it, the time for which it held a request counts as CPU time.
    """
    names = requests.columns
    cpu = pl.col("cpu_ms").fill_null(pl.col("latency_ms")) if "cpu_ms" in names else "latency_ms"
    cpu_hours = float(requests.select(cpu).sum().item()) / 1000 / HOUR_SECONDS
    gib_hours = float(requests["gib_seconds"].sum()) / HOUR_SECONDS if "gib_seconds" in names else 0
    return cpu_hours * record.price_per_cpu_hour + gib_hours * record.price_per_gib_hour


def _utilisation(record: Record) -> Metric:
    took = record.spent
    if not took.wall_seconds > 0:
        return Metric(
            name="resource utilisation", value=None, unit="share", detail="no training ran"
        )
    return Metric(
        name="resource utilisation",
        value=took.cpu_seconds / took.wall_seconds,
        unit="share of a core per running step",
        detail=f"{took.cpu_seconds:.1f} CPU-s in {took.wall_seconds:.1f} s of steps, "
        f"peak {took.peak_bytes / 2**20:.0f} MiB",
    )


def _feedback(record: Record) -> Metric:
    labelled = sum(window.quality.rows for window in record.windows if window.quality)
    seen = sum(window.rows for window in record.windows)
    coverage = labelled / seen if seen else 0.0
    delay = ""
    if record.delays_seconds is not None and len(record.delays_seconds):
        hours = float(np.median(record.delays_seconds.to_numpy())) / HOUR_SECONDS
        delay = f", median delay {hours:.0f} h"
    gains = uplifts(record.windows, record.releases)
    better = sum(gain > 0 for gain in gains)
    return Metric(
        name="feedback-loop effectiveness",
        value=statistics.fmean(gains) if gains else None,
        unit="share of loss removed per release",
        detail=f"{better} of {len(gains)} releases better on the same rows; labels cover "
        f"{coverage:.1%}{delay}",
    )


def uplifts(windows: Sequence[Window], released: Sequence[Release]) -> list[float]:
    """Return, per release that went live, the share of the old model's loss that it removed.

    Both models scored the same labelled rows while the release rolled out. 1 removes all loss,
    0 changes nothing, below 0 harms.
    """
    gains = []
    for release in released:
        if release.live_at is None:
            continue
        old = new = 0.0
        for window in windows:
            quality = window.quality
            if quality is None or not release.started_at <= window.start < release.live_at:
                continue
            if quality.paired_loss is None or quality.other_loss is None:
                continue
            own, other = quality.paired_loss, quality.other_loss
            mine = window.version == release.version
            new += (own if mine else other) * quality.other_rows
            old += (other if mine else own) * quality.other_rows
        if old > 0:
            gains.append(1 - new / old)
    return gains
