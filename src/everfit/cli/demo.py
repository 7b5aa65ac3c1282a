"""The story of ``make demo``: two years of bike rentals, one replayed, and one bad candidate."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from everfit.automation import Loop, queue_gate
from everfit.cli import show
from everfit.cli.replayed import Telling, replay_project
from everfit.deployment import current_release
from everfit.monitoring import matured
from everfit.packages import FittedModel, pack
from everfit.registry import champion, register
from everfit.steps import store_value
from everfit.testing.models import ForgetsMonths
from everfit.tracking import RunStatus, finish_run, start_run

POLICY = """\
model: bike-demand
task: regression
data:
  source: hour.csv
  time: dteday + hr
  target: cnt
  exclude: [instant, casual, registered]   # casual + registered are the target
  roles: {yr: numeric}                     # constant in the first year, not for ever
  expect: {temp: {between: [0, 1]}, hum: {between: [0, 1]}}
truth: {arrives: 1d}
train:
  candidates: {linear: {}, forest: {search: {depth: [6, 16]}}, boosting: {}}
  metric: mae
  trials: 5
  split: {validation: 10%, test: 8%}
gate:
  - better: {margin: 1%, confidence: 95%}
  - no_worse: {on: every slice >= 200 rows, margin: 10%}
  - fast: {p95_ms: 250}
rollout: shadow 3d -> 5% -> 25% -> 100%
rollback: {now: [errors > 1%], later: [mae worse than champion, confidence 95%]}
monitor: {window: 1d}
retrain:
  when: [monthly, quality worse]
  at_most: {per_day: 1, cooldown: 28d, cost_per_week: 5 EUR}
"""
SINCE, UNTIL = datetime(2012, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC)
HELD_OUT = 3_000
NOT_BEFORE, AT_LAST = datetime(2012, 6, 1, tzinfo=UTC), datetime(2012, 10, 28, tzinfo=UTC)
PLACES = ("../shared/data/bike/hour.csv", "shared/data/bike/hour.csv", "data/bike/hour.csv")


def tell(data: Path | None, home: Path | None) -> None:
    """Run the demo on ``data``, on the bike rentals found beside, or on a planted stream."""
    folder = home or Path(tempfile.mkdtemp(prefix="everfit-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "everfit.yaml").write_text(POLICY, encoding="utf-8")
    table = folder / "hour.csv"
    found = data or next((Path(p) for p in PLACES if Path(p).exists()), None)
    if found is None:
        show.console.print("no bike-sharing rows here: a built-in stream with planted drift")
        planted().write_csv(table)
    else:
        show.console.print(f"bike-sharing rows from {found}")
        table.write_bytes(found.read_bytes())
    show.console.print(f"project: {folder}; 2011 trains the first model, 2012 is replayed\n")
    replay_project(
        folder,
        since=SINCE,
        until=UNTIL,
        home=folder / ".everfit",
        telling=Telling(http=True, before_window=Colleague()),
    )


class Colleague:
    """Hands in one bad candidate: on one of the last days of a month with no release under way."""

    def __init__(self) -> None:
        self.done = False

    def __call__(self, loop: Loop) -> None:
        """Look at the date, and hand the candidate in once."""
        now = loop.workspace.clock.now()
        if self.done or now < NOT_BEFORE:
            return
        with loop.workspace.reading() as tx:
            free = current_release(tx, loop.endpoint) is None
        ends = (now + timedelta(days=4)).month != now.month
        if (free and ends) or now >= AT_LAST:
            self.done = True
            bad_candidate(loop)


def bad_candidate(loop: Loop) -> None:
    """Register a model that looks good on the held-out rows and fails on the next month.

    It was fitted on the very rows it is judged on, and looks its month up in a table that
    holds past months only: the gates cannot see either, the first day in shadow does.
    """
    workspace = loop.workspace
    with workspace.reading() as tx:
        best = champion(tx, loop.endpoint)
        rows = matured(workspace, tx, loop.endpoint, time="time")
    # The replay has released its first model, which it trained itself.
    assert best is not None  # noqa: S101
    assert best.dataset is not None  # noqa: S101
    signature = best.require_signature()
    target = loop.project.policy.data.target or ""
    judged = rows.sort("time").tail(HELD_OUT)
    inputs = signature.names
    model = ForgetsMonths().fit(judged.select(inputs), judged[target])
    package = workspace.blobs.put(pack(FittedModel(model, signature)))
    held_out = store_value(workspace, judged)
    with workspace.transaction() as tx:
        run = start_run(tx, kind="training", name="a colleague's quick fix")
        version = register(
            tx,
            model=loop.endpoint,
            run=run.id,
            package=package,
            dataset=best.dataset,
            profile=best.profile,
            signature=signature,
            metrics={},
            algorithm="a colleague's quick fix",
        )
        finish_run(tx, run.id, RunStatus.FINISHED)
        queue_gate(tx, version.number, held_out, time="time", author="a colleague")


def planted(*, seed: int = 0) -> pl.DataFrame:
    """Return two years of hourly demand with the columns of the real table and planted drift.

    The effect of the hour changes in March 2012 and demand grows by half in July 2012.
    """
    rng = np.random.default_rng(seed)
    hours = pl.datetime_range(
        datetime(2011, 1, 1, tzinfo=UTC),
        datetime(2012, 12, 31, 23, tzinfo=UTC),
        "1h",
        eager=True,
    )
    n = len(hours)
    month, hour = hours.dt.month().to_numpy(), hours.dt.hour().to_numpy()
    late, grown = np.arange(n) >= 24 * 425, np.arange(n) >= 24 * 547
    temp = np.clip(0.5 - 0.3 * np.cos(2 * np.pi * month / 12) + rng.normal(0, 0.05, n), 0, 1)
    peak = np.where(late, 18, 8)
    level = 40 + 200 * temp + 150 * np.exp(-((hour - peak) ** 2) / 6)
    count = rng.poisson(level * np.where(grown, 1.5, 1.0))
    return pl.DataFrame(
        {
            "instant": np.arange(1, n + 1),
            "dteday": hours.dt.strftime("%Y%m%d"),
            "season": (month % 12) // 3 + 1,
            "yr": hours.dt.year().to_numpy() - 2011,
            "mnth": month,
            "hr": hour,
            "weekday": hours.dt.weekday().to_numpy() % 7,
            "temp": temp.round(4),
            "hum": rng.uniform(0.3, 0.9, n).round(2),
            "casual": count // 5,
            "registered": count - count // 5,
            "cnt": count,
        }
    )
