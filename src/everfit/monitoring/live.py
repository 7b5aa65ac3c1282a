"""What the live version showed since it went live, each sealed part of the logs read once."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.deployment import Evidence, Release
from everfit.kernel import Transaction, Workspace
from everfit.monitoring.log import PREDICTIONS, REQUESTS, asked
from everfit.monitoring.segments import read_segment
from everfit.monitoring.service import sealed_after

# What a request is answered with that the model could not score; others are no fault of its.
UNSCORED = 500
MOMENT = timedelta(minutes=1)
# Of more answers than this every second one is kept: enough for any percentile.
MOST_LATENCIES = 1_000_000


class LiveWatch:
    """Counts the answers of one endpoint's live version, on from where it stood before."""

    def __init__(self, workspace: Workspace, endpoint: str) -> None:
        self._workspace = workspace
        self._endpoint = endpoint
        self._begin("", None)

    def _begin(self, release: str, since: datetime | None) -> None:
        self._release = release
        # Who seals may have read its clock a moment before the version went live.
        self._since = None if since is None else since - MOMENT
        self._number = {PREDICTIONS: -1, REQUESTS: -1}
        self._latencies: list[NDArray[np.float64]] = []
        self._answered = self._failed = 0

    def evidence(self, tx: Transaction, release: Release) -> Evidence:
        """Return the evidence about a release that is live, in the fields of a candidate."""
        if release.id != self._release:
            self._begin(release.id, release.step_since)
        for rows in self._new(tx, PREDICTIONS):
            answers = rows.filter(
                pl.col("version") == release.version, pl.col("at") >= release.step_since
            )
            self._answered += answers.height
            self._latencies.append(answers["latency_ms"].drop_nulls().to_numpy())
        for rows in self._new(tx, REQUESTS):
            failed = asked(rows).filter(
                pl.col("status") == UNSCORED, pl.col("at") >= release.step_since
            )
            self._failed += int(failed["rows"].fill_null(1).clip(lower_bound=1).sum())
        latencies = np.concatenate(self._latencies) if self._latencies else np.empty(0)
        while latencies.size > MOST_LATENCIES:
            latencies = latencies[::2]
        self._latencies = [latencies]
        return Evidence(
            now=tx.now,
            candidate_requests=self._answered + self._failed,
            candidate_errors=self._failed,
            latency_ms=latencies,
        )

    def _new(self, tx: Transaction, kind: str) -> list[pl.DataFrame]:
        """Return the tables of one log that were sealed since the last time."""
        new = sealed_after(tx, self._endpoint, kind, self._number[kind], since=self._since)
        if new:
            self._number[kind] = new[-1].number
        return [read_segment(self._workspace.blobs, segment.digest) for segment in new]
