"""What a release showed since it started: paired losses, errors, latencies, the split."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.deployment import Evidence, Release
from everfit.measures.paired import time_blocks
from everfit.monitoring.log import asked
from everfit.monitoring.model import CANARY
from everfit.monitoring.quality import CLASSIFICATION, REGRESSION, with_losses
from everfit.monitoring.reference import Reference

Floats = NDArray[np.float64]

# Rows that do not depend on one another are averaged in small blocks, which makes their means
# nearly normal; rows that do, in days or longer blocks.
BLOCK = 20
FAILED = 500


def release_evidence(
    release: Release,
    champion: int,
    *,
    predictions: pl.DataFrame | None,
    requests: pl.DataFrame | None,
    matured: pl.DataFrame | None,
    reference: Reference | None,
    now: datetime,
) -> Evidence:
    """Return the evidence about ``release`` in the logs since it started.

    ``predictions`` and ``matured`` are logged and labelled predictions, ``requests`` the request
    log; None where there is none. Failed requests count as errors of the champion: a row that
    the candidate cannot score is answered by the champion and carries the candidate's error.
    """
    paired, loss, rows = _paired(release, champion, matured, reference)
    failed = _failed_rows(requests, release.started_at)
    if predictions is None:
        return Evidence(now=now, champion_requests=failed, champion_errors=failed)
    seen = predictions.filter(pl.col("at") >= release.started_at)
    candidate = release.version
    wrong = seen["error"].is_not_null()
    by_candidate = seen["version"] == candidate
    scored = by_candidate | (seen["other_version"] == candidate).fill_null(value=False) | wrong
    # Rows that asked for one version by its number took no part in the split.
    since = seen.filter(scored & (seen["at"] >= release.step_since))
    units = since.select(pl.col("key").fill_null(pl.col("id")).alias("unit"), "arm").unique("unit")
    return Evidence(
        now=now,
        rows=rows,
        candidate_requests=int(scored.sum()),
        candidate_errors=int(wrong.sum()),
        champion_requests=int((~by_candidate).sum()) + failed,
        champion_errors=failed,
        latency_ms=seen.filter(by_candidate)["latency_ms"].drop_nulls().to_numpy(),
        paired=paired,
        champion_loss=loss,
        split_units=units.height,
        canary_units=int((units["arm"] == CANARY).sum()),
    )


def _failed_rows(requests: pl.DataFrame | None, since: datetime) -> int:
    if requests is None:
        return 0
    failed = asked(requests).filter((pl.col("at") >= since) & (pl.col("status") >= FAILED))
    return int(failed["rows"].fill_null(1).clip(lower_bound=1).sum())


def _paired(
    release: Release, champion: int, matured: pl.DataFrame | None, reference: Reference | None
) -> tuple[Floats, float | None, int]:
    """Return mean loss differences per block, the champion's mean loss, and the rows of both."""
    nothing = np.empty(0)
    if matured is None:
        return nothing, None, 0
    pair = {release.version, champion}
    rows = matured.filter(
        (pl.col("at") >= release.started_at)
        & pl.col("version").is_in(pair)
        & pl.col("other_version").is_in(pair)
    ).unique("id", keep="last")
    if not rows.height:
        return nothing, None, 0
    task = REGRESSION if rows.schema["prediction"].is_numeric() else CLASSIFICATION
    scored = with_losses(rows, task).filter(pl.col("other_loss").is_not_null()).sort("time", "id")
    if not scored.height:
        return nothing, None, 0
    answered = (scored["version"] == release.version).to_numpy()
    own, other = scored["loss"].to_numpy(), scored["other_loss"].to_numpy()
    candidate, base = np.where(answered, own, other), np.where(answered, other, own)
    differences = candidate - base
    dependent = reference is not None and reference.dependent
    means = day_means(scored["time"], differences) if dependent else block_means(differences)
    return means, float(base.mean()), scored.height


def block_means(differences: Floats) -> Floats:
    """Return the means of consecutive whole blocks of rows that do not depend on one another."""
    whole = differences.size // BLOCK * BLOCK
    means: Floats = differences[:whole].reshape(-1, BLOCK).mean(axis=1)
    return means


def day_means(times: pl.Series, differences: Floats) -> Floats:
    """Return the means of days, or of longer blocks while neighbouring ones are alike.

    How far apart rows must be to count as separate evidence is a matter of the differences
    themselves, not of the window in which the endpoint is watched.
    """
    numbers = time_blocks(times.to_numpy(), differences)
    means: Floats = np.bincount(numbers, differences) / np.bincount(numbers)
    return means
