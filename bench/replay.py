"""Rows per second through the whole loop on elec2: predict, log, watch, label, retrain."""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from everfit.automation import Loop, Replay, read_history
from everfit.cli.replayed import predictor, replayed_project
from everfit.kernel import ManualClock
from everfit.measures.scores import losses
from everfit.registry import get_version, load_package
from everfit.steps import StepPool

SHARED = Path(__file__).resolve().parents[2] / "shared/data/elec2/elec.csv"
POLICY = """\
model: elec2
task: classification
data: {source: elec.csv, time: at, target: class}
truth: {arrives: 1d}
train: {candidates: {linear: {}}, metric: accuracy}
gate: [{better: {margin: 0%, confidence: 95%}}]
monitor: {window: 4w}
retrain: {when: [every 12w, quality worse], at_most: {per_day: 1, cooldown: 4w}}
"""


def main() -> None:
    if not SHARED.exists():
        sys.exit(f"no elec2 rows at {SHARED}")
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder))


def run(folder: Path) -> None:
    frame = pl.read_csv(SHARED)
    start = datetime(1996, 5, 7, tzinfo=UTC)
    half_hours = pl.int_range(frame.height, eager=True) * 1_800_000_000
    at = (half_hours + int(start.timestamp() * 1e6)).cast(pl.Datetime("us", "UTC"))
    frame.with_columns(at.alias("at")).write_csv(folder / "elec.csv")
    (folder / "everfit.yaml").write_text(POLICY)
    since = datetime(1996, 8, 6, tzinfo=UTC)
    project = replayed_project(folder, folder / "state", since)
    clock = project.workspace.clock
    assert isinstance(clock, ManualClock)
    with StepPool(project.workspace) as pool, predictor(project, http=False) as served:
        history = read_history(project, pool)
        until = history.rows["at"].max()
        assert isinstance(until, datetime)
        first: list[float] = []
        replay = Replay(
            loop=Loop(project, pool),
            clock=clock,
            history=history,
            predictor=served,
            before_window=lambda _loop: first.append(replay.training_seconds),
        )
        done = replay.run(since=since, until=until)
    rows = history.rows.filter(pl.col("at") >= since)
    with project.workspace.reading() as tx:
        model = load_package(project.workspace, get_version(tx, "elec2", 1))
        kinds = [event.kind for event in tx.events()]
    started = time.perf_counter()
    losses(project.policy.task, rows["class"].to_numpy(), model.predict(rows))
    plain = time.perf_counter() - started
    loop_only = done.seconds - done.training_seconds
    print("replay of elec2 through the whole loop")
    print(f"{'what':<44}{'seconds':>9}{'rows/s':>12}")
    for name, taken in (
        ("everything, trainings and gates included", done.seconds),
        ("without the first training and its imports", done.seconds - first[0]),
        ("the loop without trainings and gates", loop_only),
        ("plain: one predict call, one loss array", plain),
    ):
        print(f"{name:<44}{taken:>9.2f}{done.rows / taken:>12,.0f}")
    print(
        f"{done.rows:,} rows; {kinds.count('trigger-fired')} trainings, "
        f"{kinds.count('release-completed')} releases, {kinds.count('rolled-back')} rollbacks; "
        f"error rate {done.loss:.3f}, without the loop {done.loss_without:.3f}"
    )


if __name__ == "__main__":
    main()
