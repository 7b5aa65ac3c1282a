"""The whole loop on the electricity market: classification with real concept drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from everfit.automation import Loop, Replay, Replayed, read_history
from everfit.cli.replayed import predictor, replayed_project
from everfit.governance import verify_ledger
from everfit.kernel import Break, Event, ManualClock
from everfit.monitoring import ten_metrics
from everfit.steps import StepPool

POLICY = """\
model: elec2
task: classification
data: {source: elec.csv, time: at, target: class}
truth: {arrives: 1d}
train: {candidates: {linear: {}, boosting: {}}, metric: accuracy}
gate: [{better: {margin: 0%, confidence: 95%}}]
rollout: shadow 7d -> 25% -> 100%
monitor: {window: 1d}
retrain: {when: [every 8w, quality worse], at_most: {per_day: 1, cooldown: 28d}}
"""
SINCE, UNTIL = datetime(1996, 8, 6, tzinfo=UTC), datetime(1997, 11, 4, tzinfo=UTC)


@dataclass(frozen=True)
class Story:
    """What one replay of the market left behind."""

    found: Replayed
    events: Sequence[Event]
    breaks: Sequence[Break]
    metrics: Mapping[str, float | None]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, elec2: pl.DataFrame) -> Story:
    """Replay fifteen months of the market through the whole loop, once for all tests."""
    folder = tmp_path_factory.mktemp("elec2")
    elec2.write_csv(folder / "elec.csv")
    (folder / "everfit.yaml").write_text(POLICY)
    project = replayed_project(folder, folder / "state", SINCE)
    clock = project.workspace.clock
    assert isinstance(clock, ManualClock)
    with StepPool(project.workspace) as pool, predictor(project, http=False) as served:
        loop = Loop(project, pool)
        history = read_history(project, pool)
        replay = Replay(loop=loop, clock=clock, history=history, predictor=served)
        found = replay.run(since=SINCE, until=UNTIL)
    with project.workspace.reading() as tx:
        _, breaks = verify_ledger(tx)
        ends = UNTIL + timedelta(days=1)
        metrics = ten_metrics(project.workspace, tx, "elec2", since=SINCE, until=ends)
        events = tx.events()
    project.workspace.close()
    values = {metric.name: metric.value for metric in metrics}
    return Story(found=found, events=events, breaks=breaks, metrics=values)


def test_every_row_went_through_and_the_ledger_is_whole(story: Story, elec2: pl.DataFrame) -> None:
    inside = elec2.filter(pl.col("at").is_between(SINCE, UNTIL, closed="left"))
    assert story.found.rows == inside.height
    assert story.breaks == []


def test_the_loop_retrains_and_errs_less_than_the_first_model_alone(story: Story) -> None:
    assert story.kinds().count("trigger-fired") >= 3
    assert story.kinds().count("release-completed") >= 2
    assert story.found.loss < story.found.loss_without


def test_nothing_is_promoted_without_a_gate_that_passed(story: Story) -> None:
    passed = {
        event.data["candidate"]
        for event in story.events
        if event.kind == "gates-decided" and event.data["outcome"] == "pass"
    }
    released = [e.data["version"] for e in story.events if e.kind == "release-started"]
    assert set(released) == passed
    assert len(released) == len(set(released))


def test_real_drift_raises_alerts(story: Story) -> None:
    alerts = [event.data["alert"] for event in story.events if event.kind == "alert-opened"]
    assert "quality" in alerts
    assert "drift" in alerts


def test_the_ten_metrics_are_computed_from_what_happened(story: Story) -> None:
    assert len(story.metrics) == 10
    assert all(value is not None for value in story.metrics.values())
    accuracy = story.metrics["model performance"]
    assert accuracy is not None
    assert accuracy == pytest.approx(1 - story.found.loss, abs=0.01)
    assert story.metrics["model uptime"] == 1.0
