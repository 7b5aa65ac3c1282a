"""What one can do with monitoring: sweep an endpoint, and read what sweeps have found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from everfit.deployment import Evidence, Release, releases, serving_plan
from everfit.errors import NotFound
from everfit.kernel import Transaction, Workspace, trim
from everfit.monitoring import store
from everfit.monitoring.evidence import release_evidence
from everfit.monitoring.intake import Intake
from everfit.monitoring.join import find_by_id, find_by_key, known_labels
from everfit.monitoring.learn import NOTHING, learnable
from everfit.monitoring.log import (
    LABELS,
    PREDICTIONS,
    REQUESTS,
    log_folder,
    read_log,
)
from everfit.monitoring.match import against_known, apart, label_frame, latest
from everfit.monitoring.model import (
    INPUT,
    Alert,
    MonitorConfig,
    Segment,
    SweepResult,
    Window,
)
from everfit.monitoring.quality import task_of, with_losses
from everfit.monitoring.reference import MICROSECOND, Reference, decode_reference
from everfit.monitoring.segments import read_segment, read_segments, stack
from everfit.monitoring.state import SweepState, decode_state, encode_state
from everfit.monitoring.turn import Turn, window_starts
from everfit.registry import get_version

MATURED = "matured"


class Monitor:
    """Watches one endpoint; keeps references and recent segments in memory between sweeps."""

    def __init__(self, workspace: Workspace, endpoint: str, config: MonitorConfig) -> None:
        self.workspace = workspace
        self.endpoint = endpoint
        self.config = config
        self._references: dict[int, Reference | None] = {}

    def sweep(self, now: datetime) -> SweepResult:
        """Take in what came since the last sweep and return what it changed.

        New predictions are sealed and counted into their windows, windows that have ended are
        judged, labels join their predictions, alerts open and close. All of it and the place
        reached in the logs are one transaction: a sweep that dies is repeated by the next one.

        Raises
        ------
        StaleRevision
            If another sweep of this endpoint came first; nothing was written.
        """
        with self.workspace.reading() as tx:
            revision, content = store.state(tx, self.endpoint)
            state = decode_state(content)
            arrived = self._arrived(state, now)
            self._join_labels(tx, arrived)
            turn, ended = self._turn(tx, arrived)
        if not (arrived.segments or arrived.labels is not None or turn.changed):
            return SweepResult(pending=state.pending)
        result = arrived.result(turn, ended)
        after = arrived.state_after(turn)
        with self.workspace.transaction() as tx:
            store.save_state(tx, self.endpoint, revision, encode_state(after))
            self._save(tx, arrived, turn, result)
        self._trim(arrived)
        return result

    def reference(self, tx: Transaction, version: int) -> Reference | None:
        """Return the reference profile of a version, or None where it has none."""
        if version not in self._references:
            self._references[version] = load_reference(self.workspace, tx, self.endpoint, version)
        return self._references[version]

    def _read(self, segment: Segment) -> pl.DataFrame:
        return read_segment(self.workspace.blobs, segment.digest)

    def _arrived(self, state: SweepState, now: datetime) -> Intake:
        arrived = Intake(state=state, now=now)
        for kind in (PREDICTIONS, REQUESTS, LABELS):
            folder = log_folder(self.workspace, self.endpoint, kind)
            payloads, arrived.cursors[kind] = read_log(folder, state.cursors.get(kind, {}))
            arrived.read(self.workspace.blobs, kind, payloads)
        return arrived

    def _join_labels(self, tx: Transaction, arrived: Intake) -> None:
        """Join new labels with every prediction, waiting ones with the new predictions."""
        new = [segment for segment in arrived.segments if segment.kind == PREDICTIONS]
        found: list[pl.DataFrame] = []
        if arrived.state.pending and new:
            waiting = label_frame(store.pending_labels(tx, self.endpoint))
            found += find_by_id(waiting, new, self._read) + find_by_key(waiting, new, self._read)
            arrived.joined = [row for part in found for row in part["row"].to_list()]
        labels = arrived.labels
        if labels is not None:
            found += self._search(tx, labels, new)
        matched = latest(found)
        if labels is not None:
            arrived.pending = apart(labels, matched)
        if matched is not None:
            self._keep_fresh(tx, arrived, matched)

    def _search(
        self, tx: Transaction, labels: pl.DataFrame, new: Sequence[Segment]
    ) -> list[pl.DataFrame]:
        found = []
        ids = labels["id"].drop_nulls()
        if len(ids):
            span = (str(ids.min()), str(ids.max()))
            old = store.segments(tx, self.endpoint, PREDICTIONS, ids=span)
            found += find_by_id(labels, [*old, *new], self._read)
        if len(ids) < labels.height:
            newest = labels["at"].max()
            until = newest if isinstance(newest, datetime) else None
            old = store.segments(tx, self.endpoint, PREDICTIONS, times=(None, until))
            found += find_by_key(labels, [*old, *new], self._read)
        return found

    def _keep_fresh(self, tx: Transaction, arrived: Intake, matched: pl.DataFrame) -> None:
        span = (str(matched["id"].min()), str(matched["id"].max()))
        before = store.segments(tx, self.endpoint, MATURED, ids=span)
        known = known_labels(matched, before, self._read)
        fresh, arrived.repeated = against_known(matched, known)
        if fresh.height:
            arrived.fresh = fresh
            arrived.seal(self.workspace.blobs, MATURED, fresh)

    def _turn(self, tx: Transaction, arrived: Intake) -> tuple[Turn, list[Window]]:
        """Decide what changes; nothing is written yet."""
        starts = {start for start, _ in arrived.state.awaiting}
        for table in (arrived.predictions, arrived.fresh):
            if table is not None:
                starts |= window_starts(table, self.config)
        turn = Turn(
            arrived.state,
            store.windows(tx, self.endpoint, starts=starts),
            store.alerts(tx, self.endpoint, open_only=True),
            endpoint=self.endpoint,
            config=self.config,
            references=lambda version: self.reference(tx, version),
            now=arrived.now,
        )
        if arrived.predictions is not None:
            turn.take_predictions(arrived.predictions)
        task = task_of(self.config)
        if arrived.fresh is not None:
            fresh = with_losses(arrived.fresh, task)
            turn.take_labels(fresh, self._labelled(tx, turn, fresh, task), task)
        ended = turn.close_windows()
        turn.settle_quality(task)
        turn.settle_alerts(ended)
        return turn, ended

    def _labelled(
        self, tx: Transaction, turn: Turn, fresh: pl.DataFrame, task: str
    ) -> pl.DataFrame:
        """Return every labelled row of the windows that fresh labels touch, the last label each."""
        starts = window_starts(fresh, self.config)
        touched = [window for window in turn.windows.values() if window.start in starts]
        if not any(window.quality for window in touched):
            return fresh
        span = (min(starts), max(starts) + self.config.window)
        before = read_segments(
            self.workspace.blobs, store.segments(tx, self.endpoint, MATURED, times=span)
        )
        if before is None:
            return fresh
        whole = stack([with_losses(before, task), fresh])
        return whole.unique("id", keep="last", maintain_order=True)

    def _save(self, tx: Transaction, arrived: Intake, turn: Turn, result: SweepResult) -> None:
        store.insert_segments(tx, self.endpoint, arrived.segments)
        store.save_windows(tx, self.endpoint, list(turn.changed.values()))
        store.delete_pending(tx, self.endpoint, arrived.joined)
        store.insert_pending(tx, self.endpoint, arrived.pending)
        for alert in turn.opened:
            store.insert_alert(tx, alert)
            _record(tx, "alert-opened", alert, columns=list(alert.columns), action=alert.action)
        for alert in (*turn.updated, *turn.closed):
            store.update_alert(tx, alert)
        for alert in turn.closed:
            _record(tx, "alert-closed", alert, reason=alert.reason)
        if arrived.labels is not None:
            tx.record(
                "labels-received",
                self.endpoint,
                labels=arrived.labels.height,
                matured=result.matured,
                corrected=result.corrected,
                repeated=result.repeated,
                pending=result.pending,
            )

    def _trim(self, arrived: Intake) -> None:
        """Delete what has been sealed from the logs, whenever a writer has begun a new file."""
        for kind, cursor in arrived.cursors.items():
            before = arrived.state.cursors.get(kind, {})
            if any(at.segment > 1 and before.get(w) != at for w, at in cursor.items()):
                trim(log_folder(self.workspace, self.endpoint, kind), cursor)


def _record(tx: Transaction, kind: str, alert: Alert, **data: Any) -> None:
    data |= {"endpoint": alert.endpoint, "alert": alert.kind, "version": alert.version}
    tx.record(kind, alert.id, summary=alert.summary, **data)


def sweep(
    workspace: Workspace, endpoint: str, config: MonitorConfig, *, now: datetime
) -> SweepResult:
    """Sweep an endpoint once; a `Monitor` kept between sweeps is faster."""
    return Monitor(workspace, endpoint, config).sweep(now)


def load_reference(
    workspace: Workspace, tx: Transaction, endpoint: str, version: int
) -> Reference | None:
    """Return the reference profile of a version, or None where it has none."""
    try:
        profile = get_version(tx, endpoint, version).profile
    except NotFound:
        return None
    return None if profile is None else decode_reference(workspace.blobs.get(profile))


def windows(
    tx: Transaction,
    endpoint: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Window]:
    """Return the windows of an endpoint in order, those that begin in [since, until)."""
    return store.windows(tx, endpoint, since=since, until=until)


def logged(
    workspace: Workspace,
    tx: Transaction,
    endpoint: str,
    kind: str,
    *,
    since: datetime,
    until: datetime,
) -> pl.DataFrame | None:
    """Return what sweeps sealed of one log (`REQUESTS`, `MATURED`) in [since, until), or None."""
    held = store.segments(tx, endpoint, kind, times=(since, until))
    rows = read_segments(workspace.blobs, held)
    moment = pl.col("at" if kind == REQUESTS else "time")
    return None if rows is None else rows.filter(moment >= since, moment < until)


def sealed_after(
    tx: Transaction, endpoint: str, kind: str, number: int, *, since: datetime | None
) -> list[Segment]:
    """Return the parts of one log behind part ``number`` that were sealed after ``since``."""
    return store.segments(tx, endpoint, kind, sealed=(since, None), after=number)


def alerts(tx: Transaction, endpoint: str, *, open_only: bool = False) -> list[Alert]:
    """Return the alerts of an endpoint in the order in which they were opened."""
    return store.alerts(tx, endpoint, open_only=open_only)


def matured(
    workspace: Workspace,
    tx: Transaction,
    endpoint: str,
    *,
    target: str | None = None,
    time: str | None = None,
    key: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> pl.DataFrame:
    """Return the rows the loop learns from: inputs as they were, with the truth.

    Inputs stand under their own names, the label under ``target`` (by default the output of the
    newest version that answered; a number in a regression, else text), the row's time under
    ``time`` and its key under ``key`` if these are given. Of corrected labels the last one stands.
    ``since`` and ``until`` bound when the label became known: after the one, not after the other.
    """
    blobs = workspace.blobs
    labels = read_segments(blobs, store.segments(tx, endpoint, MATURED, sealed=(since, until)))
    if labels is None:
        return NOTHING
    labels = labels.unique("id", keep="last", maintain_order=True)
    ids = sorted(labels["id"].to_list())
    held = store.segments(tx, endpoint, PREDICTIONS, ids=(ids[0], ids[-1]))
    if target is None:
        newest = labels["version"].max()
        signature = get_version(tx, endpoint, int(str(newest))).require_signature()
        target = signature.output.name
    tables = (read_segment(blobs, segment.digest) for segment in held)
    return learnable(labels, tables, target=target, time=time, key=key)


def matured_count(
    workspace: Workspace, tx: Transaction, endpoint: str, *, since: datetime, delay: timedelta
) -> int:
    """Return of how many rows the truth has come after ``since`` and is older than ``delay``."""
    count, ripe = 0, pl.col("time").is_between(since - delay, tx.now - delay, closed="right")
    for segment in store.segments(tx, endpoint, MATURED, sealed=(since - delay, None)):
        late = (pl.col("time") <= since - delay) & (segment.sealed_at > since)
        count += read_segment(workspace.blobs, segment.digest).filter(ripe | late).height
    return count


def evidence(workspace: Workspace, tx: Transaction, endpoint: str, release: Release) -> Evidence:
    """Return what was seen of a release since it started."""
    plan = serving_plan(tx, endpoint)
    champion = release.version if plan is None else plan.champion
    reference = load_reference(workspace, tx, endpoint, release.version)
    # A segment sealed at the very moment of the start may hold rows of the time after it.
    since = (release.started_at - MICROSECOND, None)
    found = {
        kind: read_segments(workspace.blobs, store.segments(tx, endpoint, kind, sealed=since))
        for kind in (PREDICTIONS, REQUESTS, MATURED)
    }
    return release_evidence(
        release,
        champion,
        predictions=found[PREDICTIONS],
        requests=found[REQUESTS],
        matured=found[MATURED],
        reference=reference,
        now=tx.now,
    )


def explain_prediction(
    workspace: Workspace, tx: Transaction, endpoint: str, prediction_id: str
) -> Mapping[str, Any]:
    """Return what is known of one prediction: when, which version and why that one, inputs, truth.

    Raises
    ------
    NotFound
        If no sealed log holds it.
    """
    span = (prediction_id, prediction_id)
    row = _last(workspace, store.segments(tx, endpoint, PREDICTIONS, ids=span), prediction_id)
    if row is None:
        raise NotFound(
            f"no prediction {prediction_id} of endpoint {endpoint!r}",
            hint="Check the id; the server gives one with each answer.",
        )
    truth = _last(workspace, store.segments(tx, endpoint, MATURED, ids=span), prediction_id)
    around = store.windows(tx, endpoint, around=row["time"])
    of = [r for r in releases(tx, endpoint) if r.version == row["version"]]
    before = [release for release in of if release.started_at <= row["at"]]
    inputs = {n.removeprefix(INPUT): value for n, value in row.items() if n.startswith(INPUT)}
    facts = {name: value for name, value in row.items() if not name.startswith(INPUT)}
    return facts | {
        "inputs": inputs,
        "label": truth and truth["label"],
        "label_at": truth and truth["label_at"],
        "window": next((w for w in around if w.version == row["version"]), None),
        "release": before[-1] if before else None,
    }


def _last(
    workspace: Workspace, segments: Sequence[Segment], prediction_id: str
) -> dict[str, Any] | None:
    for segment in reversed(segments):
        rows = read_segment(workspace.blobs, segment.digest).filter(id=prediction_id)
        if rows.height:
            return rows.row(-1, named=True)
    return None


def explain_alert(tx: Transaction, alert_id: str) -> Mapping[str, Any]:
    """Return an alert with the windows of its version from the one that raised it on.

    Raises
    ------
    NotFound
        If there is no such alert.
    """
    alert = store.get_alert(tx, alert_id)
    seen = store.windows(tx, alert.endpoint, since=alert.window_start, until=alert.closed_at)
    of = [replace(window, counts="") for window in seen if window.version == alert.version]
    return asdict(alert) | {
        "windows": of,
        "events": [event.number for event in tx.events(subject=alert.id)],
    }
