"""Replay: the loop that runs in production, over historical rows, under a clock that we move.

Nothing here decides anything: rows are predicted through the model server, labels arrive late,
and ``Loop.tick`` and the worker do what they do in production. Only time is ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import polars as pl

from everfit.automation.loop import Loop, start_retraining
from everfit.automation.project import Project
from everfit.automation.timeline import timeline
from everfit.deployment import serving_plan
from everfit.errors import DataInvalid, StepFailed
from everfit.kernel import ManualClock, Worker, get_job
from everfit.measures.scores import losses
from everfit.registry import get_version, load_package
from everfit.steps import StepPool
from everfit.training import collect_history


class Predictor(Protocol):
    """Port: a model server of one endpoint, in this process or behind HTTP."""

    def predict(
        self, frame: pl.DataFrame, *, keys: list[str] | None, times: pl.Series | None
    ) -> pl.DataFrame:
        """Return ``id`` and ``prediction`` for every row of ``frame``, in its order."""
        ...

    def label(self, labels: pl.DataFrame) -> None:
        """Hand in labels: columns ``id``, ``label`` and ``at``."""
        ...

    def refresh(self) -> None:
        """Take up the present serving plan."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One window of the replay: mean loss of the loop, and of the first model left alone."""

    start: datetime
    rows: int
    loss: float
    loss_without: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay found: rows, time it took, and the windows with and without the loop."""

    rows: int
    seconds: float
    training_seconds: float
    spans: tuple[Span, ...]

    @property
    def loss(self) -> float:
        """Return the mean loss per row with the loop."""
        return self._mean([span.loss for span in self.spans])

    @property
    def loss_without(self) -> float:
        """Return the mean loss per row of the first model left alone."""
        return self._mean([span.loss_without for span in self.spans])

    def _mean(self, values: list[float]) -> float:
        weights = [span.rows for span in self.spans]
        return float(np.average(values, weights=weights)) if sum(weights) else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Prepared rows in the order of their time, and the names of time and target."""

    rows: pl.DataFrame
    time: str
    target: str


@dataclass
class Replay:
    """Drives one loop over history. ``clock`` must be the clock of the loop's workspace."""

    loop: Loop
    clock: ManualClock
    history: History
    predictor: Predictor
    before_window: Callable[[Loop], None] = lambda _loop: None
    on_window: Callable[[datetime, int], None] = lambda _end, _rows: None

    def __post_init__(self) -> None:
        self.project = self.loop.project
        self.worker = Worker(self.loop.workspace, self.loop.handlers, name="replay")
        self.answers: list[pl.DataFrame] = []
        self.rows: list[pl.DataFrame] = []
        self.waiting: list[pl.DataFrame] = []
        self.training_seconds = 0.0

    def run(self, *, since: datetime, until: datetime) -> Replayed:
        """Replay the rows from ``since`` to before ``until``, window by window."""
        self._check(since, until)
        started = time.perf_counter()
        self.clock.move_to(since)
        self.first_training()
        window = self.project.policy.monitor.window
        edges = [since + i * window for i in range(int((until - since) / window) + 2)]
        rows, times = self.history.rows, self.history.rows[self.history.time]
        ends = pl.Series([min(edge, until) for edge in edges], dtype=times.dtype)
        bounds = times.search_sorted(ends)
        for edge, low, high in zip(edges, bounds, bounds[1:], strict=False):
            if edge >= until:
                break
            self.window(rows[low:high], end=min(edge + window, until))
        self.drain(until + self.project.policy.truth.arrives)
        seconds = time.perf_counter() - started
        return self._result(seconds)

    def _check(self, since: datetime, until: datetime) -> None:
        """Refuse a period without rows before anything is trained."""
        times = self.history.rows[self.history.time]
        if since < until and times.is_between(since, until, closed="left").any():
            return
        raise DataInvalid(
            f"no row lies between {since:%Y-%m-%d %H:%M} and {until:%Y-%m-%d %H:%M}; "
            f"the table has rows from {times.min()!s} to {times.max()!s}",
            hint="Choose --since and, after it, --until inside that; earlier rows train the first "
            "model.",
        )

    def first_training(self) -> None:
        """Train, gate and release the first model on what was known before the replay."""
        job = start_retraining(self.project, reason="first training")
        self._work()
        with self.loop.workspace.reading() as tx:
            ended = get_job(tx, job.id)
            if ended.error is not None:
                raise StepFailed(
                    f"the first training failed: {ended.error}",
                    hint=ended.hint or "Correct the cause, then replay again.",
                )
            if serving_plan(tx, self.loop.endpoint) is None:
                turns = "; ".join(turn.sentence for turn in timeline(tx.events()))
                raise DataInvalid(
                    f"the first model was not released, so there is nothing to replay: {turns}",
                    hint="Change the data, the gates or --since.",
                )

    def window(self, rows: pl.DataFrame, *, end: datetime) -> None:
        """Predict the rows of one window, hand in the labels due by its end, and tick."""
        self.before_window(self.loop)
        self._work()
        if rows.height:
            self._predict(rows)
        self.clock.move_to(end)
        self._hand_in(end)
        self.loop.tick()
        self._work()
        self.on_window(end, rows.height)

    def drain(self, until: datetime) -> None:
        """Let the last labels arrive and be counted."""
        self.clock.move_to(until)
        self._hand_in(until)
        self.loop.tick()

    def _predict(self, rows: pl.DataFrame) -> None:
        times = rows[self.history.time]
        key = self.project.policy.truth.key
        keys = None if key is None else rows[key].cast(pl.String).to_list()
        answers = self.predictor.predict(rows, keys=keys, times=times)
        kept = answers.select("id", "prediction").with_columns(
            label=rows[self.history.target], time=times
        )
        self.waiting.append(kept)
        self.answers.append(kept)
        self.rows.append(rows)

    def _hand_in(self, now: datetime) -> None:
        """Hand in the labels whose delay has passed; the others wait on."""
        if not self.waiting:
            return
        arrives = self.project.policy.truth.arrives
        waiting = pl.concat(self.waiting)
        due = (pl.col("time") + arrives) <= now
        labels = waiting.filter(due).select("id", "label", (pl.col("time") + arrives).alias("at"))
        if labels.height:
            self.predictor.label(labels)
        rest = waiting.filter(~due)
        self.waiting = [rest] if rest.height else []

    def _work(self) -> None:
        started = time.perf_counter()
        if self.worker.run_pending():
            self.training_seconds += time.perf_counter() - started
        self.predictor.refresh()

    def _result(self, seconds: float) -> Replayed:
        """Compare what was answered with what the first model alone would have answered."""
        task, window = self.project.policy.task, self.project.policy.monitor.window
        answers = pl.concat(self.answers)
        truth = answers["label"].to_numpy()
        with self.loop.workspace.reading() as tx:
            first = get_version(tx, self.project.policy.model, 1)
        alone = load_package(self.loop.workspace, first).predict(pl.concat(self.rows))
        compared = answers.select(pl.col("time").dt.truncate(window)).with_columns(
            loss=losses(task, truth, answers["prediction"].to_numpy()),
            loss_without=losses(task, truth, alone),
        )
        spans = compared.group_by("time", maintain_order=True).agg(
            pl.len().alias("rows"), pl.col("loss", "loss_without").mean()
        )
        return Replayed(
            rows=answers.height,
            seconds=seconds,
            training_seconds=self.training_seconds,
            spans=tuple(
                Span(start=at, rows=rows, loss=loss, loss_without=without)
                for at, rows, loss, without in spans.iter_rows()
            ),
        )


def read_history(project: Project, pool: StepPool) -> History:
    """Return every row of the project's source, by its own steps, in the order of its time.

    Raises
    ------
    DataInvalid
        If the policy names no time or no target.
    """
    workspace = project.workspace
    request = project.training_request(as_of=workspace.clock.now(), feedback=None)
    run_id = f"run_history_{project.digest[:8]}"
    rows, schema = collect_history(workspace, request, run_id=run_id, pool=pool)
    if schema.time is None or schema.target is None:
        raise DataInvalid(
            "a replay needs to know when each row happened and what its truth was",
            hint="Set data.time and data.target to the columns that hold them.",
        )
    key = project.policy.truth.key
    if key is not None and key not in rows.columns:
        raise DataInvalid(
            f"the prepared rows have no column {key!r}, which truth.key names",
            hint=f"Name one of {', '.join(rows.columns[:20])}, or keep it in `prepared`.",
        )
    rows = rows.sort(schema.time, maintain_order=True)
    return History(rows=rows, time=schema.time, target=schema.target)
