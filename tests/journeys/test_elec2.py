"""The whole loop on the electricity market: classification with real concept drift."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from everfit.automation import Loop, Replay, Replayed, read_history
from everfit.cli.replayed import predictor, replayed_project
from everfit.governance import verify_ledger
from everfit.kernel import Event, ManualClock
from everfit.monitoring import ten_metrics
from everfit.training import StepPool

POLICY = """\
model: elec2
task: classification
data: {source: elec.csv, time: at, target: class}
truth: {arrives: 1d}
train: {candidates: {linear: {}, boosting: {}}, metric: accuracy}
gate: [{better: {margin: 0%, confidence: 95%}}]
rollout: shadow 7d -> 25% -> 100%
monitor: {window: 7d}
retrain: {when: [every 8w, quality worse], at_most: {per_day: 1, cooldown: 28d}}
"""
SINCE, UNTIL = datetime(1996, 8, 6, tzinfo=UTC), datetime(1997, 11, 4, tzinfo=UTC)


def replayed(folder: Path, elec2: pl.DataFrame) -> tuple[Replayed, list[Event], int, list[str]]:
    elec2.write_csv(folder / "elec.csv")
    (folder / "everfit.yaml").write_text(POLICY)
    project = replayed_project(folder, folder / "state", SINCE)
    clock = project.workspace.clock
    assert isinstance(clock, ManualClock)
    try:
        with StepPool(project.workspace) as pool, predictor(project, http=False) as served:
            replay = Replay(
                loop=Loop(project, pool),
                clock=clock,
                history=read_history(project),
                predictor=served,
            )
            found = replay.run(since=SINCE, until=UNTIL)
        with project.workspace.reading() as tx:
            _, breaks = verify_ledger(tx)
            metrics = ten_metrics(
                project.workspace, tx, "elec2", since=SINCE, until=UNTIL + timedelta(days=1)
            )
            return found, list(tx.events()), len(breaks), [metric.name for metric in metrics]
    finally:
        project.workspace.close()


def test_the_loop_retrains_and_errs_less_than_the_first_model_alone(
    tmp_path: Path, elec2: pl.DataFrame
) -> None:
    found, events, breaks, metrics = replayed(tmp_path, elec2)
    kinds = [event.kind for event in events]
    assert found.rows == elec2.filter(pl.col("at").is_between(SINCE, UNTIL, closed="left")).height
    assert kinds.count("trigger-fired") >= 3
    assert kinds.count("release-completed") >= 2
    assert found.loss < found.loss_without
    assert breaks == 0
    assert len(metrics) == 10


def test_nothing_is_promoted_without_a_gate_that_passed(
    tmp_path: Path, elec2: pl.DataFrame
) -> None:
    _, events, _, _ = replayed(tmp_path, elec2)
    passed = {
        e.data["candidate"]
        for e in events
        if e.kind == "gates-decided" and e.data["outcome"] == "pass"
    }
    released = [e.data["version"] for e in events if e.kind == "release-started"]
    assert set(released) <= passed
    assert len(released) == len(set(released))
